"""Good inputs of every kind, small, that the campaigns make hostile: their files, and the commands that read them."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK
import tifffile

from hostile.seed import Seed
from hostile.tile_seeds import TILE_SEEDS
from teralign.grids import Grid
from teralign.transforms import DisplacementField, bigstream, save_field
from teralign.volumes import create_volume
from volume_files import EVERY_FORMAT, noise

SHAPE = (6, 10, 12)
_METADATA = ("*.json", ".zarray", ".zattrs", ".zgroup", "info")
_NODES = Grid((4, 5, 6), (4.0, 4.0, 4.0))
AFFINE = "1 0 0 1.5\n0 1 0 -2\n0 0 1.25 0\n0 0 0 1\n"
POINTS = "id,x,y,z,space\n1,1.5,2.5,3.5,fixed\n2,4,5,3,fixed\n3,8.25,1,0,fixed\n"
CONFIG = """\
base: &base
  alignment_spacing: 4.0
global_align:
  steps:
    - ransac:
        <<: *base
        nspots: 100
    - affine:
        shrink_factors: [2, 1]
        smooth_sigmas: [1.0, 0.0]
"""


def _inspect(uri: str) -> Sequence[Sequence[str]]:
    return [("inspect-volume", uri, "--spacing", "1,1,1", "--histogram", "--json")]


def _volume(name: str) -> Seed:
    """A volume of one of the formats, with its metadata or its only file to be changed."""

    def write(folder: Path) -> None:
        uri, _ = EVERY_FORMAT[name].write(folder, noise(SHAPE, "uint16"))
        (folder / "uri.txt").write_text(str(uri.relative_to(folder)))

    chunked = any(part in name for part in ("n5", "zarr", "precomputed"))
    uris = {"n5": "image.n5/raw", "zarr-v3-sharded": "image.zarr/raw", "hdf5": "image.h5/group/raw"}
    uris |= {"hdf5-big-endian": "image.hdf5/raw", "nifti-gz": "image.nii.gz", "tiff-big-endian": "image.tiff"}
    uris |= {"ome-tiff": "image.ome.tif", "tiff": "image.tif"}
    kinds = {"zarr": "image.zarr", "nrrd": "image.nrrd", "nifti": "image.nii"}
    uri = uris.get(name) or next((place for kind, place in kinds.items() if kind in name), "image")
    return Seed(name, write, _inspect(uri), _METADATA if chunked else ("image*", "*.tif", "*.tiff", "*.png"))


def _metaimage(folder: Path) -> None:
    image = SimpleITK.GetImageFromArray(noise(SHAPE, "uint16"))
    SimpleITK.WriteImage(image, str(folder / "image.mha"), useCompression=True)
    SimpleITK.WriteImage(image, str(folder / "apart.mhd"))


def _detached_nrrd(folder: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise(SHAPE, "uint16")), str(folder / "image.nhdr"))


def _imagej(folder: Path) -> None:
    metadata = {"axes": "TZCYX", "unit": "um", "spacing": 2.0}
    tifffile.imwrite(folder / "image.tif", noise((1, 6, 2, 10, 12), "uint16"), imagej=True, metadata=metadata)


def _zipped(folder: Path) -> None:
    writer = create_volume(folder / "image.zarr", grid=Grid(SHAPE, (2.0, 1.0, 1.0)), dtype="uint16", levels=1)
    writer.write(writer.levels[0].region, noise(SHAPE, "uint16"))
    with zipfile.ZipFile(folder / "image.ozx", "w") as archive:
        for path in sorted((folder / "image.zarr").rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder / "image.zarr"))


def _imaris(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "image.ims", "w") as file:
        channel = file.create_group("DataSet/ResolutionLevel 0/TimePoint 0/Channel 0")
        channel.create_dataset("Data", data=noise(SHAPE, "uint16"), chunks=(4, 8, 8))
        image = file.create_group("DataSetInfo/Image")
        for i, (size, axis) in enumerate(zip(SHAPE[::-1], "XYZ", strict=True)):
            channel.attrs[f"ImageSize{axis}"] = np.array(list(str(size)), "S1")
            image.attrs[f"ExtMin{i}"] = np.array(list("0.0"), "S1")
            image.attrs[f"ExtMax{i}"] = np.array(list(f"{size}.0"), "S1")


def _transform(name: str, write: Callable[[Path], object], *files: str, convert: bool = False) -> Seed:
    """A transform in the file (the first of `files`) that maps points, or that convert-transform reads."""

    def whole(folder: Path) -> None:
        (folder / "points.csv").write_text(POINTS)
        write(folder)

    call: Sequence[str] = ("transform-points", "--transform", files[0], "--points", "points.csv", "--output", "o.csv")
    if convert:
        call = ("convert-transform", files[0], "out.zarr" if "affine" not in name else "out.mat")
    return Seed(name, whole, [(*call, "--overwrite")], files)


def _own_field(folder: Path) -> None:
    values = np.random.default_rng(0).normal(size=(*_NODES.shape, 3)).astype(np.float32)
    save_field(folder / "field.zarr", DisplacementField(values, _NODES))


def _bigstream_field(folder: Path) -> None:
    with bigstream.building_field(folder / "field.n5", "s0", _NODES) as writer:
        writer.write(_NODES.region, np.ones((*_NODES.shape, 3), np.float32))


def _itk_field(folder: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(*_NODES.shape, 3))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(vectors, isVector=True), str(folder / "field.nrrd"))


def _itk_affine(name: str) -> Callable[[Path], object]:
    transform = SimpleITK.AffineTransform(3)
    transform.SetTranslation((1.0, 2.0, 3.0))
    return lambda folder: SimpleITK.WriteTransform(transform, str(folder / name))


def _elastix(folder: Path) -> None:
    (folder / "TransformParameters.0.txt").write_text(
        '(Transform "AffineTransform")\n(NumberOfParameters 12)\n'
        "(TransformParameters 1 0 0 0 1 0 0 0 1 1.5 2.5 3.5)\n"
        '(InitialTransformParameterFileName "NoInitialTransform")\n(HowToCombineTransforms "Compose")\n'
        "(FixedImageDimension 3)\n(MovingImageDimension 3)\n(CenterOfRotationPoint 0 0 0)\n"
    )


def _configuration(folder: Path) -> None:
    for name in ("fixed", "moving"):
        EVERY_FORMAT["ome-zarr-0.5"].write(_made(folder / name), noise(SHAPE, "uint16"))
    (folder / "config.yml").write_text(CONFIG)


def _samplesheet(folder: Path) -> None:
    _configuration(folder)
    row = "pair,fixed/image.zarr,moving/image.zarr,0,1.0,s0,labels=nearest"
    header = "id,fixed,moving,fixed_channel,expansion,aff_scale,apply_to"
    (folder / "pairs.csv").write_text(f"{header}\n{row.replace('labels=nearest', '')}\n")
    parameters = {"input": "pairs.csv", "aff_scale": "s0", "def_scale": "s0"}
    (folder / "parameters.json").write_text(json.dumps(parameters))


def _points(folder: Path) -> None:
    (folder / "affine.mat").write_text(AFFINE)
    (folder / "points.csv").write_text(POINTS)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


_ALIGN = ("--fixed", "fixed/image.zarr/s0", "--moving", "moving/image.zarr/s0")
_MAP = ("transform-points", "--transform", "affine.mat", "--points", "points.csv", "--output", "o.csv", "--overwrite")
_HAS_H5PY = importlib.util.find_spec("h5py") is not None

SEEDS: dict[str, Seed] = {
    seed.name: seed
    for seed in (
        *map(_volume, EVERY_FORMAT),
        Seed("metaimage", _metaimage, [*_inspect("image.mha"), *_inspect("apart.mhd")], ("image.mha", "apart.mhd")),
        Seed("nhdr", _detached_nrrd, _inspect("image.nhdr"), ("image.nhdr",)),
        Seed("imagej", _imagej, _inspect("image.tif"), ("image.tif",)),
        Seed("zip", _zipped, _inspect("image.ozx"), ("image.ozx",)),
        *([Seed("imaris", _imaris, _inspect("image.ims"), ("image.ims",))] if _HAS_H5PY else []),
        _transform("affine", lambda folder: (folder / "map.mat").write_text(AFFINE), "map.mat"),
        _transform("field", _own_field, "field.zarr", "*.json"),
        _transform("field-bigstream", _bigstream_field, "field.n5", "*.json", convert=True),
        _transform("field-itk", _itk_field, "field.nrrd", convert=True),
        *(
            _transform(f"affine-itk-{end}", _itk_affine(f"map.{end}"), f"map.{end}", convert=True)
            for end in ("tfm", "h5")
        ),
        _transform("affine-elastix", _elastix, "TransformParameters.0.txt", convert=True),
        Seed("points", _points, [_MAP], ("points.csv",), (0, 2)),
        Seed(
            "yaml",
            _configuration,
            [("global-align", *_ALIGN, "--config", "config.yml", "--output", "o.mat", "--dry-run")],
            ("config.yml",),
            (0, 2),
        ),
        Seed("samplesheet", _samplesheet, [("resolve", "parameters.json")], ("pairs.csv", "parameters.json"), (0, 2)),
        *TILE_SEEDS,
    )
}
