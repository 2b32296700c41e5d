"""The index of a run: one line a pair, the worst first, made of the reports of the pairs."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from teralign.errors import DataError
from teralign.provenance import Run
from teralign.report.page import render
from teralign.report.pictures import HEADER
from teralign.report.slices import webp
from teralign.report.trace import TaskCost
from teralign.report.workflow_run import WorkflowRun
from teralign.trust import Verdict

_WORST_FIRST = (Verdict.BAD, Verdict.DOUBTFUL, Verdict.UNKNOWN, Verdict.GOOD)
_PICTURED = 200  # pairs with small pictures, 15 kB each
_PICTURE_WIDTH, _QUALITY = 180, 70


@dataclass(frozen=True)
class PairEntry:
    """A pair in the index; `report` is its page, relative to the index. A value is None where it is unknown.

    The error is in µm over the blocks, `lncc` the mean local correlation, `landmarks_um` the median distance of
    landmarks after all steps, `seconds` the time of its tasks or of its steps.
    """

    name: str
    report: str
    verdict: Verdict
    sentence: str
    error_um_median: float | None
    error_um_p95: float | None
    confirmed: int
    examined: int
    lncc_before: float | None
    lncc_after: float | None
    covered: float | None
    folded_share: float | None
    landmarks_um: float | None
    failed_gates: Sequence[str]
    seconds: float | None


@dataclass(frozen=True)
class ProcessCost:
    """All tasks of a process of a run: their number, their time, that of all their cores, and the largest memory."""

    process: str
    tasks: int
    seconds: float
    core_seconds: float
    peak_bytes: int | None
    read_bytes: int
    written_bytes: int


@dataclass(frozen=True)
class TriangleEntry:
    """The consistency around a triangle of rounds in µm, as `compare-rounds` measures it; None where it is unknown.

    It is closed by "maps" or by the "images" of two rounds, which `verdict` judges then, or by "nothing".
    """

    rounds: Sequence[str]
    closed_by: str
    median_um: float | None
    p95_um: float | None
    verdict: Verdict | None


@dataclass(frozen=True)
class RunIndex:
    """The content of index.json: pairs by verdict, the worst first, consistency of rounds, cost of processes.

    `without_report` names pairs of the run of which a task failed; `workflow` is how the run was started.
    """

    verdicts: Mapping[str, int]
    pairs: Sequence[PairEntry]
    without_report: Sequence[str]
    triangles: Sequence[TriangleEntry]
    processes: Sequence[ProcessCost]
    tasks: Sequence[TaskCost]
    workflow: WorkflowRun | None
    run: Run


def read_entry(folder: Path, report: str, tasks: Sequence[TaskCost]) -> PairEntry:
    """Return the entry of the report in `folder`, whose page the index links as `report`. Raises DataError."""
    path = folder / "report.json"
    try:
        content = json.loads(path.read_text("utf-8"))
        first, *_, last = content["similarity"].values()
        assessment, error = content["assessment"], content["error_um"] or {}
        landmarks = list(content["landmarks"].values())
        return PairEntry(
            name=content["name"],
            report=report,
            verdict=Verdict(content["verdict"]),
            sentence=assessment["sentence"],
            error_um_median=error.get("median"),
            error_um_p95=error.get("p95"),
            confirmed=assessment["confirmed"],
            examined=assessment["examined"],
            lncc_before=first["lncc_mean"],
            lncc_after=last["lncc_mean"],
            covered=last["foreground_covered"],
            folded_share=max((f["jacobian"]["folded_share"] for f in content["fields"].values()), default=None),
            landmarks_um=landmarks[-1]["median"] if landmarks else None,
            failed_gates=[gate["sentence"] for gate in (content.get("gates") or {}).get("failed", ())],
            seconds=_seconds(content, tasks),
        )
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not the report.json of report-alignment; write that report again.") from error


def read_triangles(path: Path) -> list[TriangleEntry]:
    """Return the triangles of a rounds.json, those that nothing closes last. Raises DataError for another file."""
    try:
        content = json.loads(path.read_text("utf-8"))
        closed = [
            TriangleEntry(
                rounds=one["rounds"],
                closed_by=one["closed_by"],
                median_um=one["median_um"],
                p95_um=one["p95_um"],
                verdict=None if one["verdict"] is None else Verdict(one["verdict"]),
            )
            for one in content["triangles"]
        ]
        return closed + [TriangleEntry(rounds, "nothing", None, None, None) for rounds in content["not_closed"]]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not the rounds.json of compare-rounds; write it again.") from error


def _seconds(content: Mapping[str, Any], tasks: Sequence[TaskCost]) -> float | None:
    """Return the time of a pair's tasks if they are known, and else that of its steps."""
    times = [task.seconds for task in tasks if task.pair == content["name"] and task.seconds is not None]
    return sum(times) if times else content.get("seconds")


def index_of(
    entries: Sequence[PairEntry],
    tasks: Sequence[TaskCost],
    run: Run,
    *,
    triangles: Sequence[TriangleEntry] = (),
    without_report: Sequence[str] = (),
    workflow: WorkflowRun | None = None,
) -> RunIndex:
    """Return the index of these pairs, the worst first, and of triangles, those with the largest error first."""
    ranked = sorted(entries, key=lambda e: (not e.failed_gates, _WORST_FIRST.index(e.verdict), e.name))
    worst = sorted(triangles, key=lambda t: -math.inf if t.median_um is None else t.median_um, reverse=True)
    counts = {verdict.value: sum(entry.verdict is verdict for entry in entries) for verdict in _WORST_FIRST}
    return RunIndex(
        verdicts={name: n for name, n in counts.items() if n},
        pairs=ranked,
        without_report=without_report,
        triangles=worst,
        processes=_costs(tasks),
        tasks=tasks,
        workflow=workflow,
        run=run,
    )


def _costs(tasks: Sequence[TaskCost]) -> list[ProcessCost]:
    """Return what each process took, in the order in which they first appear."""
    groups: dict[str, list[TaskCost]] = defaultdict(list)
    for task in tasks:
        groups[task.process].append(task)
    return [
        ProcessCost(
            process=process,
            tasks=len(group),
            seconds=round(sum(t.seconds or 0 for t in group), 3),
            core_seconds=round(sum((t.seconds or 0) * (t.cores or 0) for t in group), 3),
            peak_bytes=max((t.peak_bytes for t in group if t.peak_bytes is not None), default=None),
            read_bytes=sum(t.read_bytes or 0 for t in group),
            written_bytes=sum(t.written_bytes or 0 for t in group),
        )
        for process, group in groups.items()
    ]


def run_page(index: RunIndex, pictures: Mapping[str, Sequence[str]], title: str) -> str:
    """Return the page of a run; `pictures` are the small pictures of pairs by their page's address."""
    return render(
        "run.html",
        {},
        scripts=("sorting.js",),
        index=index,
        pictures=pictures,
        title=title,
        headline=headline(index),
        landmarks=any(entry.landmarks_um is not None for entry in index.pairs),
    )


def headline(index: RunIndex) -> str:
    """Return the verdicts of all pairs in one sentence."""
    total = len(index.pairs) + len(index.without_report)
    failed = {"failed": len(index.without_report)} if index.without_report else {}
    counts = ", ".join(f"{n} {name}" for name, n in {**failed, **index.verdicts}.items())
    return f"{total} pair{'' if total == 1 else 's'}: {counts}." if total else "No pair has a report."


def small_pictures(index: RunIndex, folders: Mapping[str, Path]) -> dict[str, list[str]]:
    """Return the middle of each pair before and after as data URIs, for as many pairs as a page can hold."""
    return {entry.report: _before_and_after(folders[entry.report]) for entry in index.pairs[:_PICTURED]}


def _before_and_after(folder: Path) -> list[str]:
    """Return the first and the last state of overlay.png, without its head; nothing if it cannot be read."""
    try:
        with Image.open(folder / "overlay.png") as picture:
            states = max(1, len(json.loads((folder / "report.json").read_text("utf-8"))["similarity"]))
            width = picture.width / states
            ends = (0,) if states == 1 else (0, states - 1)
            columns = [
                picture.convert("RGB").crop((round(i * width), HEADER, round((i + 1) * width), picture.height))
                for i in ends
            ]
    except OSError:
        return []
    height = max(1, math.ceil(columns[0].height * _PICTURE_WIDTH / columns[0].width))
    return [webp(np.asarray(column.resize((_PICTURE_WIDTH, height))), _QUALITY) for column in columns]


def multiqc_content(index: RunIndex) -> dict[str, object]:
    """Return the pairs as a table of MultiQC (custom content), which it finds by the name `*_mqc.json`."""
    headers = {
        "verdict": {
            "title": "Verdict",
            "description": "Whether the images agree where the map puts them",
            "cond_formatting_rules": {
                "good": [{"s_eq": "good"}],
                "doubtful": [{"s_eq": "doubtful"}],
                "bad": [{"s_eq": "bad"}],
                "unknown": [{"s_eq": "unknown"}],
            },
            "cond_formatting_colours": [
                {"good": "#009e73"},
                {"doubtful": "#e69f00"},
                {"bad": "#d55e00"},
                {"unknown": "#8a939b"},
            ],
        },
        "error_um_median": _number("Error", "Estimated remaining error, median over blocks", " µm", "Oranges"),
        "error_um_p95": _number("Error (95 %)", "Estimated remaining error, 95th percentile", " µm", "Oranges"),
        "lncc_after": {**_number("Local correlation", "After all steps", "", "Greens"), "max": 1},
        "confirmed_percent": {**_number("Confirmed", "Blocks that confirm the map", " %", "Greens"), "max": 100},
        "folded_percent": _number("Folded", "Share of the field where space folds", " %", "Oranges"),
        "minutes": _number("Time", "Time of all tasks of the pair", " min", "Blues"),
    }
    data = {
        entry.name: {
            name: value
            for name, value in {
                "verdict": entry.verdict.value,
                "error_um_median": entry.error_um_median,
                "error_um_p95": entry.error_um_p95,
                "lncc_after": entry.lncc_after,
                "confirmed_percent": 100 * entry.confirmed / entry.examined if entry.examined else None,
                "folded_percent": None if entry.folded_share is None else 100 * entry.folded_share,
                "minutes": None if entry.seconds is None else entry.seconds / 60,
            }.items()
            if value is not None
        }
        for entry in index.pairs
    }
    return {
        "id": "teralign",
        "section_name": "Teralign",
        "description": f"Alignment of imaging rounds. {headline(index)}",
        "plot_type": "table",
        "pconfig": {"id": "teralign_pairs", "title": "Teralign: aligned pairs", "namespace": "Teralign"},
        "headers": headers,
        "data": data,
    }


def _number(title: str, description: str, suffix: str, scale: str) -> dict[str, object]:
    return {
        "title": title,
        "description": description,
        "suffix": suffix,
        "scale": scale,
        "min": 0,
        "format": "{:,.2f}",
    }
