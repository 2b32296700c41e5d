"""The campaign of `make fuzz`, a few rounds of it."""

import contextlib
import itertools

from fuzz import campaign
from hostile.seeds import SEEDS

ROUNDS = 4


def test_mutated_files_end_in_a_result_or_a_sentence(tmp_path):
    with contextlib.closing(campaign(tmp_path, list(SEEDS.values()), rng_seed=0)) as rounds:
        faults = [fault for fault in itertools.islice(rounds, ROUNDS * len(SEEDS)) if fault is not None]
    assert "\n".join(map(str, faults)) == ""
