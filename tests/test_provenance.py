"""Results name their inputs as the user does."""

from __future__ import annotations

import json
import sys

import pytest

from teralign.provenance import INPUT_NAMES_VARIABLE, Run, config_content, own_name


@pytest.fixture
def names(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def give(**found: str) -> None:
        monkeypatch.setenv(INPUT_NAMES_VARIABLE, json.dumps(found))

    return give


def test_without_names_a_path_is_itself(monkeypatch):
    monkeypatch.delenv(INPUT_NAMES_VARIABLE, raising=False)
    assert own_name("fixed/a.n5/s1") == "fixed/a.n5/s1"
    assert own_name("auto") == "auto"


def test_a_folder_stands_for_all_in_it_and_the_longest_counts(names, tmp_path):
    names(**{"fixed": "/data", "fixed/a.n5": "s3://bucket/round1.n5/", "a.mat": "/out/a.mat"})
    assert own_name("fixed/b.n5/s1") == "/data/b.n5/s1"
    assert own_name("fixed/a.n5/s1") == "s3://bucket/round1.n5/s1"
    assert own_name(tmp_path / "fixed" / "a.n5") == "s3://bucket/round1.n5/"
    assert own_name(tmp_path / "a.mat") == "/out/a.mat"
    assert own_name("fixed2/a.n5") == "fixed2/a.n5"


def test_an_address_is_named_only_as_a_whole(names):
    names(**{"s3://b/a": "/data/a"})
    assert own_name("s3://b/a") == "/data/a"
    assert own_name("s3://b/a/s1") == "s3://b/a/s1"


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}'])
def test_names_that_cannot_be_read_change_nothing(monkeypatch, caplog, text):
    monkeypatch.setenv(INPUT_NAMES_VARIABLE, text)
    assert own_name("a") == "a"
    assert "recorded as given" in caplog.text


def test_a_run_says_how_it_was_called(tmp_path):
    (tmp_path / "c.yml").write_text("deform: {}\n")
    run = Run({"fixed": "a"}, {"seed": 0}, config_content(tmp_path / "c.yml"))
    assert run.command == tuple(sys.argv)
    assert run.config == "deform: {}\n"
    assert {"teralign", "python", "numpy"} <= set(run.versions)
    assert config_content(None) is None
    assert config_content({"deform": {}}) == {"deform": {}}
