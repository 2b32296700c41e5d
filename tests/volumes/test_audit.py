from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest

from teralign.errors import DataError
from teralign.grids import Grid
from teralign.volumes import Chunking, audit_volume, create_volume, open_volume
from teralign.volumes.manifest import FILE
from teralign.volumes.zarr_nodes import METADATA_FILES
from volume_files import EVERY_FORMAT, SPACING, noise

GRID = Grid((40, 70, 45), (1.0, 1.0, 1.0))
CHUNKS = Chunking((16, 32, 16))
SHARDS = Chunking((16, 32, 16), shard_side=32, min_sharded_voxels=0)
UNCHECKED = (*METADATA_FILES, FILE, "info")


def written(path, **options):
    """A volume of noise with an empty corner, and its manifest."""
    array = noise(GRID.shape, "uint16")
    array[:16, :32, :16] = 0
    options = {"chunking": CHUNKS, **options}
    writer = create_volume(path, grid=GRID, dtype="uint16", levels=1, **options)
    stored = []
    for channel in range(writer.layout.channels):
        for unit in GRID.region.split(writer.write_shape):
            stored += writer.write(unit, array[unit.slices], channel=channel)
    writer.finish(stored)
    return path


@pytest.fixture(params=["out.zarr", "zarr2.zarr", "out.n5", "sharded.zarr", "out.precomputed"])
def volume(request, tmp_path):
    options = {"zarr2.zarr": {"ome_zarr": "0.4"}, "sharded.zarr": {"chunking": SHARDS}}
    return written(tmp_path / request.param, **options.get(request.param, {}))


def findings(path, threads=2):
    return [f for f in audit_volume(open_volume(path)).findings(threads) if f.state not in ("whole", "empty")]


def chunk_files(path):
    return sorted(p for p in path.rglob("*") if p.is_file() and p.name not in UNCHECKED and p.suffix != ".json")


def damage(path, how, rng):
    content = bytearray(path.read_bytes())
    if how == "lost":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[: int(rng.integers(len(content)))])
    else:
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)


def test_every_flipped_bit_truncation_and_deletion_is_found(volume):
    """One at a time, 67 of them in each format; anything that is found is named."""
    rng = np.random.default_rng(7)
    files = chunk_files(volume)
    assert findings(volume) == []
    for number in range(67):
        path, how = files[int(rng.integers(len(files)))], ("flipped", "truncated", "lost")[number % 3]
        content = path.read_bytes()
        damage(path, how, rng)
        [found] = findings(volume)
        assert (found.name, found.state) == (str(path), "lost" if how == "lost" else "corrupt")
        path.write_bytes(content)
    assert findings(volume) == []


def test_what_is_empty_is_counted(volume):
    states = Counter(f.state for f in audit_volume(open_volume(volume)).findings(1))
    assert states["whole"] == len(chunk_files(volume))
    assert states["empty"] == (0 if "sharded" in volume.name else 1)


def test_a_chunk_that_was_exchanged_or_added_is_corrupt(volume):
    first, second = chunk_files(volume)[:2]
    shutil.copy(first, second)
    assert [f.name for f in findings(volume)] == [str(second)]


def test_a_file_where_nothing_was_written_is_corrupt(tmp_path):
    path = written(tmp_path / "out.zarr")
    empty = path / "s0" / "c" / "0" / "0" / "0" / "0" / "0"
    assert not empty.exists()
    shutil.copy(chunk_files(path)[0], empty)
    [found] = findings(path)
    assert (found.name, found.state, found.reason) == (str(empty), "corrupt", "nothing was written there")


def test_each_channel_has_its_manifest(tmp_path):
    for name, arrays, places in (("out.zarr", 1, 2 * 27), ("out.n5", 2, 2 * 27), ("out.precomputed", 1, 27)):
        path = written(tmp_path / name, channels=2)
        assert len(list(path.rglob(FILE))) == arrays
        assert audit_volume(open_volume(path)).count == places
        chunk_files(path)[-1].unlink()
        assert [f.state for f in findings(path)] == ["lost"]


def test_without_a_manifest_checksums_find_damage_but_not_deletions(volume):
    if volume.suffix == ".precomputed":
        pytest.skip("raw chunks have no checksum")
    (volume / "s0" / FILE).unlink()
    rng = np.random.default_rng(0)
    files = chunk_files(volume)
    for number in range(20):
        path = files[int(rng.integers(len(files)))]
        content = path.read_bytes()
        if volume.name in ("out.n5", "zarr2.zarr"):  # the head of a gzip file has bits that do not matter
            path.write_bytes(content[:-20])
        else:
            damage(path, ("flipped", "truncated")[number % 2], rng)
        assert [(f.name, f.state) for f in findings(volume)] == [(str(path), "corrupt")]
        path.write_bytes(content)
    files[0].unlink()
    assert findings(volume) == []


def test_a_damaged_manifest_is_an_error(volume):
    manifest = volume / "s0" / FILE
    content = manifest.read_bytes()
    for broken in (content[:-30], content[:200] + b"\xff" + content[201:], b""):
        manifest.write_bytes(broken)
        with pytest.raises(DataError, match=r"manifest .* is damaged"):
            findings(volume)
    small = volume.with_name(f"small{volume.suffix}")
    create_volume(small, grid=Grid((9, 9, 9), (1, 1, 1)), dtype="uint8", levels=1).finish([])
    shutil.copy(small / "s0" / FILE, manifest)
    with pytest.raises(DataError, match="belongs to another array"):
        findings(volume)


@pytest.mark.parametrize("form", EVERY_FORMAT)
def test_every_format_is_read_whole(form, tmp_path):
    path, _ = EVERY_FORMAT[form].write(tmp_path, noise((20, 17, 23), "uint16"))
    audit = audit_volume(open_volume(path, spacing=SPACING))
    states = Counter(f.state for f in audit.findings(2))
    assert states == {"whole": audit.count}


def test_a_tiff_that_ends_too_early_is_corrupt(tmp_path):
    path, _ = EVERY_FORMAT["ome-tiff"].write(tmp_path, noise((20, 40, 40), "uint16"))
    whole = open_volume(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    states = Counter(f.state for f in audit_volume(whole).findings(2))
    assert states["corrupt"]
