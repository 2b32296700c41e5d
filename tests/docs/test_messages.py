"""Each sentence of an error is in the list of messages, and each kind of error is explained in troubleshooting."""

from __future__ import annotations

import re
from pathlib import Path

import messages

from teralign import errors

ROOT = Path(__file__).parents[2]
TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()


def raised() -> list[str]:
    """The names of all errors of Teralign that are raised, by the text of the code."""
    names = "|".join(messages.CODES)
    return [
        name
        for path in messages.SOURCE.rglob("*.py")
        for name in re.findall(rf"\b({names})\(", path.read_text())
        if path.name != "errors.py"
    ]


def test_nearly_all_errors_have_a_sentence_of_their_own():
    """The rest pass on the sentence of another error."""
    assert len(raised()) > 300
    assert len(list(messages.found())) > 0.85 * len(raised())


def test_each_package_has_a_heading():
    page = messages.page()
    assert {title for title in messages.ROOMS.values() if f"## {title}\n" in page} >= {
        messages.ROOMS[message.room] for message in messages.found()
    }


def test_each_kind_of_error_is_explained():
    for name, code in messages.CODES.items():
        assert re.search(rf"^\| {code} \| ", TROUBLESHOOTING, re.MULTILINE), name
    assert issubclass(errors.InputError, errors.TeralignError)


def test_each_package_that_raises_is_explained():
    headings = set(re.findall(r"^## (.+)$", TROUBLESHOOTING, re.MULTILINE))
    used = {messages.ROOMS[message.room] for message in messages.found()}
    assert used - headings == set()


def test_messages_quoted_in_troubleshooting_exist():
    """A quoted message is a part of a sentence in the code, with … for its values."""
    known = [re.sub(r"\s+", " ", message.sentence) for message in messages.found()]
    logged = " ".join(path.read_text() for path in messages.SOURCE.rglob("*.py"))
    for quoted in re.findall(r"^\| `([^`]+)` \|", TROUBLESHOOTING, re.MULTILINE):
        parts = [part.strip() for part in quoted.split("…") if part.strip()]
        assert any(all(part in sentence for part in parts) for sentence in known) or all(
            part in logged for part in parts
        ), quoted
