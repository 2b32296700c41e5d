"""Volumes on disk: open, create, read and write regions by URI, whatever the format; pyramids."""

from teralign.volumes.levels import coarser_levels
from teralign.volumes.uri import split_uri
from teralign.volumes.volume import Volume, open_volume
from teralign.volumes.writer import VolumeWriter, check_output, create_volume

__all__ = [
    "Volume",
    "VolumeWriter",
    "check_output",
    "coarser_levels",
    "create_volume",
    "open_volume",
    "split_uri",
]
