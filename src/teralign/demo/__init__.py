"""A phantom of tissue in two imaging rounds with a known true map between them.

Everything is a function of continuous scene coordinates (µm, zyx), which are the coordinates of the fixed round. Each
voxel of the moving round is mapped to the scene, so that neither image is an interpolation of the other.
"""

from teralign.demo.camera import Round
from teralign.demo.phantom import Phantom, make_phantom
from teralign.demo.render import View
from teralign.demo.tiles import DemoScan, DemoTile, make_scan, tile_side
from teralign.demo.truth import TrueMap

__all__ = ["DemoScan", "DemoTile", "Phantom", "Round", "TrueMap", "View", "make_phantom", "make_scan", "tile_side"]
