"""Makes the modules beside this file, such as `phantoms`, importable from the tests of every room; starts servers."""

import logging
import uuid

import pytest

from browser import CHROMIUM, started
from servers import Bucket, s3_server, web_server

pytest_plugins = ["demo_pair", "schedulers.fixtures", "containers.fixtures", "nextflow.small_rounds"]

ALONE = ("tests/schedulers/", "tests/containers/", "tests/nextflow/test_torture.py")
"""Tests that bring up a scheduler or a container engine, of which a machine has one at a time."""


def pytest_collection_modifyitems(items):
    """Begin with what takes minutes, so that two processes end at about the same time."""
    items.sort(key=lambda item: (not item.nodeid.startswith(ALONE), item.get_closest_marker("nextflow") is None))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Have one process run all tests of a file, whose fixtures are dear, and one all tests of `ALONE`."""
    from xdist.scheduler import LoadScopeScheduling

    class OfFiles(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "alone" if nodeid.startswith(ALONE) else nodeid.partition("::")[0]

    config.option.loadscopereorder = False
    return OfFiles(config, log)


@pytest.fixture(autouse=True)
def log_as_found():
    """Leave the log of Teralign as it was: a command that runs in this process sends it to its own stderr alone."""
    log = logging.getLogger("teralign")
    handlers, level, propagate = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = handlers, level, propagate


@pytest.fixture(scope="module")
def browser(request):
    """A browser, until the module ends: while it runs, playwright keeps its event loop running in this thread.

    It draws WebGL where the module says `WEBGL = True`.
    """
    pytest.importorskip("playwright.sync_api", reason="playwright (extra `test`) drives the browser")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on PATH")
    with started(webgl=getattr(request.module, "WEBGL", False)) as browser:
        yield browser


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory):
    """A server of S3, which this session keeps."""
    with s3_server(tmp_path_factory.mktemp("s3") / "log.txt") as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def bucket(s3_endpoint, monkeypatch):
    """An empty bucket, which the environment leads to."""
    import boto3

    settings = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in (settings | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    return Bucket(client, name)


@pytest.fixture
def website(tmp_path_factory):
    """A folder, and the address at which a web server shows it."""
    folder = tmp_path_factory.mktemp("website")
    with web_server(folder, folder.with_suffix(".log")) as port:
        yield folder, f"http://127.0.0.1:{port}"
