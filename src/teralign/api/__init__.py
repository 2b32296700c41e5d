"""Teralign as a library for scripts and notebooks: `import teralign as ta` gives these names."""

from teralign.api.aligning import align
from teralign.api.registration import Registration

__all__ = ["Registration", "align"]
