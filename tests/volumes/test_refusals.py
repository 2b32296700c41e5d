"""What the operating system refuses, met in a process of its own: no permission, a full disk."""

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tifffile

from volume_files import noise, write_n5, write_nifti, write_nrrd, write_precomputed, write_slices, write_zarr

NOBODY = 65534
FORBIDDEN = """
    import os
    import nibabel  # while the libraries can be read
    from teralign.errors import TeralignError
    from teralign.volumes import check_output, create_volume, nifti, nrrd, open_volume, precomputed, slices, tiff
    from teralign.grids import Grid
    if os.geteuid() == 0:
        os.setuid({nobody})
    try:
        {code}
    except TeralignError as error:
        print(type(error).__name__, error)
"""
FULL = """
    import resource
    import numpy as np
    from teralign.errors import TeralignError
    from teralign.grids import Grid
    from teralign.volumes import create_volume
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    try:
        grid = Grid((64, 64, 64), (1, 1, 1))
        writer = create_volume({path!r}, grid=grid, dtype="uint16")
        writer.write(grid.region, np.random.default_rng(0).integers(0, 60000, grid.shape, dtype="uint16"))
    except TeralignError as error:
        print(type(error).__name__, error)
"""


def run(code):
    """What a process of its own prints that runs this code."""
    done = subprocess.run(
        [sys.executable, "-"], input=textwrap.dedent(code), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def forbidden(code):
    return run(FORBIDDEN.format(nobody=NOBODY, code=code))


@pytest.fixture
def reachable():
    """A folder that other users can reach but not write; pytest closes its own to them whenever a session starts."""
    with tempfile.TemporaryDirectory(prefix="teralign-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("name", ["a.tif", "a.nrrd", "a.nii.gz", "a.n5/s0", "a.zarr", "a.precomputed", "slices"])
def test_a_volume_that_may_not_be_read_is_named(name, reachable):
    array = noise((4, 6, 10), "uint8")
    path = reachable / name
    if name == "a.tif":
        tifffile.imwrite(path, array, photometric="minisblack")
    elif name == "a.nrrd":
        write_nrrd(path, array)
    elif name == "a.nii.gz":
        write_nifti(path, array)
    elif name == "a.zarr":
        write_zarr(path, array, 3)
    elif name == "a.precomputed":
        write_precomputed(path, array)
    elif name == "slices":
        write_slices(path, array)
    else:
        write_n5(path, array)
    inside = {"a.n5/s0": "attributes.json", "a.zarr": "zarr.json", "a.precomputed": "info", "slices": "slice_008.tif"}
    closed = path / inside.get(name, "")
    closed.chmod(0o000)
    assert forbidden(f"open_volume({str(path)!r})") == f"InputError {closed} may not be read; ask for the permission."


def test_chunks_that_may_not_be_read_are_an_error_of_the_data(reachable):
    path = write_n5(reachable / "a.n5" / "s0", noise((4, 6, 10), "uint8"), {"pixelResolution": [1, 1, 1]})
    (path / "0" / "0" / "0").chmod(0o000)
    said = forbidden(f"open_volume({str(path)!r}).read()")
    assert said.startswith(f"DataError {path} cannot be read from (0, 0, 0) to (4, 6, 10) (zyx): ")
    assert "Permission denied" in said


def test_an_output_folder_that_may_not_be_written_is_said_before_the_work(reachable):
    said = forbidden(f"check_output({str(reachable / 'out.zarr')!r}, overwrite=False)")
    assert said == f"InputError the folder {reachable} may not be written; choose another output."
    said = forbidden(f"check_output({str(reachable / 'new' / 'out.zarr')!r}, overwrite=False)")
    assert said == f"InputError the folder {reachable / 'new'} cannot be made: Permission denied."


@pytest.mark.parametrize("suffix", ["zarr", "n5"])
def test_an_output_that_may_not_be_created_is_an_error_of_the_data(suffix, reachable):
    out = str(reachable / f"out.{suffix}")
    said = forbidden(f"create_volume({out!r}, grid=Grid((4, 4, 4), (1, 1, 1)), dtype='uint8')")
    assert said.startswith(f"DataError {out}")
    assert "Permission denied" in said


@pytest.mark.parametrize("suffix", ["zarr", "n5"])
def test_a_full_disk_is_an_error_that_names_the_array(suffix, tmp_path):
    path = str(tmp_path / f"out.{suffix}")
    said = run(FULL.format(path=path, limit=100_000))
    assert said.startswith(f"DataError {path}/s0 cannot be written from (0, 0, 0) to (64, 64, 64) (zyx): ")
    assert "File too large" in said
    stored = [p for p in (tmp_path / f"out.{suffix}" / "s0").rglob("*") if p.is_file()]
    assert [p.name for p in stored] == ["zarr.json" if suffix == "zarr" else "attributes.json"]


@pytest.mark.parametrize("suffix", ["zarr", "n5"])
def test_a_disk_too_full_for_metadata_is_an_error_too(suffix, tmp_path):
    path = str(tmp_path / f"out.{suffix}")
    said = run(FULL.format(path=path, limit=10))
    assert said.startswith(f"DataError {path}")
    assert "File too large" in said
    assert np.size(list(tmp_path.rglob("*.json"))) == 0


def test_a_folder_that_may_not_be_looked_into_is_named(reachable):
    folder = reachable / "closed"
    folder.mkdir()
    write_slices(folder / "slices", noise((4, 6, 10), "uint8"))
    folder.chmod(0o000)
    try:
        said = forbidden(f"open_volume({str(folder / 'slices')!r})")
    finally:
        folder.chmod(0o755)
    assert said.startswith(f"InputError {folder}")
    assert said.endswith("may not be read; ask for the permission.")
