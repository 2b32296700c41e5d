"""An alignment to look at: layers of volumes and points, served to Neuroglancer or opened in napari."""

from teralign.viewing.layers import Layer, LayeredView, LayerKind, Points
from teralign.viewing.pyramids import FieldMagnitude, ScaledVolume, StoredPyramid

__all__ = ["FieldMagnitude", "Layer", "LayerKind", "LayeredView", "Points", "ScaledVolume", "StoredPyramid"]
