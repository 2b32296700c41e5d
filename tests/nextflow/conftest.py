"""Volumes to run the workflow on."""

from __future__ import annotations

from pipeline.conftest import volumes

__all__ = ["volumes"]
