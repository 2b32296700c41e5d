"""Registration: two images in, one transform and its metrics out. No files, no Dask."""

from teralign.registration.align import Alignment, StepReport, align
from teralign.registration.config import DeformConfig, StepConfig
from teralign.registration.foreground import find_foreground, find_valleys
from teralign.registration.image import Image
from teralign.registration.linear import measure_of
from teralign.registration.metrics import Measure, Windows

__all__ = [
    "Alignment",
    "DeformConfig",
    "Image",
    "Measure",
    "StepConfig",
    "StepReport",
    "Windows",
    "align",
    "find_foreground",
    "find_valleys",
    "measure_of",
]
