"""Runs and commands that are killed at random moments.

python -m torture commands [--kills 100] [--seed 0]
python -m torture runs [--site local --site tasks …] [--light] [--kills 100] [--seed 0] [--log FILE]
python -m torture pace [--site local …] [--light] [--every 10]
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from torture import commands, pace, runs
from torture.sites import SITES, Site, site_of


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, text in (("commands", commands.__doc__), ("runs", runs.__doc__), ("pace", pace.__doc__)):
        kind = kinds.add_parser(name, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        kind.add_argument("--seed", type=int, default=0)
        if name == "pace":
            kind.add_argument("--every", type=float, default=10.0, help="seconds between two kills (default: 10)")
        else:
            kind.add_argument("--kills", type=int, default=100, help="how many (default: 100)")
        if name != "commands":
            kind.add_argument("--site", choices=SITES, action="append", help="where (default: all)")
            kind.add_argument("--light", action="store_true", help="with commands that only take time, and no images")
            kind.add_argument("--folder", type=Path, help="keep the pair, and the rounds that went wrong, here")
        if name == "runs":
            kind.add_argument("--each", type=int, default=5, help="the most kills in one run (default: 5)")
            kind.add_argument("--log", type=Path, help="a file to which each round is added; with one, go on from it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what it has started
    with _folder(getattr(options, "folder", None)) as folder:
        if getattr(options, "light", False):  # with results of its own
            folder /= "light"
            folder.mkdir(exist_ok=True)
        sys.exit({"commands": _commands, "runs": _runs, "pace": _pace}[options.kind](options, folder))


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
    else:
        given.mkdir(parents=True, exist_ok=True)
        yield given.absolute()


def _commands(options: argparse.Namespace, folder: Path) -> bool:
    rounds = []
    for done in commands.campaign(folder, kills=options.kills, seed=options.seed):
        print(done, flush=True)
        rounds.append(done)
    for line in commands.shares(rounds):
        print(line)
    failed = sum(bool(done.fault) for done in rounds)
    print(f"{options.kills - failed} passed, {failed} failed")
    return failed > 0 or not commands.enough_reused(rounds)


def _runs(options: argparse.Namespace, folder: Path) -> bool:
    log = options.log or folder / "rounds.jsonl"
    names = options.site or SITES
    for name in names:
        before = [done for done in runs.read_log(log) if done.site == name]
        wanted = options.kills // len(names) - sum(len(done.kills) for done in before)
        if wanted <= 0:
            continue
        with site_of(name) as site:
            site, peace = _in_peace(options, site, folder)
            print(f"{name}: {peace.seconds:.0f} s in peace", flush=True)
            how = {"kills": wanted, "seed": options.seed, "each": options.each, "before": before}
            for done in runs.campaign(folder, site, peace, **how):
                print(done, flush=True)
                runs.logged(log, done)
    return _summary([done for done in runs.read_log(log) if done.site in names])


def _in_peace(options: argparse.Namespace, site: Site, folder: Path) -> tuple[Site, runs.Peace]:
    arguments = runs.pair_in(folder)
    if options.light:
        site = runs.lightened(site, folder, arguments)
    return site, runs.in_peace(folder, site, arguments)


def _pace(options: argparse.Namespace, folder: Path) -> bool:
    found = []
    for name in options.site or SITES:
        with site_of(name) as site:
            site, peace = _in_peace(options, site, folder)
            found.append(pace.measure(folder, site, peace, every=options.every, seed=options.seed))
        print(f"{name}: {found[-1]}", flush=True)
    return any(done.faults or done.factor > pace.MOST for done in found)


def _summary(rounds: Sequence[runs.Round]) -> bool:
    """Print what was killed where and what came of it; whether anything was wrong."""
    kills = Counter((done.site, kill.victim, kill.signal) for done in rounds for kill in done.kills)
    for (site, victim, number), count in sorted(kills.items()):
        print(f"{site:14} {victim:15} {number:8} {count:4}")
    for site in sorted({done.site for done in rounds}):
        own = [done for done in rounds if done.site == site]
        ended = [done for done in own if done.code != 0]
        latest = max((done.ended_after for done in ended), default=0)
        print(
            f"{site}: {len(own)} runs, {sum(len(done.kills) for done in own)} kills; "
            f"{len(own) - len(ended)} completed, {len(ended)} ended with an error, "
            f"at most {latest:.0f} s after the last kill; {sum(bool(done.faults) for done in own)} wrong"
        )
    return any(done.faults for done in rounds)


if __name__ == "__main__":
    main()
