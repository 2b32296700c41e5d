"""The place of a volume that is filled: a container of its own, a new image in a container, or a slot of an image.

In each case the volume is built in a workspace and appears when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, TypedDict, Unpack

from numpy.typing import DTypeLike

from teralign.addresses import as_place
from teralign.blockwise import Workspace
from teralign.errors import InputError
from teralign.files import on_file_system_of, remove
from teralign.grids import Grid
from teralign.volumes import (
    DEFAULT_CHUNKING,
    Addition,
    LayoutOptions,
    PyramidLayout,
    Slot,
    StoredFile,
    VolumeWriter,
    check_output,
    create_planned,
    is_one_file,
    locate_output,
    plan_output,
    plan_volume,
    split_uri,
    write_file,
)

_VOXELS = "voxels.zarr"  # the volume in the workspace from which an output of one file is written


class Destination(Protocol):
    """The place of a volume to make; `uri` names it as the user did."""

    @property
    def uri(self) -> str:
        """The place, as the user gave it."""
        ...

    @property
    def is_one_file(self) -> bool:
        """True if the volume becomes one file, copied from an array in the workspace."""
        ...

    def check(self) -> None:
        """Raise InputError where the volume cannot be written; writes nothing."""
        ...

    def replaces(self, uri: str) -> bool:
        """Return whether the volume at `uri` would be replaced while it is read."""
        ...

    def layout(self, *, grid: Grid, dtype: DTypeLike, **options: Unpack[LayoutOptions]) -> PyramidLayout:
        """Return the layout of the volume in this place. Raises InputError where it does not fit."""
        ...

    def workspace(self, work_dir: str | Path | None) -> Workspace:
        """Return `work_dir` as the workspace, or one beside the output.

        Raises InputError where the disk or the bucket refuses the output.
        """
        ...

    def key(self) -> dict[str, object]:
        """Return the name and the version of the output, on which its files depend besides the voxels."""
        ...

    def create(self, layout: PyramidLayout, workspace: Workspace) -> VolumeWriter:
        """Create the volume in the workspace, or continue with an existing one."""
        ...

    def publish(self, writer: VolumeWriter, stored: Iterable[StoredFile], workspace: Workspace) -> None:
        """Complete the volume from its stored files, bring it to its place, and remove the workspace."""
        ...


class DestinationOptions(TypedDict, total=False):
    """The options of a command that writes a volume, besides the output, a new container or file.

    Instead of an output `into` is an image, CONTAINER/GROUP, to add to an existing container; with `slot` (timepoint,
    channel) it is an existing image, whose slot is filled. `ome_zarr` is the version of a new .zarr, 0.5 by default;
    `overwrite` replaces what exists.
    """

    into: str | Path | None
    slot: tuple[int, int] | None
    ome_zarr: str | None
    overwrite: bool


def choose_destination(output: str | Path | None, options: DestinationOptions, *, grid: Grid) -> Destination:
    """Return the place that the output or the options name, for a volume on `grid`.

    Raises InputError for options that contradict each other or the disk.
    """
    into, slot = options.get("into"), options.get("slot")
    overwrite = options.get("overwrite", False)
    if (output is None) == (into is None):
        raise InputError("give either an output, a new container, or --into, an existing container to add to.")
    if output is not None:
        if slot is not None:
            raise InputError("--slot is a timepoint and a channel of an existing image; give --into IMAGE for it.")
        return NewVolume(str(output), overwrite)
    assert into is not None
    if slot is None:
        return AddedImage(str(into), Addition.of(into, ome_zarr=options.get("ome_zarr"), overwrite=overwrite))
    return FilledSlot(Slot.of(into, slot, grid=grid, overwrite=overwrite))


@dataclass(frozen=True)
class NewVolume:
    """A volume in a container, or a file, of its own; with `overwrite` it replaces an existing one."""

    uri: str
    overwrite: bool

    @property
    def is_one_file(self) -> bool:
        """True for TIFF and NRRD."""
        return is_one_file(locate_output(self.uri)[0])

    def check(self) -> None:
        """Raise InputError where the output exists or cannot be written."""
        plan_output(self.uri, overwrite=self.overwrite)

    def replaces(self, uri: str) -> bool:
        """Return whether the volume at `uri` lies in the same container."""
        return bool(split_uri(self.uri)[0].resolve() == split_uri(uri)[0].resolve())

    def layout(self, *, grid: Grid, dtype: DTypeLike, **options: Unpack[LayoutOptions]) -> PyramidLayout:
        """Return the layout by the ending of the name."""
        return plan_volume(self.uri, grid=grid, dtype=dtype, **options)

    def workspace(self, work_dir: str | Path | None) -> Workspace:
        """Return the workspace, OUTPUT.partial by default."""
        return Workspace.of(check_output(self.uri, overwrite=self.overwrite), work_dir)

    def key(self) -> dict[str, object]:
        """Return the name of the output."""
        container, dataset, _ = locate_output(self.uri)
        return {"output": f"{container.name}/{dataset}"}

    def create(self, layout: PyramidLayout, workspace: Workspace) -> VolumeWriter:
        """Create the container, or for one file an array to copy from."""
        container, dataset, _ = locate_output(self.uri)
        voxels = _VOXELS if self.is_one_file else f"{container.name}/{dataset}"
        return create_planned(workspace.output / voxels, layout, resume=True)

    def publish(self, writer: VolumeWriter, stored: Iterable[StoredFile], workspace: Workspace) -> None:
        """Move the container to its place, or store it in its bucket."""
        container, _, _ = locate_output(self.uri)
        built = workspace.output / container.name
        writer.finish(stored)
        if self.is_one_file:
            write_file(built, writer, writer.layout)
        else:
            writer.declare_windows()
        workspace.finish(built, container, overwrite=self.overwrite)


@dataclass(frozen=True)
class AddedImage:
    """A new image in an existing container."""

    uri: str
    addition: Addition

    is_one_file = False

    def check(self) -> None:
        """Raise InputError where the image exists or cannot be added."""
        self.addition.check()

    def replaces(self, uri: str) -> bool:
        """Return whether the volume at `uri` is the image, or lies in it."""
        place = as_place(uri)
        return isinstance(place, Path) and place.resolve().is_relative_to(self.addition.place.resolve())

    def layout(self, *, grid: Grid, dtype: DTypeLike, **options: Unpack[LayoutOptions]) -> PyramidLayout:
        """Return the layout in the version of the container; images of light are refused among labels."""
        own: LayoutOptions = {**options, "ome_zarr": self.addition.ome_zarr}
        layout = plan_volume(self.uri, grid=grid, dtype=dtype, **own)
        self.addition.check_layout(layout)
        return layout

    def workspace(self, work_dir: str | Path | None) -> Workspace:
        """Return the workspace, CONTAINER.GROUP.partial by default: images added at once have one each."""
        return _beside(self.addition.container, self.addition.group, work_dir)

    def key(self) -> dict[str, object]:
        """Return the names of the container and the group."""
        return {"into": f"{self.addition.container.name}/{self.addition.group}"}

    def create(self, layout: PyramidLayout, workspace: Workspace) -> VolumeWriter:
        """Create the image in a container of the same name."""
        return create_planned(self._built(workspace), layout, resume=True)

    def publish(self, writer: VolumeWriter, stored: Iterable[StoredFile], workspace: Workspace) -> None:
        """Rename the image into the container, and name it in the metadata."""
        writer.finish(stored)
        writer.declare_windows()
        # A copy from another file system is made here, since others wait for the container's lock.
        made = self._built(workspace)
        built = on_file_system_of(self.addition.container, made)
        try:
            self.addition.publish(
                built, lambda image, place: workspace.place(image, place, overwrite=self.addition.replaces)
            )
        finally:
            if built != made:
                remove(built)
        workspace.remove()

    def _built(self, workspace: Workspace) -> Path:
        return workspace.output / self.addition.container.name / self.addition.group


@dataclass(frozen=True)
class FilledSlot:
    """One channel at one timepoint of an existing image."""

    slot: Slot

    is_one_file = False

    @property
    def uri(self) -> str:
        """The image."""
        return self.slot.uri

    def check(self) -> None:
        """Raise InputError where the slot holds voxels."""
        self.slot.check_empty()

    def replaces(self, uri: str) -> bool:
        """Return False: files are linked when all are made."""
        return False

    def layout(self, *, grid: Grid, dtype: DTypeLike, **options: Unpack[LayoutOptions]) -> PyramidLayout:
        """Return the layout of the image, for one channel and timepoint. Raises InputError for another volume."""
        chunking, levels, version = (options.get(name) for name in ("chunking", "levels", "ome_zarr"))
        if levels is not None or version is not None or chunking not in (None, DEFAULT_CHUNKING):
            raise InputError("--slot has the chunks, scales and version of the image; leave these options out.")
        images = options.get("channels", 1) * options.get("timepoints", 1)
        return self.slot.layout(grid, dtype, images=images, label=options.get("label", False))

    def workspace(self, work_dir: str | Path | None) -> Workspace:
        """Return the workspace, CONTAINER.GROUP.tT-cC.partial by default."""
        group = self.slot.group.relative_to(self.slot.container).as_posix()
        return _beside(self.slot.container, f"{group}/t{self.slot.timepoint}-c{self.slot.channel}", work_dir)

    def key(self) -> dict[str, object]:
        """Return the names of the image and the slot."""
        group = self.slot.group.relative_to(self.slot.container.parent).as_posix()
        return {"into": group, "slot": [self.slot.timepoint, self.slot.channel]}

    def create(self, layout: PyramidLayout, workspace: Workspace) -> VolumeWriter:
        """Create arrays for the voxels of the slot."""
        return self.slot.create(workspace.output, layout)

    def publish(self, writer: VolumeWriter, stored: Iterable[StoredFile], workspace: Workspace) -> None:
        """Link the files into the image."""
        self.slot.publish(writer, stored)
        workspace.remove()


def _beside(container: Path, group: str, work_dir: str | Path | None) -> Workspace:
    """Return `work_dir`, or a folder beside a container, named after what is added to it."""
    named = ".".join((container.name, "-".join(PurePosixPath(group).parts), "partial"))
    return Workspace(work_dir or container.with_name(named))
