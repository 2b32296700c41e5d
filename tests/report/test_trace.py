import pytest

from report.conftest import TRACE
from teralign.errors import InputError
from teralign.report import TaskCost, read_trace


def test_a_trace_is_read_in_plain_units(tmp_path):
    (tmp_path / "trace.txt").write_text(TRACE)
    tasks = read_trace(tmp_path / "trace.txt")
    assert tasks[0] == TaskCost("GLOBAL_ALIGN", "pair", "", "COMPLETED", 3.7, 1.429, 273363763, 26 << 20, 32 << 10)
    assert (tasks[1].seconds, tasks[1].peak_bytes) == (3720, 3 << 29)
    assert tasks[2] == TaskCost("LOCAL_ALIGN", "other", "", "FAILED", 0.253, None, None, None, None)
    assert (tasks[3].pair, tasks[3].part, tasks[3].written_bytes) == ("pair", "warped", 0)


def test_raw_numbers_of_a_trace_are_milliseconds_and_bytes(tmp_path):
    (tmp_path / "trace.txt").write_text("name\tstatus\trealtime\tpeak_rss\nA (x)\tCOMPLETED\t1500\t2048\n")
    (task,) = read_trace(tmp_path / "trace.txt")
    assert (task.seconds, task.peak_bytes, task.cores) == (1.5, 2048, None)


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "name\tstatus\nx y z\tOK\n"])
def test_another_table_is_refused(content, tmp_path):
    (tmp_path / "trace.txt").write_text(content)
    with pytest.raises(InputError, match="not the table that Nextflow writes"):
        read_trace(tmp_path / "trace.txt")
