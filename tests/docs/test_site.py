"""The documentation is built as a site, without a warning or another server, and its reference is complete."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from teralign.cli.main import COMMANDS, load_command
from teralign.registration.config import STEP_MODELS

ROOT = Path(__file__).parents[2]

pytest.importorskip("mkdocs", reason="the site needs the extra docs")
pytest.importorskip("material", reason="the site needs the extra docs")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built in strict mode where no server can be asked."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | nowhere)
    assert done.returncode == 0, done.stderr
    return folder


def words_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_pages_load_nothing_from_other_servers(site):
    loading = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"'> ]+)")
    found = {
        (page.relative_to(site).as_posix(), address)
        for page in site.rglob("*.html")
        for address in loading.findall(page.read_text())
    }
    assert found == set()
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", styles) == []


def test_the_front_page_shows_a_report(site):
    assert 'src="images/report.png"' in (site / "index.html").read_text()
    assert (site / "images" / "report.png").stat().st_size < 300_000


def test_each_command_and_option_is_in_the_reference(site):
    text = words_of(site / "reference" / "commands.html")
    missing = [name for name in COMMANDS if f"\n{name} " not in text]
    for name in COMMANDS:
        missing += [
            f"{name} {option}"
            for parameter in load_command(name).params
            if not getattr(parameter, "hidden", False)
            for option in parameter.opts
            if option.startswith("--") and option not in text
        ]
    assert missing == []


def test_each_parameter_of_the_pipeline_is_in_the_reference(site):
    text = words_of(site / "reference" / "pipeline.html")
    schema = json.loads((ROOT / "nextflow_schema.json").read_text())
    names = [
        name
        for group in schema["$defs"].values()
        for name, rule in group["properties"].items()
        if not rule.get("hidden")
    ]
    assert len(names) > 40
    assert [name for name in names if f"--{name}" not in text] == []


def test_each_key_of_the_configuration_is_in_the_reference(site):
    text = words_of(site / "reference" / "configuration.html")
    assert [key for model in STEP_MODELS.values() for key in model.model_fields if key not in text] == []
    assert "block_overlap" in text
    assert "smallest correlation of the surroundings of two blobs" in text


def test_python_names_are_in_the_reference(site):
    text = (site / "reference" / "python.html").read_text()
    tasks = ("global_align.global_align", "local_align.plan_local_align", "apply_transform.apply_transform")
    names = [f"teralign.tasks.{name}" for name in tasks]
    names += ["teralign.alignment.Side", "teralign.transforms.load_stack", "teralign.errors.InputError"]
    assert [name for name in names if f'id="{name}"' not in text] == []


def test_decisions_and_architecture_stand_apart_from_the_pages_for_users(site):
    page = (site / "tutorial.html").read_text()
    tabs = re.findall(r'class="md-tabs__link"[^>]*>\s*([^<]+?)\s*<', page)
    assert tabs == ["Start", "How to", "Explained", "Reference", "Troubleshooting", "Contributing"]
