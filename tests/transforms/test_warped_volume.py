"""The moving volume seen through transforms has the bytes that apply-transform writes."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from teralign.caching import BoundedCache
from teralign.cluster import Compute
from teralign.errors import DataError
from teralign.grids import Grid, Region
from teralign.tasks.apply_transform import apply_transform
from teralign.transforms import Affine, DisplacementField, WarpedVolume, load_stack, save_field
from teralign.volumes import create_volume, open_volume

FIXED = Grid((70, 90, 133), (1.2, 0.9, 0.9))
MOVING = Grid((75, 100, 129), (1.0, 1.0, 0.8), (0.5, 0.0, 0.0))


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Two volumes with three scales each, the moving one of two channels, an affine and a field on disk."""
    folder = tmp_path_factory.mktemp("warped")
    rng = np.random.default_rng(1)
    noise = [(ndimage.gaussian_filter(rng.random(MOVING.shape), 2) * 60000).astype(np.uint16) for _ in range(2)]
    _write(folder / "moving.zarr", MOVING, noise)
    _write(folder / "fixed.zarr", FIXED, [np.ones(FIXED.shape, np.uint8)])
    affine = Affine.from_parts(np.eye(3) + 0.05 * rng.normal(size=(3, 3)), (3.0, 8.0, -6.0))
    affine.save(folder / "affine.mat")
    nodes = FIXED.nodes((6, 7, 8))
    vectors = ndimage.gaussian_filter(rng.normal(size=(*nodes.shape, 3)), (2, 2, 2, 0)).astype(np.float32) * 20
    save_field(folder / "field.zarr", DisplacementField(vectors, nodes))
    return folder


def _write(path, grid, channels):
    writer = create_volume(path, grid=grid, dtype=channels[0].dtype, channels=len(channels), levels=3)
    for channel, array in enumerate(channels):
        for region in grid.region.split(writer.write_shape):
            writer.write(region, np.ascontiguousarray(array[region.slices]), channel=channel)
        for level in (1, 2):
            for region in writer.levels[level].region.split(writer.write_shape):
                writer.build_level_region(level, region, channel=channel)


def _transforms(folder):
    return [folder / "affine.mat", folder / "field.zarr"]


def _warped(folder, fixed="fixed.zarr", moving="moving.zarr", **options):
    volumes = (open_volume(folder / name) for name in (fixed, moving))
    return WarpedVolume.between(*volumes, load_stack(_transforms(folder)), **options)


@pytest.mark.parametrize("interpolation", ["linear", "nearest", "cubic"])
def test_every_scale_has_the_bytes_of_apply_transform(case, tmp_path, scheduler, interpolation):
    """Coarse scales too, at which apply-transform is given the fixed and the moving level."""
    warped = _warped(case, interpolation=interpolation, chunk_shape=(32, 48, 64))
    assert (warped.channels, warped.dtype, warped.grid, len(warped.levels)) == (2, np.uint16, FIXED, 3)
    for level in range(3):
        apply_transform(
            case / "fixed.zarr" / f"s{level}",
            case / "moving.zarr" / f"s{level}",
            transforms=_transforms(case),
            output=tmp_path / f"{level}.zarr",
            interpolation=interpolation,
            compute=Compute(scheduler),
        )
        written = open_volume(tmp_path / f"{level}.zarr")
        assert written.grid == warped.grids[level]
        for channel in range(2):
            expected = written.read(channel=channel)
            assert expected.any()
            np.testing.assert_array_equal(warped.read(channel=channel, level=level), expected)
            corner = Region((5, 3, 1), (17, 20, 31))
            np.testing.assert_array_equal(warped.read(corner, channel=channel, level=level), expected[corner.slices])


def test_oblique_volumes_as_apply_transform_places_them(case, tmp_path, scheduler):
    """Directions of headers and a voxel size that the user sets."""
    rng = np.random.default_rng(2)
    angle = 0.3
    for name, shape in (("fixed", (30, 40, 50)), ("moving", (35, 45, 50))):
        image = sitk.GetImageFromArray(rng.integers(1, 200, shape).astype(np.uint8))
        image.SetSpacing((2.0, 2.0, 2.5))
        image.SetDirection((np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1))
        sitk.WriteImage(image, tmp_path / f"{name}.nrrd")
        angle = -0.2
    apply_transform(
        tmp_path / "fixed.nrrd",
        tmp_path / "moving.nrrd",
        transforms=_transforms(case),
        output=tmp_path / "out.zarr",
        compute=Compute(scheduler),
    )
    volumes = (open_volume(tmp_path / f"{name}.nrrd") for name in ("fixed", "moving"))
    warped = WarpedVolume.between(*volumes, load_stack(_transforms(case)))
    written = open_volume(tmp_path / "out.zarr").read()
    assert written.any()
    np.testing.assert_array_equal(warped.read(), written)


def test_a_fixed_volume_of_one_scale_gets_those_of_a_pyramid(case, tmp_path):
    grid = Grid((40, 90, 600), (1.2, 0.9, 0.3))
    create_volume(tmp_path / "fixed.zarr", grid=grid, dtype=np.uint8, levels=1)
    warped = WarpedVolume.between(
        open_volume(tmp_path / "fixed.zarr"), open_volume(case / "moving.zarr"), load_stack(_transforms(case))
    )
    assert [g.shape for g in warped.grids] == [(40, 90, 600), (40, 90, 300), (40, 90, 150)]
    assert [level.source.uri.rpartition("/")[2] for level in warped.levels] == ["moving.zarr"] * 3
    assert warped.read(level=2).any()


def test_a_level_is_taken_by_the_size_of_its_voxels(case, tmp_path):
    """A moving volume of twice finer voxels is read one level coarser, except at the scale that was asked for."""
    grid = Grid((35, 45, 66), (2.4, 1.8, 1.8))
    _write(tmp_path / "coarse.zarr", grid, [np.ones(grid.shape, np.uint8)])
    warped = WarpedVolume.between(
        open_volume(tmp_path / "coarse.zarr"), open_volume(case / "moving.zarr"), load_stack(_transforms(case))
    )
    sources = [level.source.uri.rpartition("/")[2] for level in warped.levels]
    assert sources == ["moving.zarr", "s2", "s2"]


def test_threads_and_other_processes_read_the_same(case):
    warped = _warped(case, chunk_shape=(24, 24, 24))
    whole = warped.read()
    parts = list(FIXED.region.split((30, 30, 30)))
    again = pickle.loads(pickle.dumps(warped))
    with ThreadPoolExecutor(4) as pool:
        for part, voxels in zip(parts, pool.map(again.read, parts), strict=True):
            np.testing.assert_array_equal(voxels, whole[part.slices])


def test_places_that_do_not_exist_are_refused(case):
    warped = _warped(case)
    for wrong in ({"channel": 2}, {"timepoint": 1}, {"level": 3}, {"region": Region((0, 0, 0), (71, 1, 1))}):
        with pytest.raises(ValueError):
            warped.read(**wrong)


def test_a_field_that_cannot_be_read_is_an_error_until_it_can(case, tmp_path):
    shutil.copytree(case, tmp_path, dirs_exist_ok=True)
    chunk = next(file for file in (tmp_path / "field.zarr").rglob("c/*") if file.is_dir())
    chunk.rename(tmp_path / "away")
    warped = _warped(tmp_path)
    with pytest.raises(DataError, match="missing nodes"):
        warped.read()
    (tmp_path / "away").rename(chunk)
    np.testing.assert_array_equal(_warped(tmp_path).read(), _warped(case).read())


def test_the_digest_changes_with_what_is_seen(case):
    digests = [_warped(case).digest(), _warped(case, interpolation="nearest").digest()]
    assert len(set(digests)) == 2
    assert _warped(case).digest() == digests[0]


def test_a_cache_keeps_the_values_used_last_within_its_bytes():
    made = []
    cache = BoundedCache[bytes](10, len)

    def get(key, size=4):
        return cache.get(key, lambda: made.append(key) or bytes(size))

    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
    assert made == ["a", "b", "c", "b"]
    get("large", 50)
    get("a")
    assert made == ["a", "b", "c", "b", "large", "a"]
    with pytest.raises(ZeroDivisionError):
        cache.get("wrong", lambda: 1 // 0)
    assert cache.get("wrong", lambda: b"right") == b"right"
