"""Put all messages, with cause and remedy, into docs/troubleshooting.md: python docs/tools/troubleshooting.py."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import messages

PAGE = Path(__file__).parents[1] / "troubleshooting.md"
REMEDIES = Path(__file__).with_name("remedies.toml")
EVERYWHERE = "Everywhere"

_BEGIN = "<!-- messages: made by docs/tools/troubleshooting.py -->"
_END = "<!-- end of messages -->"
_MADE = re.compile(rf"{re.escape(_BEGIN)}\n.*?{re.escape(_END)}\n", re.DOTALL)

_TELLS = re.compile(
    r"(?:^|[;:,.(] (?:or |and |so )?)(?:activate|add|align|ask|cancel|check|choose|close|complete|convert|copy"
    r"|correct|create|end|extract|give|install|keep|leave|lower|make|merge|name|open|put|quote|raise|remove|rename|repair"
    r"|restore|run|save|see|select|set|start|stop|submit|take|try|unset|use|wait|write)\b",
    re.IGNORECASE,
)
"""A clause that tells what to do."""


@dataclass(frozen=True)
class Remedy:
    """Why a message comes, and what to do, found by its `key`, a part of the message."""

    key: str
    cause: str
    remedy: str


def remedies() -> dict[str, list[Remedy]]:
    """Return the entries of remedies.toml by heading, each longest first."""
    read = tomllib.loads(REMEDIES.read_text(encoding="utf-8"))
    return {
        title: sorted((Remedy(key, *texts) for key, texts in entries.items()), key=lambda r: -len(r.key))
        for title, entries in read.items()
    }


def remedy_of(sentence: str, title: str, known: Mapping[str, list[Remedy]]) -> Remedy | None:
    """Return the entry for a message under a heading, or None."""
    entries = [*known.get(title, []), *known[EVERYWHERE]]
    return next((entry for entry in entries if _fits(entry.key, sentence)), None)


def _fits(key: str, sentence: str) -> bool:
    """Return whether the parts of a key, between its …, are in the sentence in this order."""
    pattern = ".*?".join(re.escape(part.strip()) for part in key.split("…"))
    return re.search(pattern, sentence, re.DOTALL) is not None


def tells_what_to_do(sentence: str) -> bool:
    """Return whether a message has its remedy in itself."""
    return _TELLS.search(sentence) is not None


def updated(page: str) -> str:
    """Return the page with its list of messages made anew."""
    return _MADE.sub(lambda _: f"{_BEGIN}\n\n{_list()}\n{_END}\n", page)


def _list() -> str:
    by_title = defaultdict(set)
    for message in messages.found():
        by_title[messages.ROOMS[message.room]].add((" ".join(message.sentence.split()), message.code))
    known = remedies()
    lines: list[str] = []
    for title in sorted(by_title):
        lines += [f"### Messages: {title}", "", *_tables(title, sorted(by_title[title]), known)]
    return "\n".join(lines)


def _tables(title: str, entries: list[tuple[str, int]], known: Mapping[str, list[Remedy]]) -> Iterator[str]:
    """Yield the lines of two tables: messages by their cause, and those that say themselves what to do."""
    groups = defaultdict(list)
    for sentence, code in entries:
        groups[None if tells_what_to_do(sentence) else remedy_of(sentence, title, known)].append((sentence, code))
    told = groups.pop(None, [])
    if groups:
        yield from ("| message | exit code | cause | remedy |", "|---|---|---|---|")
        for entry, shown in groups.items():
            assert entry is not None  # popped above
            said = "<br>".join(_cell(sentence) for sentence in dict.fromkeys(sentence for sentence, _ in shown))
            yield f"| {said} | {_codes(shown)} | {entry.cause} | {entry.remedy} |"
        yield ""
    if told:
        yield from ("| message with its remedy | exit code |", "|---|---|")
        yield from (f"| {_cell(sentence)} | {code} |" for sentence, code in told)
        yield ""


def _codes(shown: list[tuple[str, int]]) -> str:
    return " or ".join(str(code) for code in sorted({code for _, code in shown}))


def _cell(text: str) -> str:
    parts = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    for mark in "[]*_`":
        parts = parts.replace(mark, f"\\{mark}")
    return parts


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
