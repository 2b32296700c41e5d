"""The Dockerfile, which the tests build, and what repeats its steps for those who have no Docker."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

COMMANDS = ("python -c", "make-demo-data", "global-align", "local-align", "apply-transform", "find .")


def steps(path: Path) -> list[str]:
    """The commands that make the environment smaller and compile its kernels, in their order."""
    text = re.sub(r"\\\n", " ", (ROOT / path).read_text())
    parts = [" ".join(part.split()) for part in re.split(r"&&|\n", text)]
    return [part for part in (part.removeprefix("RUN ") for part in parts) if part.startswith(COMMANDS)]


def test_the_definition_of_apptainer_has_the_steps_of_the_dockerfile():
    assert len(steps("Dockerfile")) == 7
    assert steps("containers/teralign.def") == steps("Dockerfile")


def test_both_begin_with_the_same_image():
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert f"\nFrom: {base}\n" in (ROOT / "containers" / "teralign.def").read_text()
