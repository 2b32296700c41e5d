"""Stitching: the shift of each pair of overlapping tiles, and the positions of all tiles that agree with them."""
