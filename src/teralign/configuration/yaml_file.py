"""A YAML file read as a mapping, with the names of the sections that hold anchors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from teralign.configuration.sentences import readable
from teralign.errors import InputError

_LARGEST = 1 << 20  # bytes
_MOST_VALUES = 100_000


@dataclass(frozen=True)
class YamlFile:
    """The sections of a file by name; `anchored` are those that hold an anchor (`&name`), which parsing loses."""

    content: Mapping[str, Any]
    anchored: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> YamlFile:
        """Read a file. Raises InputError, one sentence with the line, for what is no mapping in YAML."""
        try:
            text = _text(path)
            _check_nodes(yaml.compose(text, Loader=yaml.SafeLoader), path)
            content = yaml.safe_load(text)
            anchored = _anchored_sections(text)
        except InputError:  # a ValueError too
            raise
        except RecursionError as error:
            raise InputError(f"the configuration {path} is nested too deeply; write it with fewer levels.") from error
        except OSError as error:
            raise InputError(f"the configuration {path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise InputError(f"the configuration {path} is not a text file.") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f" in line {mark.line + 1}" if mark is not None else ""
            problem = getattr(error, "problem", None) or "it cannot be parsed"
            raise InputError(f"the configuration {path} is not valid YAML{place}: {problem}.") from error
        except ValueError as error:  # of a date or a number
            raise InputError(
                f"the configuration {path} has a value that is none of its type ({error}); correct it."
            ) from error
        if content is None:
            return cls({}, frozenset())
        if not isinstance(content, dict):
            raise InputError(f"the configuration {path} must be a mapping of sections, not {readable(content)}.")
        return cls(content, anchored)


def _text(path: Path) -> str:
    """Return the text of a file. Raises InputError for one that is far too large, or has no end."""
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise InputError(f"the configuration {path} has more than {_LARGEST >> 20} MB; choose another file.")
    return content.decode("utf-8")


def _check_nodes(root: yaml.Node | None, path: Path) -> None:
    """Raise InputError for a mapping with a key twice, and for anchors that make a small file a huge value.

    YAML forbids a key that comes twice, and PyYAML keeps the last in silence. An anchor may be used many times, and
    hold others that are; written out, its content must be of a size that a person could have written, and an end.
    """
    values: dict[int, int] = {}  # written out, in each node that is done
    waiting, entered = [root] if root is not None else [], set()
    while waiting:
        node = waiting[-1]
        inner = _inner(node)
        if id(node) not in entered:
            entered.add(id(node))
            if isinstance(node, yaml.MappingNode):
                _check_keys(node, path)
            waiting += [child for child in inner if id(child) not in entered]
            if any(id(child) in entered and id(child) not in values for child in inner):
                raise InputError(f"the configuration {path} has an anchor that holds itself; write its values out.")
            continue
        waiting.pop()
        values[id(node)] = 1 + sum(values.get(id(child), 0) for child in inner)
        if values[id(node)] > _MOST_VALUES:
            raise InputError(
                f"the configuration {path} has more than {_MOST_VALUES} values when its anchors are written out; use "
                "fewer of them."
            )


def _inner(node: yaml.Node) -> list[yaml.Node]:
    """Return the keys and values of a mapping, the entries of a list, and nothing in other nodes."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_keys(node: yaml.MappingNode, path: Path) -> None:
    """Raise InputError for a mapping that has a key twice."""
    keys: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in keys:
            line = key.start_mark.line + 1
            raise InputError(f"the configuration {path} has {key.value} twice, again in line {line}; keep one.")
        keys.add(str(key.value))


def _anchored_sections(text: str) -> frozenset[str]:
    """Return the keys of the outermost mapping whose values are anchored, or hold something that is."""
    found: set[str] = set()
    depth, key = 0, None
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        ends = isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent)
        depth -= ends
        if depth == 1 and key is None and isinstance(event, yaml.ScalarEvent):
            key = event.value
            continue
        if key is not None and not isinstance(event, yaml.AliasEvent) and getattr(event, "anchor", None):
            found.add(key)
        if depth == 1 and (ends or isinstance(event, yaml.ScalarEvent | yaml.AliasEvent)):
            key = None
        depth += isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent)
    return frozenset(found)
