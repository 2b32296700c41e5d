"""Registration: two images in, one transform and its metrics out. No files, no Dask."""

from teralign.registration.align import Alignment, StepReport, align
from teralign.registration.config import Config, DeformConfig, StepConfig, load_config
from teralign.registration.image import Image, factors_to
from teralign.registration.metrics import Windows

__all__ = [
    "Alignment",
    "Config",
    "DeformConfig",
    "Image",
    "StepConfig",
    "StepReport",
    "Windows",
    "align",
    "factors_to",
    "load_config",
]
