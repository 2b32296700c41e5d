"""`evaluate-alignment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from teralign.cli import options, values
from teralign.errors import InputError
from teralign.grids import FloatTriple, Triple

if TYPE_CHECKING:
    from teralign.cluster import Compute

T = TypeVar("T")


@click.command(
    epilog=options.example(
        "evaluate-alignment --fixed-labels cells1.zarr --moving-labels cells2.zarr",
        "--transform transform.zarr --label-table cells.csv",
    )
)
@click.option("--fixed", metavar="URI", help="The fixed image, to measure the similarity of the images.")
@click.option("--moving", metavar="URI", help="The moving image; without --transform it must have the fixed grid.")
@click.option("--fixed-labels", metavar="URI", help="Labels in the fixed volume, for Dice and HD95; 0 is no label.")
@click.option("--moving-labels", metavar="URI", help="Labels in the moving volume: an object has one number in both.")
@click.option("--labels-before", metavar="URI", help="Without --transform: the labels before alignment, for Dice30.")
@click.option("--fixed-points", type=values.PATH, help="Table of landmarks in the fixed volume, in µm.")
@click.option("--moving-points", type=values.PATH, help="Table of the same landmarks in the moving volume.")
@click.option(
    "--transform",
    "transforms",
    multiple=True,
    type=values.PATH,
    help="A transform file; repeat for several, outermost (applied last) first.  [default: aligned already]",
)
@options.spacing_options
@options.expansion_options
@options.channel_options
@options.timepoint_options
@click.option("--output", type=values.PATH, help="Write the scores to this JSON file too.")
@click.option("--label-table", type=values.PATH, help="Write the scores of each label to this CSV file.")
@click.option("--point-table", type=values.PATH, help="Write the error at each landmark to this CSV file.")
@click.option("--no-hd95", is_flag=True, help="Leave out the distances of surfaces.")
@click.option(
    "--field-spacing", type=values.MICROMETRES, help="Distance in µm at which SDlogJ is measured.  [default: 1 voxel]"
)
@click.option(
    "--block-size",
    type=values.VOXELS,
    help="Voxels of the blocks in memory, multiples of 16.  [default: 128,128,128]",
)
@click.option(
    "--work-dir",
    type=values.PATH,
    help="Folder of temporary files; with workers, of unfinished work, which a rerun continues.  "
    "[default: the system's; OUTPUT.partial]",
)
@options.cluster_options
@options.threads_option
@options.overwrite_option
@options.json_option
@options.verbose_option
@options.compute
def evaluate_alignment(
    fixed: str | None,
    moving: str | None,
    fixed_labels: str | None,
    moving_labels: str | None,
    labels_before: str | None,
    fixed_points: Path | None,
    moving_points: Path | None,
    transforms: tuple[Path, ...],
    fixed_spacing: FloatTriple | None,
    moving_spacing: FloatTriple | None,
    fixed_expansion: float,
    moving_expansion: float,
    fixed_channel: int,
    moving_channel: int,
    fixed_timepoint: int,
    moving_timepoint: int,
    output: Path | None,
    label_table: Path | None,
    point_table: Path | None,
    no_hd95: bool,
    field_spacing: FloatTriple | None,
    block_size: Triple | None,
    compute: Compute,
    overwrite: bool,
) -> None:
    """Score an alignment: by labels, by images, by landmarks, and by the smoothness of the map.

    Labels give Dice, HD95 (µm) and Dice30; images give NCC, LNCC and mutual information; landmarks give the target
    registration error (µm); transforms give SDlogJ and folds. Nothing is written but what you ask for: with
    --transform the moving volumes are warped while they are read, block by block. Spacings, channels and timepoints
    are those of the images; of labels, channels and timepoints are the first. With --scheduler or --workers the
    blocks are computed by Dask workers, else by threads of this process, with the same figures.
    """
    from teralign.alignment import Side
    from teralign.cli.tables import show_scores
    from teralign.evaluation import BLOCK
    from teralign.tasks.evaluate_alignment import Compared, Measuring, Outputs
    from teralign.tasks.evaluate_alignment import evaluate_alignment as task

    def sides(names: tuple[str, str] | None, *, images: bool) -> tuple[Side, Side] | None:
        if names is None:
            return None
        channels = (fixed_channel, moving_channel) if images else (0, 0)
        times = (fixed_timepoint, moving_timepoint) if images else (0, 0)
        lengths = zip((fixed_spacing, moving_spacing), (fixed_expansion, moving_expansion), strict=True)
        own = [
            Side(name, spacing, channel, time, expansion=expansion)
            for name, (spacing, expansion), channel, time in zip(names, lengths, channels, times, strict=True)
        ]
        return own[0], own[1]

    result = task(
        Compared(
            images=sides(_pair("--fixed", fixed, "--moving", moving), images=True),
            labels=sides(_pair("--fixed-labels", fixed_labels, "--moving-labels", moving_labels), images=False),
            labels_before=None
            if labels_before is None
            else Side(labels_before, fixed_spacing, expansion=fixed_expansion),
            points=_pair("--fixed-points", fixed_points, "--moving-points", moving_points),
        ),
        transforms=transforms,
        outputs=Outputs(output, label_table, point_table, overwrite),
        measuring=Measuring(not no_hd95, block_size or BLOCK, field_spacing),
        compute=compute,
    )
    show_scores(result, err=options.wants_json())
    if options.wants_json():
        options.print_result(result)


def _pair(name: str, one: T | None, other_name: str, other: T | None) -> tuple[T, T] | None:
    """Return both values of a pair, or None for neither. Raises InputError for one alone."""
    if one is None and other is None:
        return None
    if one is None or other is None:
        given, missing = (name, other_name) if other is None else (other_name, name)
        raise InputError(f"{given} needs {missing} to be compared with.")
    return one, other
