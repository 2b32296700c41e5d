"""The names of options and inputs in messages, where users know them by other names.

A pipeline calls commands with options whose values come from its own parameters. It lists both names in the
environment variable `TERALIGN_OPTION_NAMES`: `--moving-spacing=--moving_spacing --workers=--bigstream_workers`. Names
of inputs are those of `teralign.provenance`.
"""

from __future__ import annotations

import os
import re

from teralign.provenance import in_own_names

OPTION_NAMES_VARIABLE = "TERALIGN_OPTION_NAMES"


def in_users_names(message: str) -> str:
    """Return a message with each option and each input by the name that users know it by."""
    names = dict(entry.split("=", 1) for entry in os.environ.get(OPTION_NAMES_VARIABLE, "").split() if "=" in entry)
    named = re.sub(r"(?<![\w-])--[a-z][a-z-]*[a-z]", lambda found: names.get(found[0], found[0]), message)
    return in_own_names(named)
