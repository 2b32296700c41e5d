"""An arena for all tests of this folder."""

import pytest

from hostile.arena import arena


@pytest.fixture(scope="session")
def opened(tmp_path_factory):
    """A process in which commands run, with bounded memory."""
    with arena(tmp_path_factory.mktemp("arena")) as found:
        yield found
