"""What is in the image of the Dockerfile, and what is not."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from nextflow.runs import demo_pair

from .podman import ROOT, Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# As engines run it: no file of it can be written, no capability, and a user that it has never heard of.
STRANGER = ["--read-only", "--read-only-tmpfs=false", "--user", "12345:12345", "--cap-drop", "all"]


def test_it_is_smaller_than_a_gigabyte(image: Image) -> None:
    assert image.described()["Size"] < 1e9


def test_its_user_has_no_rights(image: Image) -> None:
    assert image.described()["Config"]["User"] == "teralign"
    done = image.run("id", "--user")
    assert int(done.stdout) >= 1000


def test_every_command_is_there_with_what_nextflow_needs(image: Image) -> None:
    commands = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    tries = [f"{name} --help > /dev/null || echo {name} >&2" for name in commands]
    done = image.run("bash", "-c", "; ".join(["ps --version", *tries]))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ps from procps")


def test_it_says_nothing_about_where_it_was_built(image: Image) -> None:
    """No server of packages, proxy or certificate of this machine."""
    places = "/etc/apt/sources.list* /etc/apt/apt.conf.d/99machine /etc/pip.conf ~root/.config ~root/.pip"
    left = image.run("bash", "-c", f"find {places} -type f -size +0 2>/dev/null || true", options=["--user", "0"])
    assert (left.returncode, left.stdout) == (0, "")
    told = image.described()
    texts = [*told["Config"]["Env"], *(row.get("created_by", "") for row in told["History"])]
    assert not [text for text in texts if re.search(r"https?://|proxy|index.url|\.crt=", text, re.IGNORECASE)]


def test_a_stranger_aligns_in_a_read_only_container_and_compiles_nothing(image: Image, tmp_path: Path) -> None:
    """The kernels that were compiled with the image are found, although nothing can be written beside them."""
    demo_pair(tmp_path, "64,64,64", seed=0)
    tmp_path.chmod(0o777)
    (tmp_path / "script").write_text(
        """
        to_fixed="--fixed data/fixed.n5/s0 --moving data/moving.n5/s0 --workers 1"
        global-align --fixed data/fixed.n5/s1 --moving data/moving.n5/s1 --output affine.mat
        local-align $to_fixed --initial-transform affine.mat --output map.zarr
        apply-transform $to_fixed --transform map.zarr --output warped.zarr
        """
    )
    place = [f"--volume={tmp_path}:{tmp_path}", f"--workdir={tmp_path}", f"--env=TMPDIR={tmp_path}"]
    own = ["--env=HOME=/", "--env=NUMBA_CACHE_DIR=.numba"]  # as configs/containers.config says it
    done = image.run("bash", "-e", "script", options=[*STRANGER, "--network=host", *place, *own])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "warped.zarr").exists()
    assert "compiling" not in done.stderr
