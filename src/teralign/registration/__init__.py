"""Registration: two images in, one transform and its metrics out. No files, no Dask."""

from teralign.registration.align import Alignment, StepReport, align
from teralign.registration.config import Config, StepConfig, load_config
from teralign.registration.image import Image
from teralign.registration.metrics import Windows

__all__ = ["Alignment", "Config", "Image", "StepConfig", "StepReport", "Windows", "align", "load_config"]
