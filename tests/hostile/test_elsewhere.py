"""Files that name other files, or themselves: what is named in a file is read in its folder only, and once."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from hostile.arena import seen
from volume_files import noise, write_precomputed

SHAPE = (8, 8, 8)
VOXELS = noise(SHAPE, "uint16")
SECRET = noise(SHAPE, "uint16", seed=1)
NDTIFF = Path(__file__).parents[1] / "volumes" / "ndtiff"

OME = (
    '<?xml version="1.0" encoding="UTF-8"?>{dtd}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
    'UUID="{uuid}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="8" '
    'SizeY="8" SizeZ="{z}" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1" Name="{name}"/>'
    "{data}</Pixels></Image></OME>"
)
PLANES = '<TiffData IFD="0" PlaneCount="8"/>'


def xml(*, dtd: str = "", uuid: str = "urn:uuid:1", z: int = 8, name: str = "a", data: str = PLANES) -> str:
    return OME.format(dtd=dtd, uuid=uuid, z=z, name=name, data=data)


def ome_tiff(path: Path, text: str, voxels: np.ndarray = VOXELS) -> None:
    tifffile.imwrite(path, voxels, photometric="minisblack", metadata=None, description=text)


def planes_in(name: str) -> Callable[[Path], str]:
    """An OME-TIFF whose planes lie in a file of this name; {folder} is the folder around the cage."""

    def write(folder: Path) -> str:
        inside = f'<UUID FileName="{name.format(folder=folder)}">urn:uuid:2</UUID>'
        data = f'<TiffData IFD="0" PlaneCount="8">{inside}</TiffData>'
        ome_tiff(folder / "cage" / "image.ome.tif", xml(data=data))
        for place in (folder, folder / "cage"):
            ome_tiff(place / "other.ome.tif", xml(uuid="urn:uuid:2", data=data), SECRET)
        return "image.ome.tif"

    return write


def ndtiff_in(name: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        shutil.copytree(NDTIFF, folder / "cage" / "run")
        shutil.copy(NDTIFF / "NDTiffStack.tif", folder / "NDTiffStack.tif")
        old, new = (struct.pack("<I", len(text)) + text for text in (b"NDTiffStack.tif", name.encode()))
        index = folder / "cage" / "run" / "NDTiff.index"
        index.write_bytes(index.read_bytes().replace(old, new))
        return "run"

    return write


def hdf5_with(kind: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        h5py = pytest.importorskip("h5py")
        for place in (folder, folder / "cage"):
            with h5py.File(place / "other.h5", "w") as other:
                other["raw"] = SECRET
        SECRET.tofile(folder / "cage" / "other.bin")
        with h5py.File(folder / "cage" / "image.h5", "w") as file:
            _add(h5py, file, kind, folder)
        return "image.h5/raw"

    return write


def _add(h5py, file, kind, folder):
    links = {
        "link up": h5py.ExternalLink("../other.h5", "/raw"),
        "link to an absolute path": h5py.ExternalLink(str(folder / "other.h5"), "/raw"),
        "link to a device": h5py.ExternalLink("/dev/zero", "/raw"),
        "link to itself": h5py.ExternalLink("image.h5", "/raw"),
        "link to the working directory": h5py.ExternalLink("there.h5", "/raw"),
        "link beside": h5py.ExternalLink("other.h5", "/raw"),
        "soft ring": h5py.SoftLink("/back"),
        "soft link to a link up": h5py.SoftLink("/back/raw"),
    }
    if kind in links:
        file["raw"] = links[kind]
        file["back"] = h5py.SoftLink("/raw") if kind == "soft ring" else h5py.ExternalLink("../other.h5", "/")
        return
    if kind == "voxels apart":
        apart = [(str(folder / "cage" / "other.bin"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("raw", shape=SHAPE, dtype="uint16", external=apart)
        return
    layout = h5py.VirtualLayout(SHAPE, "uint16")
    sources = {"source up": "../other.h5", "source is itself": "image.h5", "source beside": "other.h5"}
    layout[...] = h5py.VirtualSource(sources[kind], "raw", SHAPE)
    file.create_virtual_dataset("raw", layout)


REFUSED = {
    "ome-tiff up": planes_in("../other.ome.tif"),
    "ome-tiff absolute": planes_in("{folder}/other.ome.tif"),
    "ndtiff up": ndtiff_in("../NDTiffStack.tif"),
    **{
        f"hdf5 {kind}": hdf5_with(kind)
        for kind in (
            *("link up", "link to an absolute path", "link to a device", "link to itself", "soft ring"),
            *("link to the working directory", "soft link to a link up", "voxels apart", "source up"),
            "source is itself",
        )
    },
}
READ = {
    "ome-tiff beside": planes_in("other.ome.tif"),
    "hdf5 link beside": hdf5_with("link beside"),
    "hdf5 source beside": hdf5_with("source beside"),
}


def inspected(write, opened, folder, *more):
    (folder / "cage").mkdir()
    uri = write(folder)
    before = seen(folder)
    outcome = opened.run("inspect-volume", [uri, "--spacing", "1,1,1", "--histogram", *more], folder / "cage")
    assert seen(folder) == before
    return outcome


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_leads_out_of_the_folder_or_in_a_ring_is_refused(name, opened, tmp_path):
    outcome = inspected(REFUSED[name], opened, tmp_path)
    assert outcome.fault(codes=(2,)) == ""
    assert any(word in outcome.sentence for word in ("folder", "ring", "beside"))


@pytest.mark.parametrize("name", READ)
def test_a_name_beside_is_followed(name, opened, tmp_path):
    outcome = inspected(READ[name], opened, tmp_path)
    assert outcome.fault(codes=(0,)) == ""
    low, high = np.percentile(SECRET, [0, 100])
    assert f"{low:g}" in outcome.stdout
    assert f"{high:g}" in outcome.stdout


def pages(ends: str) -> Callable[[Path], str]:
    """A TIFF whose last page names one as the next that is none."""

    def write(folder: Path) -> str:
        path = folder / "cage" / "image.tif"
        for plane in VOXELS:
            tifffile.imwrite(path, plane, append=path.exists(), photometric="minisblack", metadata=None)
        with tifffile.TiffFile(path) as tiff:
            offsets = [page.offset for page in tiff.pages]
        content = bytearray(path.read_bytes())
        following = {"the first": offsets[0], "itself": offsets[-1], "outside": 2**31, "another": offsets[3]}
        place = offsets[-1] + 2 + 12 * struct.unpack_from("<H", content, offsets[-1])[0]
        struct.pack_into("<I", content, place, following[ends])
        path.write_bytes(content)
        return "image.tif"

    return write


def levels(change: Callable[[bytearray, tifffile.TiffTag, int], object]) -> Callable[[Path], str]:
    """A TIFF of two levels, with the offset of the coarser changed in each page."""

    def write(folder: Path) -> str:
        path = folder / "cage" / "image.ome.tif"
        options = {"photometric": "minisblack", "tile": (16, 16)}
        with tifffile.TiffWriter(path, ome=True) as tiff:
            tiff.write(VOXELS, subifds=1, metadata={"axes": "ZYX"}, **options)
            tiff.write(VOXELS[:, ::2, ::2], subfiletype=1, **options)
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as tiff:
            for page in tiff.pages:
                change(content, page.tags["SubIFDs"], page.offset)
        path.write_bytes(content)
        return "image.ome.tif/s1"

    return write


def described(text: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        ome_tiff(folder / "cage" / "image.ome.tif", text)
        return "image.ome.tif"

    return write


LAUGHS = '<!DOCTYPE x [<!ENTITY a0 "lollollollol">{}]>'.format(
    "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
)
FILE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
ODD = {
    **{f"pages that end in {ends}": pages(ends) for ends in ("the first", "itself", "outside", "another")},
    "a level that is its page": levels(lambda c, tag, own: struct.pack_into("<I", c, tag.valueoffset, own)),
    "a level outside": levels(lambda c, tag, _: struct.pack_into("<I", c, tag.valueoffset, 2**31)),
    "billions of levels": levels(lambda c, tag, _: struct.pack_into("<I", c, tag.offset + 4, 2**31 - 1)),
    "billions of planes of ImageJ": described("ImageJ=1.53\nimages=4000000000\nslices=4000000000\nunit=um\n"),
    "billions of planes by shape": described('{"shape": [4000000000, 8, 8]}'),
    "a hundred million planes": described(xml(z=100_000_000)),
    "planes counted in billions": described(xml(data='<TiffData IFD="0" PlaneCount="4000000000"/>')),
    "a page of a high number": described(xml(data='<TiffData IFD="4000000000" PlaneCount="8"/>')),
    "billion laughs": described(xml(dtd=LAUGHS, name="&a11;")),
    "a long entity often": described(xml(dtd=f'<!DOCTYPE x [<!ENTITY a "{"A" * 50_000}">]>', name="&a;" * 50_000)),
    "an external entity": described(xml(dtd=FILE, data=f"{PLANES}&a;")),
    "an external entity as a name": described(xml(dtd=FILE, name="&a;")),
    "a DTD without an end": described(xml(dtd='<!DOCTYPE x SYSTEM "file:///dev/zero">')),
    "a parameter without an end": described(xml(dtd='<!DOCTYPE x [<!ENTITY % a SYSTEM "file:///dev/zero"> %a;]>')),
    "deep elements": described(xml(data="<a>" * 100_000 + "</a>" * 100_000)),
}


@pytest.mark.parametrize("name", ODD)
def test_metadata_that_grow_or_go_round_end_in_a_result_or_a_sentence(name, opened, tmp_path):
    outcome = inspected(ODD[name], opened, tmp_path, "--json")
    assert outcome.fault(codes=(0, 2, 3)) == ""
    assert "root:" not in outcome.stdout + outcome.stderr


def test_an_index_of_wrong_offsets_is_an_error_or_other_voxels(opened, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(NDTIFF, folder)
    whole = (folder / "NDTiff.index").read_bytes()
    name = b"NDTiffStack.tif"
    for offset in (0, 3, 2**31, 2**32 - 1):
        place, content = whole.index(name) + len(name), bytearray(whole)
        while place >= len(name):
            struct.pack_into("<I", content, place, offset)
            place = whole.find(name, place) + len(name)
        (folder / "NDTiff.index").write_bytes(content)
        outcome = opened.run("inspect-volume", ["run", "--spacing", "1,1,1", "--histogram"], tmp_path)
        assert outcome.fault(codes=(0, 2, 3)) == "", offset


@pytest.mark.parametrize("ending", ["tif", "h5", "nrrd", "mha", "nii", "nii.gz", "zarr.zip"])
def test_a_pipe_is_no_volume(ending, opened, tmp_path):
    os.mkfifo(tmp_path / f"image.{ending}")
    outcome = opened.run("inspect-volume", [f"image.{ending}"], tmp_path)
    assert outcome.fault(codes=(2,)) == ""
    assert "is no regular file" in outcome.sentence


def test_links_of_the_file_system_are_followed(opened, tmp_path):
    """They are the user's own, who may keep volumes on another disk."""
    write_precomputed(tmp_path / "elsewhere", VOXELS)
    (tmp_path / "cage").mkdir()
    (tmp_path / "cage" / "image").symlink_to(tmp_path / "elsewhere")
    assert opened.run("inspect-volume", ["image", "--histogram"], tmp_path / "cage").fault(codes=(0,)) == ""
