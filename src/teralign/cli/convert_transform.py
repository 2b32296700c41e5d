"""`convert-transform`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from teralign.cli import options


@click.command()
@options.transforms_argument
@click.argument("output", type=options.PATH)
@click.option(
    "--to",
    type=click.Choice(["teralign", "itk", "bigstream"]),
    help="Whose format OUTPUT has; ANTs reads itk.  [default: by its ending]",
)
@click.option(
    "--unit",
    type=click.Choice(["um", "mm"]),
    default="um",
    show_default=True,
    help="The unit of ITK's, ANTs' and elastix's coordinates.",
)
@click.option("--itk-fixed", type=options.PATH, help="The fixed image as they saw it, for its unit and turned axes.")
@click.option("--itk-moving", type=options.PATH, help="Likewise the moving image.")
@options.node_options
@options.threads_option
@options.dry_run_option
@options.overwrite_option
@options.verbose_option
def convert_transform(transforms: tuple[Path, ...], output: Path, **arguments: Any) -> None:  # noqa: ANN401 - passed on by name
    """Write TRANSFORMS, anybody's and outermost first, as one OUTPUT.

    Read are, told apart by what they hold: ours (.mat, .txt, .zarr); those of ITK, SimpleITK and ANTs (.tfm, .txt,
    .h5, .mat, fields in .nii, .nii.gz, .nrrd); TransformParameters.N.txt of elastix; fields of bigstream (arrays in
    N5 or Zarr). Written are an affine (.mat, .txt) or a field (.zarr) of ours; .tfm, .h5, .nii, .nii.gz, .nrrd, and
    with --to itk .mat and .txt, of ITK; .n5, and with --to bigstream .zarr, of bigstream.

    Beside a field, OUTPUT.residual.json tells how far it is from TRANSFORMS between its nodes.
    """
    from teralign.tasks.convert_transform import convert_transform as task

    options.print_result(task(transforms, output, **arguments))
