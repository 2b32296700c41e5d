"""One small pair of rounds, aligned in blocks, and its report with all that a report can hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from teralign.alignment import BlockOptions, Side
from teralign.cluster import Compute
from teralign.tasks.global_align import global_align
from teralign.tasks.local_align import local_align
from teralign.tasks.make_demo_data import make_demo_data
from teralign.tasks.report_alignment import AlignmentReport, ReportInputs, report_alignment

TRACE = """\
name\tstatus\trealtime\t%cpu\tpeak_rss\trchar\twchar
REGISTER:GLOBAL_ALIGN (pair)\tCOMPLETED\t3.7s\t142.9%\t260.7 MB\t26 MB\t32 KB
REGISTER:LOCAL_ALIGN (pair)\tCOMPLETED\t1h 2m\t63.2%\t1.5 GB\t81 MB\t112 KB
REGISTER:LOCAL_ALIGN (other)\tFAILED\t253ms\t-\t-\t-\t-
REGISTER:APPLY_TRANSFORM (pair: warped)\tCACHED\t13s\t38.0%\t758.9 MB\t80 MB\t0
"""


@dataclass(frozen=True)
class ReportedPair:
    """The folder of a pair, and its report."""

    folder: Path
    result: AlignmentReport

    @property
    def page(self) -> Path:
        return self.folder / "results" / "pair" / "report" / "index.html"


def volumes(folder: Path, level: str) -> tuple[str, str]:
    return str(folder / f"data/fixed.n5/{level}"), str(folder / f"data/moving.n5/{level}")


@pytest.fixture(scope="session")
def reported(tmp_path_factory) -> ReportedPair:
    folder = tmp_path_factory.mktemp("reported")
    make_demo_data(folder / "data", shape=(96, 112, 128), seed=1)
    affine, field = folder / "affine.mat", folder / "transform.zarr"
    global_align(*volumes(folder, "s1"), output=affine)
    local_align(
        *volumes(folder, "s1"),
        output=field,
        initial_transforms=[affine],
        blocks=BlockOptions(size=(24, 24, 24)),
        compute=Compute(workers=1, worker_cpus=2),
    )
    (folder / "trace.txt").write_text(TRACE)
    result = report_alignment(
        Side(volumes(folder, "s0")[0]),
        Side(volumes(folder, "s0")[1]),
        transforms=[field],
        output=folder / "results" / "pair" / "report",
        name="pair",
        inputs=ReportInputs(
            global_report=folder / "affine.json",
            blocks=folder / "transform.blocks.json",
            fixed_landmarks=folder / "data/landmarks_fixed.csv",
            moving_landmarks=folder / "data/landmarks_moving.csv",
            trace=folder / "trace.txt",
        ),
    )
    return ReportedPair(folder, result)
