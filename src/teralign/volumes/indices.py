"""Checks of the channel and the timepoint that a command was given."""

from __future__ import annotations

from teralign.errors import InputError
from teralign.volumes.volume import Volume


def check_channel(role: str, volume: Volume, channel: int) -> None:
    """Raise InputError unless `volume` has this channel.

    `role` is how the command's options begin ("fixed", "moving"), "" for `--channel`.
    """
    _check_index(role, volume, "channel", channel, volume.channels)


def check_timepoint(role: str, volume: Volume, timepoint: int) -> None:
    """Raise InputError unless `volume` has this timepoint; `role` is as for `check_channel`."""
    _check_index(role, volume, "timepoint", timepoint, volume.timepoints)


def _check_index(role: str, volume: Volume, what: str, index: int, count: int) -> None:
    if not 0 <= index < count:
        option = f"--{role}-{what}" if role else f"--{what}"
        raise InputError(f"there is no {what} {index} in {volume.uri}, which has {count}; give {option} from 0.")
