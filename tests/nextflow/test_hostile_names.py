"""Names of files and folders that a shell would take apart: they are inert in every task, or refused before any."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from teralign.volumes import open_volume

from .runs import Run, demo_pair, nextflow

pytestmark = [pytest.mark.nextflow, pytest.mark.slow, pytest.mark.timeout(900)]

LAUNCH = "läunch;>CANARY & (touch CANARY)"
DATA = "my data;>CANARY;b & (ß) <x> #1|tee CANARY"
OUTDIR = "out put's;>CANARY $(touch CANARY) `touch CANARY` & (é)"
FIXED = "fixed;>CANARY round 日本, (a) & b.n5"
MOVING = "-moving;>CANARY | tee CANARY.n5"
LINK = "-moving >CANARY | tee CANARY.n5"
AGAIN = "a~gain,;touch CANARY =1%.n5"
MASK = "mask & (b);>CANARY.n5"
KNOWN = "-known & map (1) #>CANARY.zarr"
SPOTS = "spots & (b) 🧠>CANARY.csv"
LANDMARKS = "land marks;>CANARY {side}.csv"
OPTIONS = [
    *("-profile", "demo", "--use_bigstream", "--bigstream_workers", "1", "--bigstream_worker_mem_gb", "1.5"),
    *("--bigstream_global_steps", "", "--bigstream_local_steps", "affine"),
    *("--aff_scale", "s1", "--def_scale", "s0", "--merge_rounds", "--fail_on", "never", "-c", "few.config"),
]


def write_inputs(launch: Path) -> None:
    """Write a pair with a known map, all of whose names a shell would take apart, and a sheet that names them."""
    plain = demo_pair(launch, "48,48,48", seed=3)
    data = launch / DATA
    data.mkdir()
    for name, source in ((FIXED, "fixed.n5"), (MOVING, "moving.n5"), (AGAIN, "moving.n5"), (MASK, "fixed.n5")):
        shutil.copytree(plain / source, data / name)
    shutil.copytree(plain / "true_transform.zarr", data / KNOWN)
    for side in ("fixed", "moving"):
        shutil.copy(plain / f"landmarks_{side}.csv", data / LANDMARKS.format(side=side))
    points = np.loadtxt(plain / "landmarks_moving.csv", delimiter=",")
    np.savetxt(data / SPOTS, points, delimiter=",", header="x,y,z", comments="")
    shared = {
        "fixed": FIXED,
        "fixed_landmarks": LANDMARKS.format(side="fixed"),
        "moving_landmarks": LANDMARKS.format(side="moving"),
    }
    (data / LINK).symlink_to(MOVING)  # entries of apply_to have semicolons between them
    spots = f"{SPOTS}:name=spots"
    both = f"{LINK}:nearest:name=labels; {spots}"
    rows = [
        {
            "id": "aligned",
            "moving": MOVING,
            "fixed_mask": MASK,
            "initial_transform": KNOWN,
            "apply_to": both,
            **shared,
        },
        {"id": "known", "moving": AGAIN, "local_transform": KNOWN, "apply_to": spots, **shared},
    ]
    with (data / "my pairs; (1).csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [*rows[0], "local_transform"])
        table.writeheader()
        table.writerows(rows)


def errors(run: Run, pair: str) -> np.ndarray:
    """Return the distances, in voxels, of mapped points from where they truly are."""
    with (run.folder / OUTDIR / pair / "spots.csv").open() as file:
        found = np.array([[float(value) for value in row[:3]] for row in list(csv.reader(file))[1:]])
    true = np.loadtxt(run.folder / "data" / "landmarks_fixed.csv", delimiter=",")[:, :3]
    voxel = min(open_volume(run.folder / "data" / "fixed.n5" / "s0").grid.spacing)
    return np.linalg.norm(found - true, axis=1) / voxel


def test_names_that_a_shell_takes_apart_are_inert(tmp_path: Path) -> None:
    launch = tmp_path / LAUNCH
    launch.mkdir()
    write_inputs(launch)
    (launch / "few.config").write_text("executor.queueSize = 4\n")  # each starts Python anew
    run = nextflow(launch, "--input", f"{DATA}/my pairs; (1).csv", "--outdir", OUTDIR, *OPTIONS, timeout=800)

    assert run.returncode == 0, run.output
    assert not [path for path in tmp_path.rglob("CANARY*") if path.name == "CANARY"]
    results = launch / OUTDIR
    for pair in ("aligned", "known"):
        assert np.median(errors(run, pair)) < 1
        assert np.ptp(open_volume(results / pair / "warped.zarr" / "s0").read()) > 0
        report = json.loads((results / pair / "report" / "report.json").read_text())
        assert FIXED in json.dumps(report, ensure_ascii=False)
    assert open_volume(results / "aligned" / "labels.zarr" / "s0").channels == 1
    assert {"index.html", "rounds.json"} <= {path.name for path in results.iterdir()}
    (merged,) = (results / "rounds").iterdir()
    assert open_volume(merged / "s0").channels == 3
