"""A YAML file read as a mapping, with the names of the sections that hold anchors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from teralign.configuration.sentences import readable
from teralign.errors import InputError


@dataclass(frozen=True)
class YamlFile:
    """The sections of a file by name; `anchored` are those that hold an anchor (`&name`), which parsing loses."""

    content: Mapping[str, Any]
    anchored: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> YamlFile:
        """Read a file. Raises InputError, one sentence with the line, for what is no mapping in YAML."""
        try:
            text = path.read_text(encoding="utf-8")
            content = yaml.safe_load(text)
            _check_keys(yaml.compose(text, Loader=yaml.SafeLoader), path)
            anchored = _anchored_sections(text)
        except OSError as error:
            raise InputError(f"the configuration {path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise InputError(f"the configuration {path} is not a text file.") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f" in line {mark.line + 1}" if mark is not None else ""
            problem = getattr(error, "problem", None) or "it cannot be parsed"
            raise InputError(f"the configuration {path} is not valid YAML{place}: {problem}.") from error
        if content is None:
            return cls({}, frozenset())
        if not isinstance(content, dict):
            raise InputError(f"the configuration {path} must be a mapping of sections, not {readable(content)}.")
        return cls(content, anchored)


def _check_keys(root: yaml.Node | None, path: Path) -> None:
    """Raise InputError where a mapping has a key twice: YAML forbids it, and PyYAML keeps the last in silence."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an anchor that is used again
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in keys:
                    line = key.start_mark.line + 1
                    raise InputError(
                        f"the configuration {path} has {key.value} twice, again in line {line}; keep one."
                    )
                keys.add(str(key.value))
                waiting.append(value)


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
