"""The reference, made from the code: commands of click, parameters of the schema, YAML keys of pydantic models."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from teralign.cli.main import GROUPS, load_command

ROOT = Path(__file__).parents[2]
_MADE = "This page is made from the code when the site is built."
_PARTS = ("tasks", "alignment", "cluster", "configuration", "registration", "transforms", "trust", "volumes")
"""Packages that Python users call."""
_MODULES = ("grids", "errors", "results", "plans")


def pages() -> dict[str, str]:
    """Return the text of each page by its place in docs/."""
    return {
        "reference/commands.md": commands(),
        "reference/pipeline.md": pipeline(),
        "reference/configuration.md": configuration(),
        "reference/python.md": python(),
    }


def commands() -> str:
    """Return the page of all commands with all their options."""
    lines = ["# Commands", "", f"{_MADE} `COMMAND --help` prints the same.", ""]
    for title, names in GROUPS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += _command(name)
    return "\n".join(lines)


def _command(name: str) -> Iterator[str]:
    command = load_command(name)
    context = click.Context(command, info_name=name)
    yield from (f"### `{name}`", "", *_paragraphs(inspect.cleandoc(command.help or "")), "")
    usage = " ".join(command.collect_usage_pieces(context))
    yield from ("```text", f"{name} {usage}", "```", "")
    if command.epilog:
        example = command.epilog.split("Example:\n")[1]
        yield from ("```sh", inspect.cleandoc(example), "```", "")
    records = [record for p in command.get_params(context) if (record := p.get_help_record(context))]
    if records:
        yield from ("| option | meaning |", "|---|---|")
        yield from (f"| `{_code(names)}` | {_cell(text)} |" for names, text in records)
        yield ""


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the lines of a help text; click's mark for text that is not wrapped becomes a block of code."""
    for paragraph in re.split(r"\n\s*\n", text):
        if paragraph.startswith("\b"):
            yield from ("```text", paragraph.removeprefix("\b\n"), "```", "")
        else:
            yield from (paragraph.replace("<", "&lt;"), "")


def pipeline() -> str:
    """Return the page of the pipeline's parameters."""
    schema = json.loads((ROOT / "nextflow_schema.json").read_text(encoding="utf-8"))
    lines = ["# Pipeline parameters", "", f"{_MADE} `bin/pipeline-help` prints the same.", ""]
    for group in schema["$defs"].values():
        lines += [f"## {group['title']}", "", group.get("description", ""), ""]
        lines += ["| parameter | type | default | meaning |", "|---|---|---|---|"]
        for name, rule in group["properties"].items():
            if not rule.get("hidden"):
                lines.append(_pipeline_row(name, rule))
        lines.append("")
    return "\n".join(lines)


def _pipeline_row(name: str, rule: Mapping[str, Any]) -> str:
    kind = rule.get("type", "")
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    if "enum" in rule:
        kind = ", ".join(f"`{value}`" for value in rule["enum"])
    limits = [f"{word} {rule[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in rule]
    default = rule.get("default")
    shown = "" if default in (None, "") else f"`{str(default).removeprefix('${projectDir}/')}`"
    old = "An older name. " if rule.get("deprecated") else ""
    return f"| `--{name}` | {' '.join([kind, *limits])} | {shown} | {old}{_cell(rule.get('description', ''))} |"


def configuration() -> str:
    """Return the page of the keys of the YAML file: one table for each step and section."""
    from teralign.configuration.sections import SECTION_MODELS
    from teralign.registration.config import STEP_MODELS

    lines = ["# Keys of the configuration", "", _MADE, ""]
    lines += ["[Parameters](../parameters.md) says when to change each key. Lengths are µm, triples z, y, x.", ""]
    notes = _yaml_comments(ROOT / "configs" / "bigstream_config.yml")
    models = {**STEP_MODELS, **{name: SECTION_MODELS[name] for name in ("global_align", "local_align")}}
    for name, model in models.items():
        lines += [
            f"## `{name}`",
            "",
            inspect.cleandoc(model.__doc__ or ""),
            "",
            *_keys(model, notes.get(name, {})),
            "",
        ]
    return "\n".join(lines)


def _keys(model: type[BaseModel], notes: Mapping[str, str]) -> Iterator[str]:
    schema = model.model_json_schema()
    yield from ("| key | type | default | meaning |", "|---|---|---|---|")
    for name, rule in schema["properties"].items():
        default = rule.get("default")
        shown = "auto or none" if default is None else f"`{_code(json.dumps(default))}`"
        yield f"| `{name}` | {_type(rule, schema.get('$defs', {}))} | {shown} | {_cell(notes.get(name, ''))} |"


def _type(rule: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a JSON schema in words."""
    if "$ref" in rule:
        inner = definitions[rule["$ref"].rsplit("/", 1)[1]]
        return "mapping of " + ", ".join(f"`{key}`" for key in inner.get("properties", {}))
    for key in ("anyOf", "allOf", "oneOf"):
        if key in rule:
            words = [_type(part, definitions) for part in rule[key] if part.get("type") != "null"]
            return " or ".join(dict.fromkeys(words))
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    if "const" in rule:
        return f"`{rule['const']}`"
    if rule.get("type") == "array":
        return _array(rule, definitions)
    names = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
    text = names.get(rule.get("type", ""), rule.get("type", "any"))
    limits = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    bounds = [f"{sign} {rule[key]:g}" for key, sign in limits if key in rule]
    return " ".join([text, ", ".join(bounds)]).strip()


def _array(rule: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    items = rule.get("prefixItems")
    if items:
        kinds = list(dict.fromkeys(_type(item, definitions) for item in items))
        return f"list of {len(items)}: {' or '.join(kinds)}"
    return f"list of {_type(rule.get('items', {}), definitions)}"


def _yaml_comments(path: Path) -> dict[str, dict[str, str]]:
    """Return the comment behind each key of each top-level section of a YAML file; links (*name) share theirs."""
    notes: dict[str, dict[str, str]] = {}
    anchors: dict[str, str] = {}
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"^(\w+):\s*(?:([&*])(\w+))?", line):
            section = match[1]
            notes[section] = {}
            if match[2] == "&":
                anchors[match[3]] = section
            elif match[2] == "*":
                notes[section] = notes[anchors[match[3]]]
        elif match := re.match(r"^  (\w+):.*?\s#\s(.*)$", line):
            notes[section][match[1]] = match[2]
    return notes


def python() -> str:
    """Return the page of the Python names, which mkdocstrings fills from the docstrings."""
    source = ROOT / "src" / "teralign"
    lines = ["# Python", "", f"{_MADE} [Teralign from Python](../python.md) shows how they are used.", ""]
    for module in _python_modules(source):
        lines += [f"::: {module}", ""]
    return "\n".join(lines)


def _python_modules(source: Path) -> Iterator[str]:
    if (source / "api").is_dir():
        yield "teralign.api"
    for part in _PARTS:
        if part == "tasks":
            names = (name.replace("-", "_") for group in GROUPS.values() for name in group)
            yield from (f"teralign.tasks.{name}" for name in names if (source / part / f"{name}.py").exists())
        elif (source / part).is_dir():
            yield f"teralign.{part}"
    yield from (f"teralign.{name}" for name in _MODULES)


def _code(text: str) -> str:
    """Return text for a code span in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _cell(text: str) -> str:
    """Return text for a cell of a table, in which Markdown finds no mark of its own but code spans."""
    parts = _code(text).split("`")
    parts[::2] = [re.sub(r"([\[\]*_])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)
