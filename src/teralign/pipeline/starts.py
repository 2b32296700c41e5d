"""Transforms that a pair begins with: a start of the global alignment, or results that replace alignments.

A transform is a file or a folder on a disk, or, for `global_transform`, the id of another pair of the run, whose
global alignment is then used for both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from teralign.errors import InputError
from teralign.pipeline.entries import RESULT_NAME, check_name
from teralign.pipeline.fingerprint import fingerprint
from teralign.pipeline.lookup import absolute, is_address
from teralign.pipeline.parameters import Given, Parameters
from teralign.pipeline.resolved import Pair, StagedTransform, Transforms

_NAMES = ("initial_transform", "global_transform", "local_transform")


def find_transforms(parameters: Parameters, own_id: str, ids: Iterable[str]) -> Transforms:
    """Find the transforms that a pair begins with; `ids` are the ids of all pairs of the run.

    Those of the run count where the row names none. Raises InputError for a transform that cannot be read, and for
    transforms that exclude each other.
    """
    given = {name: found for name in _NAMES if (found := parameters.own(name))}
    if not given:
        given = {name: found for name in _NAMES if (found := parameters.shared(name))}
    initial, reused, whole = (given.get(name) for name in _NAMES)
    if initial and (reused or whole):
        replaced_by = "local_transform" if whole else "global_transform"
        raise initial.refuse(
            f"nothing starts from it, since the {replaced_by} is used instead; leave one of them out."
        )
    if reused and reused.text in ids:
        if whole:
            raise reused.refuse("beside a local_transform it must be a file, not the id of a pair.")
        if reused.text != own_id:
            return Transforms(reused_pair=reused.text)
        if parameters.own("global_transform"):
            raise reused.refuse(f"{own_id} is this pair itself; name another pair, or a file.")
        return Transforms()  # the pair that the others take their transform from
    if reused and ids and _is_bare(reused) and not absolute(reused.text, reused).exists():
        raise reused.refuse(f"{reused.text} is neither the id of a pair nor a file that exists.")
    if whole:
        return Transforms(whole=(*_staged(reused), *_staged(whole, before=reused)))
    name = "affine.zarr" if _holds_field(initial or reused) else "affine.mat"
    return Transforms(initial=_staged(initial), reused=_staged(reused), global_name=name)


def follow_reuse(pairs: Sequence[Pair], rows: Sequence[Parameters], skipped: Collection[str]) -> list[Pair]:
    """Return the pairs, each reuse of another pair's transform traced to the pair or the files that it comes from.

    Their notes say what each begins with; `skipped` are the alignments ("global", "local") without steps. Raises
    InputError for a pair that aligns nothing of its own to reuse, and for pairs that reuse each other.
    """
    by_id = {pair.id: pair for pair in pairs}
    found = []
    for pair, row in zip(pairs, rows, strict=True):
        transforms = _followed(pair, by_id, row) if pair.transforms.reused_pair else pair.transforms
        found.append(replace(pair, transforms=transforms, notes=(*pair.notes, *_notes(transforms, skipped))))
    return found


def _followed(pair: Pair, by_id: Mapping[str, Pair], row: Parameters) -> Transforms:
    given = row.get("global_transform")
    assert given is not None
    seen, found = {pair.id}, pair.transforms
    while found.reused_pair:
        if found.reused_pair in seen:
            raise given.refuse(f"{found.reused_pair} takes its global transform from {pair.id} in turn.")
        seen.add(found.reused_pair)
        source = by_id[found.reused_pair]
        if source.transforms.whole:
            raise given.refuse(f"{source.id} has a local_transform, and so no global alignment to reuse.")
        if source.transforms.reused:
            return source.transforms
        if not source.transforms.reused_pair:
            return Transforms(reused_pair=source.id, global_name=source.transforms.global_name)
        found = source.transforms
    raise AssertionError("a reuse ends at a pair or at files")


def _notes(transforms: Transforms, skipped: Collection[str]) -> list[str]:
    """Return notes for the log on what a pair starts from, reuses and skips."""
    named = {
        "starts from": transforms.initial,
        "global alignment skipped, reusing": transforms.reused,
        "global and local alignment skipped, using": transforms.whole,
    }
    notes = [f"{what} {', '.join(str(t.path) for t in found)}" for what, found in named.items() if found]
    if transforms.reused_pair:
        notes.append(f"global alignment skipped, reusing that of {transforms.reused_pair}")
    if not transforms.whole:
        reusing = transforms.reused or transforms.reused_pair
        notes += [f"{name} alignment skipped" for name in skipped if not (name == "global" and reusing)]
    return notes


def _staged(given: Given | None, *, before: Given | None = None) -> tuple[StagedTransform, ...]:
    """Return the transforms of a parameter; they are read with those that stand `before` them."""
    paths = _paths(given)
    _check([*_paths(before), *paths], given)
    return tuple(StagedTransform(path, fingerprint(path, "")) for path in paths)


def _paths(given: Given | None) -> list[Path]:
    """Return the files that a parameter names. Raises InputError for names that no task can read."""
    uris = [uri.strip() for uri in given.text.split(";") if uri.strip()] if given else []
    paths = []
    for uri in uris:
        assert given is not None
        check_name(uri, given)
        if is_address(uri):
            raise given.refuse(f"{uri} cannot be read: transforms are read from a disk only.")
        path = absolute(uri, given)
        if not path.exists():
            raise given.refuse(f"{path} does not exist.")
        paths.append(path)
    return paths


def _check(paths: Sequence[Path], given: Given | None) -> None:
    from teralign.transforms import load_stack  # imports the compiled loops, which most runs do not need

    try:
        load_stack(paths)
    except InputError as error:
        assert given is not None
        raise given.refuse(str(error)) from error


def _is_bare(given: Given) -> bool:
    """Return whether a text may be meant as the id of a pair: one name, without a folder."""
    return RESULT_NAME.fullmatch(given.text) is not None


def _holds_field(given: Given | None) -> bool:
    from teralign.transforms import load_stack

    if given is None:
        return False
    paths = _paths(given)
    try:
        return load_stack(paths).affine is None
    except InputError as error:
        raise given.refuse(str(error)) from error
