"""What the files of the pipeline say of each other is true: parameters, samplesheets, profiles, tests of nf-test."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from teralign.pipeline.samplesheet import COLUMNS, read_samplesheet

ROOT = Path(__file__).parents[2]
SCHEMA: dict[str, Any] = json.loads((ROOT / "nextflow_schema.json").read_text())
RULES: dict[str, dict[str, Any]] = {
    name: rule for group in SCHEMA["$defs"].values() for name, rule in group["properties"].items()
}
SHEET: dict[str, Any] = json.loads((ROOT / "assets" / "schema_input.json").read_text())["items"]
NF_TESTS = sorted((ROOT / "tests" / "nextflow").rglob("*.nf.test"))
EXPRESSION = re.compile(r"[?$(]")  # a default that is computed


def params_block(path: Path) -> dict[str, str]:
    """The parameters that a configuration sets, with their values as they stand there."""
    block = re.search(r"^params \{\n(.*?)^\}", path.read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    return dict(re.findall(r"^ {4}(\w+) += (.+)$", block[1], re.MULTILINE))


CONFIGURED = params_block(ROOT / "nextflow.config")


def test_each_parameter_has_a_default_in_the_configuration_and_a_rule():
    assert set(CONFIGURED) == set(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_default_is_the_same_in_both(name):
    value, rule = CONFIGURED[name], RULES[name]
    if not EXPRESSION.search(value):
        written = {"null": None, "true": True, "false": False}.get(value, value.strip("'"))
        default = rule.get("default")
        assert (written or None) == (default or None) or str(written) == str(default)
    elif "?:" in value:
        assert value.endswith(f"?: {rule['default']}")


@pytest.mark.parametrize("name", sorted(RULES))
def test_each_parameter_is_described_in_sentences(name):
    rule = RULES[name]
    assert {"type", "description"} <= rule.keys()
    text = rule["description"].split("  [default")[0]
    assert text[0].isupper()
    assert text.endswith(".")
    if "default" in rule and "enum" in rule:
        assert rule["default"] in rule["enum"]


def test_aliases_name_parameters():
    assert {rule["alias_of"] for rule in RULES.values() if "alias_of" in rule} <= RULES.keys()


def test_the_help_shows_every_parameter_with_its_default():
    text = subprocess.run([ROOT / "bin" / "pipeline-help"], capture_output=True, text=True, check=True).stdout
    for name, rule in RULES.items():
        shown = not (rule.get("deprecated") or rule.get("hidden"))
        assert (f"  --{name} " in text) == shown
    assert re.search(r"--def_scale [^-]*\[default: s2, or auto if a volume has no s2\]", " ".join(text.split()))


def test_the_samplesheet_has_one_set_of_columns():
    assert RULES["input"]["schema"] == "assets/schema_input.json"
    assert tuple(SHEET["properties"]) == COLUMNS
    for column in COLUMNS:
        assert column in RULES["input"]["description"]


def test_profiles_in_the_help_exist():
    text = (ROOT / "bin" / "pipeline-help").read_text()
    named = set(re.findall(r"\w+", re.search(r"Profiles: ([^.]+)\.", text)[1]))
    profiles = dict(
        re.findall(r"^    (\w+) +\{ includeConfig '(.+)' \}", (ROOT / "nextflow.config").read_text(), re.M)
    )
    assert named == profiles.keys() - {"demo"}
    assert all((ROOT / path).exists() for path in profiles.values())


def test_the_test_profile_is_tiny_and_complete():
    values = params_block(ROOT / "configs" / "test.config")
    assert values.keys() <= RULES.keys()
    folder = ROOT / "assets" / "test"
    (row,) = read_samplesheet(folder / "samplesheet.csv")
    for column in ("fixed", "moving", "apply_to"):
        assert (folder / row.cells[column]).exists()
    for name in ("aff_scale", "def_scale"):
        assert (folder / row.cells["fixed"] / values[name].strip("'")).exists()
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_000_000


@pytest.mark.parametrize("path", NF_TESTS, ids=lambda path: path.name)
def test_the_tests_of_nf_test_name_files_and_parameters_that_exist(path):
    """They cannot be run everywhere: nf-test is no package of Python or Maven."""
    text = path.read_text()
    script = re.search(r'script "(.+)"', text)[1]
    assert (ROOT / script).exists()
    process = re.search(r'process "(.+)"', text)
    if process:
        assert f"process {process[1]} {{" in (ROOT / script).read_text()
        for output in re.findall(r"process\.out\.(\w+)", text):
            assert f"emit: {output}\n" in (ROOT / script).read_text()
    for block in re.findall(r"params \{\n(.*?)\}", text, re.DOTALL):
        assert set(re.findall(r"^\s+(\w+) =", block, re.MULTILINE)) <= RULES.keys()
    for profile in re.findall(r'profile "(\w+)"', text):
        assert f"    {profile} " in (ROOT / "nextflow.config").read_text()
    for named in re.findall(r"\$projectDir/([\w./-]+)", text):
        assert (ROOT / named).exists()
    assert text.count("{") == text.count("}")
    assert text.count("(") == text.count(")")


def test_there_are_tests_for_nf_test():
    assert NF_TESTS
    assert 'testsDir "tests/nextflow"' in (ROOT / "nf-test.config").read_text()


def test_the_conda_environment_installs_what_make_env_does():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    installed = re.search(r"--editable '(\.\[.+\])'\n\t@touch \$@\n", (ROOT / "Makefile").read_text())[1]
    assert pip == ["--constraint constraints.txt", installed]
    assert f"'{installed}'" in (ROOT / "Dockerfile").read_text()
