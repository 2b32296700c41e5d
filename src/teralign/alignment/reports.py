"""What a run says about itself, as JSON."""

from __future__ import annotations

from typing import Any

from teralign.registration import Alignment


def step_reports(found: Alignment) -> list[dict[str, Any]]:
    """The reports of an alignment's steps as JSON-able dictionaries."""
    return [
        {
            "name": r.name,
            "state": r.state,
            "reason": r.reason,
            "metric_before": r.metric_before,
            "metric_after": r.metric_after,
            "seconds": round(r.seconds, 3),
            "details": r.details,
        }
        for r in found.reports
    ]
