"""NDTiff, the folders of Micro-Manager and Pycro-Manager: TIFF files, and an index of their pages.

tifffile reads the index from the TIFF beside it. A multi-resolution data set keeps its finest level in a folder of
its own, the level that is read here. https://github.com/micro-manager/NDTiffStorage
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from teralign.addresses import Place
from teralign.errors import InputError
from teralign.volumes import tiff
from teralign.volumes.description import Description
from teralign.volumes.tiff_parts import INDEX, check_index
from teralign.volumes.whole_file import check_one_image

FINEST = "Full resolution"


def describe(container: Place, dataset: str) -> Description:
    """Describe the image of a folder, all its channels and timepoints."""
    if not isinstance(container, Path):
        raise InputError(f"{container} is read from a disk only; copy it to a disk and give its path.")
    check_one_image(container, dataset)
    folder = container / FINEST if (container / FINEST / INDEX).exists() else container
    index = folder / INDEX
    found = tiff.describe(folder / check_index(index), "")
    return replace(found, files=(index, *sorted(folder.glob("*.tif"))))
