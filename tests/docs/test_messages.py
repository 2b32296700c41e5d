"""Troubleshooting has each message of an error in the code, with its cause and remedy."""

from __future__ import annotations

import re

import messages
import pytest
import troubleshooting

PAGE = troubleshooting.PAGE.read_text(encoding="utf-8")
FOUND = sorted({(messages.ROOMS[m.room], " ".join(m.sentence.split())) for m in messages.found()})
KNOWN = troubleshooting.remedies()


def made() -> list[str]:
    """The names of all errors of Teralign that are made, by the text of the code."""
    names = "|".join(messages.CODES)
    return [
        name
        for path in messages.SOURCE.rglob("*.py")
        for name in re.findall(rf"\b({names})\(", path.read_text(encoding="utf-8"))
        if path.name != "errors.py"
    ]


def test_nearly_all_errors_have_a_sentence_of_their_own():
    """The rest pass on the sentence of another error."""
    assert len(made()) > 300
    assert len([m for m in messages.found() if m.room not in ("bin", "workflow")]) > 0.95 * len(made())


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Volumes", "has no dataset"),
        ("Blocks", "failed (…), the last with"),  # raised by a variable that holds a class
        ("Evaluation", "no label in common"),  # made by a function
        ("The pipeline", "neither the id of a pair"),  # by the method of a value
        ("Commands", "is not x,y,z"),  # by the parser of an option
        ("The pipeline", "There is no parameter --…"),  # in the workflow
        ("The pipeline", "could not be looked up"),
        ("The pipeline", "the head job looks up the volumes"),  # in bin/
    ],
)
def test_each_way_to_raise_an_error_is_seen(title, words):
    assert [sentence for room, sentence in FOUND if room == title and words in sentence]


def test_each_message_says_its_remedy_or_has_an_entry():
    missing = [
        f"{title}: {sentence}"
        for title, sentence in FOUND
        if not troubleshooting.tells_what_to_do(sentence)
        and troubleshooting.remedy_of(sentence, title, KNOWN) is None
    ]
    assert missing == [], f"say what to do in the message, or add its cause and remedy to {troubleshooting.REMEDIES}"


def test_each_entry_is_used():
    used = {
        id(troubleshooting.remedy_of(sentence, title, KNOWN))
        for title, sentence in FOUND
        if not troubleshooting.tells_what_to_do(sentence)
    }
    assert [f"{title}: {r.key}" for title, entries in KNOWN.items() for r in entries if id(r) not in used] == []


def test_a_message_that_only_says_what_is_wrong_does_not_tell_what_to_do():
    assert troubleshooting.tells_what_to_do("round1.n5 exists already; choose another output.")
    assert troubleshooting.tells_what_to_do("Give either --input or --fixed and --moving, not both.")
    assert not troubleshooting.tells_what_to_do("the copy of round1.n5 names no open file.")


def test_the_page_is_up_to_date():
    assert troubleshooting.updated(PAGE) == PAGE, "run python docs/tools/troubleshooting.py"


def test_each_exit_code_is_explained():
    for name, code in messages.CODES.items():
        assert re.search(rf"^\| {code} \| ", PAGE, re.MULTILINE), name
