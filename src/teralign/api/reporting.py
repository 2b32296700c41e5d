"""Reports of registrations, as `report-alignment` makes them, shown in a notebook."""

from __future__ import annotations

import contextlib
import html
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teralign.alignment import ImageSource, Side
from teralign.api.frames import Frame
from teralign.errors import InputError
from teralign.filling import write_array
from teralign.grids import Grid
from teralign.provenance import INPUT_NAMES_VARIABLE
from teralign.tasks.report_alignment import report_alignment
from teralign.transforms import Stack, save_map
from teralign.volumes import Directions, plan_volume, with_directions
from teralign.volumes.description import Voxels

_HEIGHT = 800  # pixels of the frame in a notebook


@dataclass(frozen=True, repr=False)
class Report:
    """A report: one self-contained page of HTML, shown by a notebook, and its content as JSON."""

    html: str
    json: str

    def save(self, folder: str | Path) -> Path:
        """Write index.html and report.json into a folder, and return the path of the page."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        (place / "report.json").write_text(self.json, encoding="utf-8")
        page = place / "index.html"
        page.write_text(self.html, encoding="utf-8")
        return page

    def __repr__(self) -> str:
        return f"Report({json.loads(self.json)['verdict']}; {len(self.html) / 1e6:.1f} MB of HTML)"

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own, so that its styles stay inside."""
        page = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" width="100%" height="{_HEIGHT}" style="border:0"></iframe>'


def report_of(
    transform: Stack, frames: tuple[Frame, Frame], sources: tuple[ImageSource, ImageSource] | None
) -> Report:
    """Return the report of a map; InputError where the voxels of an image are not known any more."""
    with tempfile.TemporaryDirectory(prefix="teralign-") as name, _named(Path(name)):
        folder = Path(name)
        sides = [_side(place, frames, sources, folder) for place in (0, 1)]
        path = folder / "transform.zarr"
        save_map(path, transform.simplified())
        done = report_alignment(sides[0], sides[1], transforms=[path], output=folder / "report", name="registration")
        return Report(done.report.read_text(encoding="utf-8"), done.json.read_text(encoding="utf-8"))


def _side(
    place: int, frames: tuple[Frame, Frame], sources: tuple[ImageSource, ImageSource] | None, folder: Path
) -> Side:
    """Return an image as a volume on disk: its own, or one that is written into `folder`."""
    side, role = frames[place].side, ("fixed", "moving")[place]
    if side is not None:
        return side
    if sources is None:
        raise InputError(
            f"the voxels of the {role} image are not known to a registration that was loaded; align again, or give "
            f"load({role}=) the URI of its volume."
        )
    source = sources[place]
    voxels = source.volume.read(channel=source.channel, timepoint=source.timepoint)
    uri = _written(folder / f"{role}.zarr", source.grid, voxels, source.volume.directions)
    if source.mask is None:
        return Side(uri)
    counts = source.mask.read(source.mask.grid.region).astype(np.uint8)
    return Side(uri, mask=_written(folder / f"{role}_mask.zarr", source.mask.grid, counts, source.volume.directions))


def _written(path: Path, grid: Grid, voxels: Voxels, directions: Directions) -> str:
    """Write an array (z, y, x) as a volume, and return its URI."""
    layout = with_directions(plan_volume(path, grid=grid, dtype=voxels.dtype), str(path), directions)
    write_array(str(path), layout, voxels)
    return str(path)


@contextlib.contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Name the files of a temporary folder "in memory" in records."""
    from teralign.cluster.settings import environment

    with environment({INPUT_NAMES_VARIABLE: json.dumps({str(folder): "in memory"})}):
        yield
