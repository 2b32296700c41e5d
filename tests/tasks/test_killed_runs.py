"""The commands killed at random moments and run again: the short form of `make torture`."""

from __future__ import annotations

import pytest

from torture import commands


@pytest.mark.slow
def test_killed_commands_go_on_and_end_with_the_same_bytes(tmp_path):
    rounds = list(commands.campaign(tmp_path, kills=4, seed=3))
    assert [str(done) for done in rounds if done.fault] == []
    assert [done.case for done in rounds] == ["local-align", "apply-transform", "convert-volume", "fuse-tiles"]
    assert commands.enough_reused(rounds)
