"""Registration of microscopy volumes too large for memory."""

__version__ = "0.1.0"
