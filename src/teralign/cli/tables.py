"""Scores as tables for people; where standard output carries JSON, they go to standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from teralign.tasks.compare_rounds import RoundsReport
    from teralign.tasks.evaluate_alignment import Evaluation

ScoreRow = tuple[str, float | None, float | None, str]
"""A name, its value before and after alignment, and its unit."""


def show_scores(result: Evaluation, *, err: bool) -> None:
    """Print the scores that there are, before and after alignment."""
    rows = score_rows(result)
    click.echo(f"{'':24} {'before':>10} {'after':>10}", err=err)
    for name, before, after, unit in rows:
        click.echo(f"{name:24} {_number(before):>10} {_number(after):>10} {unit}".rstrip(), err=err)


def show_triangles(result: RoundsReport, *, err: bool) -> None:
    """Print the errors around each triangle, and the triangles that nothing closes."""
    click.echo(f"{'median µm':>10} {'p95 µm':>10} {'closed by':>10}  rounds", err=err)
    for one in result.triangles:
        judged = "" if one.verdict is None else f"  ({one.verdict.value})"
        errors = f"{_number(one.median_um):>10} {_number(one.p95_um):>10}"
        click.echo(f"{errors} {one.closed_by:>10}  {' – '.join(one.rounds)}{judged}", err=err)
    for names in result.not_closed:
        click.echo(f"{'–':>10} {'–':>10} {'nothing':>10}  {' – '.join(names)}", err=err)
    if result.not_closed:
        click.echo("--close-triangles compares the images of rounds that no pair links.", err=err)


def score_rows(result: Evaluation) -> list[ScoreRow]:
    """Return the rows of the table."""
    rows: list[ScoreRow] = []
    if (labels := result.labels) is not None:
        rows += [
            ("labels in both", None, labels.labels, ""),
            ("Dice, mean", labels.dice_before, labels.dice, ""),
            ("Dice30", labels.dice30_before, labels.dice30, ""),
            ("HD95, mean", None, labels.hd95_um, "µm"),
            ("labels lost", None, labels.lost, ""),
        ]
    if (images := result.images) is not None:
        for name, key in (("NCC", "ncc"), ("LNCC, mean", "lncc_mean"), ("mutual information", "mutual_information")):
            before = None if images.before is None else getattr(images.before, key)
            rows.append((name, before, getattr(images.after, key), "nats" if key == "mutual_information" else ""))
    if (points := result.points) is not None:
        for name, key in (("TRE, median", "median"), ("TRE, mean", "mean"), ("TRE, p95", "p95"), ("TRE, max", "max")):
            after = None if points.after is None else getattr(points.after, key)
            rows.append((name, getattr(points.before, key), after, "µm"))
    if (field := result.field) is not None:
        rows.append(("SDlogJ", None, field.sdlogj, ""))
        rows.append(("folded", None, 100 * field.jacobian.folded_share, "%"))
    return rows


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
