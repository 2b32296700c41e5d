"""What the outside sees of the project agrees with itself: version, metadata, dependencies, workflows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from teralign import __version__

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
PINS = {name.lower().replace("_", "-"): version for name, version in CONSTRAINTS.items()}


def requirements(*, validators: bool = False) -> list[Requirement]:
    """The dependencies and those of the extras; without `validators`, which `make dev` does not install."""
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + [
        line for name, lines in extras.items() if validators or name != "validators" for line in lines
    ]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != "teralign"]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_each_dependency_is_pinned_to_a_version_that_it_allows(requirement):
    assert Version(PINS[requirement.name.lower()]) in requirement.specifier


@pytest.mark.parametrize("requirement", requirements(validators=True), ids=str)
def test_each_dependency_has_a_floor(requirement):
    assert [bound.operator for bound in requirement.specifier] == [">="] or requirement.name.startswith("types-")


def test_the_version_stands_in_the_package_and_nextflow_agrees():
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    config = (ROOT / "nextflow.config").read_text()
    assert re.search(r"^ +version += '(.+)'$", config, re.MULTILINE)[1] == __version__
    assert f"= 'teralign:{__version__}'\n" in config


def test_the_package_is_typed():
    assert (ROOT / "src" / "teralign" / "py.typed").exists()


def test_workflows_call_targets_that_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = set()
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            assert job["timeout-minutes"] > 0
            called |= {name for step in job["steps"] for name in re.findall(r"make (\w+)", step.get("run", ""))}
    assert called
    assert called <= targets


def test_the_tested_pythons_are_those_that_the_package_names():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    named = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", text)]
    assert workflow["jobs"]["fast"]["strategy"]["matrix"]["python"] == named


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name
)
def test_issue_forms_can_be_read(path):
    form = yaml.safe_load(path.read_text())
    if path.name != "config.yml":
        assert {"name", "description", "body"} <= form.keys()
        assert all(entry["type"] == "textarea" and entry["attributes"]["label"] for entry in form["body"])


def test_the_citation_names_the_project_and_invents_nothing():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert not {"doi", "url", "repository-code", "identifiers"} & citation.keys()


def test_the_changelog_has_a_place_for_what_comes():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert __version__ in headings


def test_files_that_the_contributing_guide_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (ROOT / target).exists(), target
