"""`view-alignment`: an alignment in Neuroglancer or napari, the moving volume warped where it is looked at."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from teralign.addresses import absolute_uri
from teralign.alignment import Side
from teralign.cluster import worker_threads
from teralign.errors import InputError
from teralign.tasks.inputs import check_new_file
from teralign.transforms import Stack, WarpedVolume, load_stack, read_point_table
from teralign.viewing import FieldMagnitude, Layer, LayeredView, LayerKind, Points, ScaledVolume, StoredPyramid
from teralign.viewing.bricks import in_bricks
from teralign.viewing.layers import shown_window
from teralign.viewing.scene_container import write_scene_container
from teralign.volumes import Volume, check_channel, check_timepoint, open_volume

log = logging.getLogger(__name__)

FIXED_COLOUR, ALIGNED_COLOUR, MOVING_COLOUR = "FF00FF", "00FF00", "00FFFF"
FIXED_POINTS, ALIGNED_POINTS = "FFFF00", "00FFFF"
_LARGE = 512**3


@dataclass(frozen=True)
class SeenBeside:
    """The further layers beside the two volumes: URIs of label volumes and of the error, and tables of points.

    `labels` and `points` lie in the space of the fixed volume; `moving_labels` and `moving_points` lie in that of the
    moving one, are warped and mapped back. `error` is by default the volume NAME.error.zarr beside the last transform
    NAME.zarr, if it is there.
    """

    labels: Sequence[str] = ()
    moving_labels: Sequence[str] = ()
    points: Sequence[str | Path] = ()
    moving_points: Sequence[str | Path] = ()
    error: str | None = None


def open_view(
    fixed: str | Path | Side,
    moving: str | Path | Side,
    *,
    transforms: Sequence[str | Path],
    interpolation: str = "linear",
    channels: tuple[Sequence[int] | None, Sequence[int] | None] = (None, None),
    beside: SeenBeside = SeenBeside(),
) -> LayeredView:
    """Return the layers of an alignment, without reading more than coarse scales.

    Layers are the fixed volume, the moving volume aligned to it, the moving volume as it is, the lengths of the
    fields' displacements, the estimated error, labels and points. `channels` of fixed and of moving are those shown;
    by default all, of which the channel of the `Side` is visible at first.

    Raises InputError for bad input.
    """
    sides = Side.of(fixed), Side.of(moving)
    volumes = in_bricks(sides[0].open("fixed")), in_bricks(sides[1].open("moving"))
    stack = load_stack(transforms)
    for role, volume, side in zip(("fixed", "moving"), volumes, sides, strict=True):
        check_channel(role, volume, side.channel)
        check_timepoint(role, volume, side.timepoint)
    warped = WarpedVolume.between(*volumes, stack, interpolation=interpolation)
    reference = list(_channels("fixed", volumes[0], sides[0], channels[0], FIXED_COLOUR))
    source = list(_channels("moving", volumes[1], sides[1], channels[1], MOVING_COLOUR))
    layers = [
        *reference,
        *_aligned(warped, volumes[0], source),
        *(replace(layer, visible=False) for layer in source),
        *_lengths(warped, volumes[0], transforms, beside.error),
        *_labels(volumes[0], sides, stack, beside),
    ]
    points = [
        *(_fixed_points(Path(path), sides[0]) for path in beside.points),
        *(_moving_points(Path(path), sides[1], stack) for path in beside.moving_points),
    ]
    return LayeredView(volumes[0].grid, volumes[0].direction, layers, points)


def _channels(role: str, volume: Volume, side: Side, channels: Sequence[int] | None, colour: str) -> Iterator[Layer]:
    """Yield a layer for each channel of a stored volume; that of the side is visible."""
    pyramid = StoredPyramid(volume)
    if volume.grid.region.size > _LARGE and len(pyramid.grids) == 1:
        log.info("%s has one scale only; build-pyramid adds coarser ones, which are quicker to look at", volume.uri)
    for channel in _shown_channels(role, volume, side, channels):
        display = volume.display[channel]
        yield Layer(
            _named(role, volume, channel),
            pyramid,
            channel=channel,
            timepoint=side.timepoint,
            colour=colour,
            window=shown_window(pyramid, channel=channel, timepoint=side.timepoint, display=display),
            visible=channel == side.channel,
            direction=volume.direction,
        )


def _aligned(warped: WarpedVolume, fixed: Volume, moving: Sequence[Layer]) -> Iterator[Layer]:
    """Yield the aligned volume in the channels and with the windows of the moving one."""
    for layer in moving:
        name = layer.name.replace("moving", "aligned", 1)
        yield replace(layer, name=name, pyramid=warped, colour=ALIGNED_COLOUR, direction=fixed.direction)


def _shown_channels(role: str, volume: Volume, side: Side, channels: Sequence[int] | None) -> Sequence[int]:
    """Return the channels to show, that of the side first. Raises InputError for one that does not exist."""
    chosen = range(volume.channels) if channels is None else channels
    check_channel(role, volume, max(chosen))
    return sorted(chosen, key=lambda channel: (channel != side.channel, channel))


def _named(role: str, volume: Volume, channel: int) -> str:
    """Return the name of a layer: that of its volume, and of several channels their names too."""
    return role if volume.channels == 1 else f"{role} {volume.channel_names[channel]}"


def _lengths(
    warped: WarpedVolume, fixed: Volume, transforms: Sequence[str | Path], error: str | None
) -> Iterator[Layer]:
    """Yield the lengths of displacements, if there are fields, and the estimated error, if it is known."""
    transform = warped.levels[0].transform
    if transform.affine is None:
        lengths = FieldMagnitude(transform, fixed.grid)
        window = (0.0, shown_window(lengths)[1])
        yield Layer(
            "displacement (µm)", lengths, LayerKind.LENGTHS, window=window, visible=False, direction=fixed.direction
        )
    found = error or _error_beside(transforms)
    if found is not None:
        volume = open_volume(absolute_uri(found), option="--spacing")
        yield _of_lengths("error (µm)", StoredPyramid(volume), fixed)


def _of_lengths(name: str, pyramid: ScaledVolume, fixed: Volume) -> Layer:
    """Return a layer of lengths in µm over the fixed volume, hidden at first."""
    window = (0.0, shown_window(pyramid)[1])
    return Layer(name, pyramid, LayerKind.LENGTHS, window=window, visible=False, direction=fixed.direction)


def _error_beside(transforms: Sequence[str | Path]) -> str | None:
    """Return the error volume that local-align writes beside a map, of the last map that has one."""
    beside = [Path(path).with_suffix(".error.zarr") for path in transforms]
    return next((str(path) for path in reversed(beside) if path.is_dir()), None)


def _labels(fixed: Volume, sides: tuple[Side, Side], stack: Stack, beside: SeenBeside) -> Iterator[Layer]:
    """Yield the label volumes: those of the fixed space as they are, those of the moving space warped."""
    for uri in beside.labels:
        volume = in_bricks(open_volume(absolute_uri(uri), expansion=sides[0].expansion))
        yield Layer(_last_part(uri), StoredPyramid(volume), LayerKind.LABELS, direction=volume.direction)
    for uri in beside.moving_labels:
        volume = in_bricks(open_volume(absolute_uri(uri), expansion=sides[1].expansion))
        warped = WarpedVolume.between(fixed, volume, stack, interpolation="nearest")
        yield Layer(f"{_last_part(uri)} (aligned)", warped, LayerKind.LABELS, direction=fixed.direction)


def _last_part(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]


def _fixed_points(path: Path, side: Side) -> Points:
    """Return the points of a table of the fixed space. Raises InputError for one that is of the moving space."""
    table = read_point_table(path)
    if table.space == "moving":
        raise InputError(f"the points {path} are of the moving volume by their column space; use --moving-points.")
    return Points(path.stem, table.points / side.expansion, FIXED_POINTS)


def _moving_points(path: Path, side: Side, stack: Stack) -> Points:
    """Return the points of a table of the moving space, mapped to the fixed one.

    Points without an inverse are left out, and counted in the log. Raises InputError for a table of the fixed space.
    """
    table = read_point_table(path)
    if table.space == "fixed":
        raise InputError(f"the points {path} are of the fixed volume by their column space; use --points.")
    mapped, found = stack.inverse_map_points(table.points / side.expansion, threads=worker_threads())
    if not found.all():
        log.warning("%d of %d points of %s have no inverse; they are not shown", (~found).sum(), len(found), path)
    return Points(f"{path.stem} (aligned)", mapped[found], ALIGNED_POINTS)


@dataclass(frozen=True)
class ExportedScene:
    """The folder that was written, and the images in it."""

    output: str
    images: Sequence[str]


def export_scene(
    fixed: str | Path | Side,
    moving: str | Path | Side,
    *,
    transforms: Sequence[str | Path],
    output: str | Path,
    interpolation: str = "linear",
    overwrite: bool = False,
) -> ExportedScene:
    """Write both images, the aligned one and the map as one scene of OME-Zarr 0.6, which viewers open as a whole.

    The channel and timepoint of each `Side` are copied, at the scales that their volumes have: give coarse ones to
    keep it small. Commands take the folder as a transform, which gives the same points. Raises InputError for bad
    input, and when `output` exists and `overwrite` is off.
    """
    check_new_file(Path(output), overwrite=overwrite)
    sides = Side.of(fixed), Side.of(moving)
    channels = [sides[0].channel], [sides[1].channel]
    view = open_view(*sides, transforms=transforms, interpolation=interpolation, channels=channels)
    named = {layer.name.partition(" ")[0]: layer for layer in view.layers}
    images = {name: named[name] for name in ("fixed", "moving", "aligned")}
    size = sum(math.prod(grid.shape) for layer in images.values() for grid in layer.pyramid.grids)
    log.info("Copying %d million voxels to %s", size // 10**6, output)
    write_scene_container(Path(output), images, load_stack(transforms), overwrite=overwrite)
    return ExportedScene(str(output), list(images))


@dataclass(frozen=True)
class Viewed:
    """The link to an alignment in a browser, and its layers in their order."""

    link: str
    layers: Sequence[str]


@contextlib.contextmanager
def serve_view(view: LayeredView, *, port: int = 0, viewer: str | None = None) -> Iterator[Viewed]:
    """Serve a view to Neuroglancer on this machine within the context, on any free port by default.

    `viewer` is the address of another Neuroglancer than the installed one. Raises InputError when the port is taken,
    or no Neuroglancer is there.
    """
    from teralign.viewing.server import ViewServer

    with ViewServer(view, port=port, threads=worker_threads(), viewer=viewer) as server:
        yield Viewed(server.link, [*(layer.name for layer in view.layers), *(points.name for points in view.points)])


def show_in_napari(view: LayeredView) -> None:
    """Show a view in napari, until its window is closed. Raises InputError when napari is not installed."""
    from teralign.viewing.napari_layers import open_napari

    open_napari(view)


def stay(viewed: Viewed, *, browser: bool) -> None:
    """Open the link in a browser if wanted, and return when the user presses Ctrl-C or the process is told to end."""
    opened = browser and webbrowser.open(viewed.link)
    log.info("%s; press Ctrl-C to end", "Opened in the browser" if opened else f"Open {viewed.link}")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
