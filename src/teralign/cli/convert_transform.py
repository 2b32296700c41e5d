"""`convert-transform`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from teralign.cli import options, values
from teralign.grids import FloatTriple

if TYPE_CHECKING:
    from teralign.alignment import Side


@click.command(
    epilog=options.example("convert-transform transform.zarr field.nii.gz --to itk --unit mm"),
)
@options.transforms_argument
@click.argument("output", type=values.PATH)
@click.option(
    "--to",
    type=click.Choice(["teralign", "itk", "bigstream", "rnr-exm"]),
    help="The format of OUTPUT; ANTs reads itk.  [default: by its file name's ending]",
)
@click.option(
    "--unit",
    type=click.Choice(["um", "mm"]),
    default="um",
    show_default=True,
    help="The unit of ITK's, ANTs' and elastix's coordinates.",
)
@click.option(
    "--itk-fixed", type=values.PATH, help="The fixed image that ITK, ANTs or elastix used, for its unit and axes."
)
@click.option("--itk-moving", type=values.PATH, help="Likewise the moving image.")
@options.node_options
@options.threads_option
@options.run_options
@options.side("fixed")
def convert_transform(
    transforms: tuple[Path, ...],
    output: Path,
    to: str | None,
    unit: str,
    itk_fixed: Path | None,
    itk_moving: Path | None,
    fixed: Side | None,
    grid_spacing: FloatTriple | None,
    threads: int | None,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Convert TRANSFORMS of any readable format to one OUTPUT.

    TRANSFORMS are listed outermost first: the last one acts first on a point of the fixed volume. The -t options of
    antsApplyTransforms are in the opposite order: -t out1Warp.nii.gz -t out0GenericAffine.mat.

    Readable formats, detected from the content: Teralign (.mat, .txt, .zarr); ITK, SimpleITK and ANTs (.tfm, .txt,
    .h5, .mat, fields in .nii, .nii.gz, .nrrd); elastix (TransformParameters.N.txt); bigstream (fields as arrays in N5
    or Zarr); RnR-ExM (fields in voxels, FILE.h5/pair5).

    Writable formats: Teralign's affine (.mat, .txt) or map of affines and fields (.zarr); ITK's .tfm, .h5, .nii,
    .nii.gz, .nrrd, and with --to itk also .mat and .txt; bigstream's .n5, and with --to bigstream also .zarr;
    RnR-ExM's FILE.h5/pair5, beside other pairs in the file.

    A .zarr keeps affines and fields as they are; with --fixed or --grid-spacing it is one field on those nodes.
    Beside a field that was sampled, OUTPUT.residual.json says how far it differs from TRANSFORMS between its nodes.
    """
    from teralign.tasks import convert_transform as tasks

    task = tasks.plan_convert_transform if dry_run else tasks.convert_transform
    options.print_result(
        task(
            transforms,
            output,
            to=to,
            unit=unit,
            itk_fixed=itk_fixed,
            itk_moving=itk_moving,
            fixed=fixed,
            grid_spacing=grid_spacing,
            threads=threads,
            overwrite=overwrite,
        )
    )
