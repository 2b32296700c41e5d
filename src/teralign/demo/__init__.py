"""A phantom of tissue in two imaging rounds with a known true map between them.

Everything is a function of continuous scene coordinates (µm, zyx), which are those of the fixed round: the map brings
each voxel of the moving round there, so that neither image is an interpolation of the other.
"""

from teralign.demo.camera import Round
from teralign.demo.phantom import Phantom, make_phantom
from teralign.demo.render import View
from teralign.demo.truth import TrueMap

__all__ = ["Phantom", "Round", "TrueMap", "View", "make_phantom"]
