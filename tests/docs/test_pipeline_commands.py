"""The commands of the workflow that pages show have parameters, profiles and processes that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "how-to").glob("*.md"))]
SCHEMA = json.loads((ROOT / "nextflow_schema.json").read_text())
PARAMETERS = {name for group in SCHEMA["$defs"].values() for name in group["properties"]}
PROFILES = set(re.findall(r"^    (\w+)\s*\{", (ROOT / "nextflow.config").read_text(), re.MULTILINE))


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def runs(page: Path) -> Iterator[str]:
    """Yield each command of the workflow in the code of `page`, its lines joined."""
    joined = re.sub(r"\\\n\s+", " ", page.read_text(encoding="utf-8"))
    for line in joined.splitlines():
        yield from re.findall(r"nextflow run \. [^`]*|(?:sbatch|bsub <|qsub|sh) configs/\S+ [^`]*", line)


@pytest.mark.parametrize("page", [page for page in PAGES if list(runs(page))], ids=page_id)
def test_parameters_and_profiles_of_shown_commands_exist(page):
    for command in runs(page):
        words = re.findall(r"(?<=\s)--([A-Za-z][\w-]*)", re.sub(r"'[^']*'|=\S+", "", command))
        assert [word for word in words if word not in PARAMETERS] == [], command
        profiles = re.findall(r"(?<=\s)-profile (\S+)", command)
        assert [name for given in profiles for name in given.split(",") if name not in PROFILES] == []


def test_labels_and_processes_of_shown_configurations_exist():
    code = "".join(path.read_text() for path in [*ROOT.glob("modules/*.nf"), *ROOT.glob("configs/*.config")])
    for page in PAGES:
        for kind, name in re.findall(r"with(Label|Name): '?(\w+)", page.read_text(encoding="utf-8")):
            assert re.search(rf"(?:process|label|withLabel:?) '?{name}\b", code), (page_id(page), kind, name)


def test_clusters_has_a_part_for_each_profile_of_a_scheduler_or_engine():
    text = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    assert PROFILES - {"standard", "demo"} - set(re.findall(r"\w+", text)) == set()
