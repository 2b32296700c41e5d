import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from browser import opened
from teralign.errors import DataError, InputError
from teralign.report.workflow_run import read_workflow
from teralign.tasks.index_reports import RunInputs, index_reports

COMMAND = "nextflow run . --fixed 'a b.n5' --id '<!-- end of run --><b>'"


@pytest.fixture(scope="module")
def results(reported, tmp_path_factory) -> Path:
    """A folder of results with a good, a bad and an unknown pair, made of one report."""
    folder = tmp_path_factory.mktemp("run") / "results"
    source = reported.folder / "results" / "pair" / "report"
    for name, verdict, error in (("a", "good", 0.5), ("b <i>", "bad", 21.0), ("pair", "unknown", None)):
        shutil.copytree(source, folder / name / "report")
        content = json.loads((source / "report.json").read_text())
        estimate = None if error is None else {"median": error, "p95": 2 * error, "factor": 1.5, "floor": 0.1}
        content |= {"name": name, "verdict": verdict, "error_um": estimate}
        (folder / name / "report" / "report.json").write_text(json.dumps(content))
    workflow = folder / "workflow.json"
    workflow.write_text(json.dumps({"command": COMMAND, "parameters": {"fixed": "a b.n5", "seed": 0}}))
    inputs = RunInputs(reported.folder / "trace.txt", workflow, ["lost"])
    index_reports(folder, inputs=inputs, complete=True)
    return folder


def test_a_report_gets_the_tasks_that_ended_after_it_and_the_command_of_the_run(browser, results):
    content = json.loads((results / "pair" / "report" / "report.json").read_text())
    assert content["workflow"] == {"command": COMMAND, "parameters": {"fixed": "a b.n5", "seed": 0}}
    assert {task["pair"] for task in content["tasks"]} == {"pair"} and len(content["tasks"]) > 1
    assert json.loads((results / "a" / "report" / "report.json").read_text())["tasks"] == []
    with opened(browser, (results / "pair" / "report" / "index.html").as_uri()) as visit:
        visit.page.get_by_role("link", name="The run").click()
        assert visit.page.locator("#workflow").inner_text() == COMMAND, "text, whatever it holds"
        assert visit.page.locator("#run").count() == 1
        assert "LOCAL_ALIGN" in visit.page.locator("main").inner_text()
        assert visit.console == []


def test_the_command_of_the_run_keeps_its_empty_values(tmp_path):
    record = tmp_path / "workflow.json"
    said = "nextflow run . --bigstream_local_steps  --def_scale s0 --initial_transform "
    record.write_text(json.dumps({"command": said, "parameters": {}}))
    assert shlex.split(read_workflow(record).command)[3:] == [
        *("--bigstream_local_steps", "", "--def_scale", "s0", "--initial_transform", "")
    ]


def test_pairs_without_a_report_are_named(results):
    index = json.loads((results / "index.json").read_text())
    assert index["without_report"] == ["lost"]
    assert "4 pairs: 1 failed, 1 bad" in (results / "index.html").read_text()


def test_the_worst_pair_is_first(results):
    index = json.loads((results / "index.json").read_text())
    assert [pair["name"] for pair in index["pairs"]] == ["b <i>", "pair", "a"]
    assert index["verdicts"] == {"bad": 1, "unknown": 1, "good": 1}
    assert [pair["seconds"] for pair in index["pairs"] if pair["name"] == "pair"] == [pytest.approx(3736.7)]
    costs = {process["process"]: process for process in index["processes"]}
    assert costs["LOCAL_ALIGN"]["tasks"] == 2 and costs["LOCAL_ALIGN"]["peak_bytes"] == 3 << 29


def test_the_page_leads_to_the_pairs_and_sorts_them(browser, results):
    with opened(browser, (results / "index.html").as_uri()) as visit:
        rows = visit.page.locator("table.sortable tbody tr")
        assert rows.count() == 3 and "b <i>" in rows.first.inner_text(), "names are text, whatever they hold"
        visit.page.get_by_role("button", name="Error").click()
        assert rows.first.locator("a").inner_text() == "a"
        assert rows.last.locator("a").inner_text() == "pair", "what is unknown stays last"
        assert visit.page.locator("td.pictures img").count() == 6
        assert all(picture.get_attribute("alt") for picture in visit.page.locator("img").all())
        assert visit.console == [] and len([url for url in visit.requests if url.startswith("file:")]) == 1
        rows.first.locator("a").click()
        visit.page.wait_for_selector("#viewer[data-painted]")


def test_an_index_elsewhere_links_to_the_results(results, tmp_path):
    index_reports(results, output=tmp_path / "elsewhere")
    pairs = json.loads((tmp_path / "elsewhere" / "index.json").read_text())["pairs"]
    assert all((tmp_path / "elsewhere" / pair["report"]).exists() for pair in pairs)


def test_bad_input_is_named(results, tmp_path):
    with pytest.raises(InputError, match="--overwrite"):
        index_reports(results)
    with pytest.raises(InputError, match=r"has no reports PAIR/report/report\.json"):
        index_reports(tmp_path)
    (tmp_path / "x" / "report").mkdir(parents=True)
    (tmp_path / "x" / "report" / "report.json").write_text("{}")
    with pytest.raises(DataError, match="write that report again"):
        index_reports(tmp_path)


def test_multiqc_shows_the_pairs(results, tmp_path):
    """MultiQC in an environment of its own: its name is in TERALIGN_MULTIQC, or it is on PATH."""
    program = os.environ.get("TERALIGN_MULTIQC") or shutil.which("multiqc")
    if program is None:
        pytest.skip("no MultiQC here (TERALIGN_MULTIQC names it)")
    command = [program, str(results), "--outdir", str(tmp_path), "--no-ansi"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "multiqc_data" / "multiqc_teralign_pairs.txt").read_text().splitlines()
    assert len(table) == 4 and "verdict" in table[0]
    assert any(line.startswith("a\tgood\t0.5\t1.0") for line in table)


def test_the_content_for_multiqc_is_a_table_of_samples(results):
    content = json.loads((results / "teralign_mqc.json").read_text())
    assert content["plot_type"] == "table" and set(content["data"]) == {"a", "b <i>", "pair"}
    assert set(content["data"]["a"]) <= set(content["headers"])
