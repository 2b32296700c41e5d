"""Configurations and samplesheets with hostile content."""

import json

import pytest

from hostile.arena import seen
from hostile.mutations import nested
from hostile.seeds import SEEDS

LAUGHS = "a0: &a0 [lol, lol, lol]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20)
)
MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 20)
)

CONFIGURATIONS = {
    "billion laughs": LAUGHS,
    "billion merges": MERGES,
    "an anchor in itself": "base: &a\n  affine: *a\n",
    "a list in itself": "base: &a [*a]\n",
    "deep lists": nested(20_000),
    "deep maps": "".join("  " * n + "a:\n" for n in range(1500)),
    "python object": "affine: !!python/object/apply:os.system ['touch canary']\n",
    "python name": "affine: !!python/name:os.system\n",
    "python module": "!!python/module:antigravity\n",
    "a tag of its own": "affine: !touch canary\n",
    "a key twice": "affine:\n  shrink_factors: [2]\naffine:\n  shrink_factors: [1]\n",
    "a key that is a list": "? [1, 2]\n: 3\n",
    "a key that is a map": "? {a: 1}\n: 3\n",
    "a number as key": "1: 2\n",
    "null as key": "~: 2\n",
    "an impossible date": "affine: 2001-99-99\n",
    "a date": "affine: 2001-01-01\n",
    "no float": "affine: !!float x\n",
    "no int": "affine: !!int x\n",
    "no binary": "affine: !!binary ü\n",
    "binary": "affine: !!binary aGVsbG8=\n",
    "a set": "affine: !!set {a, b}\n",
    "not a number": "affine:\n  shrink_factors: [.nan, 1]\n",
    "infinite": "ransac:\n  nspots: .inf\n",
    "a huge number": "ransac:\n  nspots: 1" + "0" * 400 + "\n",
    "beyond what Python parses": "ransac:\n  nspots: 1" + "0" * 5000 + "\n",
    "negative": "ransac:\n  nspots: -5\n",
    "a merge of a number": "affine:\n  <<: 5\n",
    "an anchor that is missing": "affine: *gone\n",
    "a control character": "affine: \x07\n",
    "zeros": "\0" * 1000,
    "a mark of UTF-16": "\ufeffaffine: {}\n",
    "several documents": "affine: {}\n---\naffine: {}\n",
    "a directive": "%YAML 9.9\n---\naffine: {}\n",
    "only a text": "affine\n",
    "a list": "- affine\n",
    "tabs": "affine:\n\tshrink_factors: [1]\n",
    "shell": "affine:\n  $(touch canary): '`touch canary`'\n",
    "a long key": f"{'a' * 100_000}: 1\n",
    "a long value": f"affine: {'a' * 100_000}\n",
    "very many keys": "".join(f"k{n}: 1\n" for n in range(30_000)),
    "larger than any": "# " + "a" * (2 << 20) + "\n",
    "steps of every kind": "global_align: {steps: [[[[{}]]], null, 1, {}, {ransac: []}, {affine: {affine: {}}}]}\n",
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_hostile_configuration_ends_in_a_result_or_a_sentence(name, opened, tmp_path):
    SEEDS["yaml"].write(tmp_path)
    (tmp_path / "config.yml").write_text(CONFIGURATIONS[name])
    before = seen(tmp_path)
    ((command, *arguments),) = SEEDS["yaml"].calls
    assert opened.run(command, arguments, tmp_path).fault(codes=(0, 2)) == ""
    assert seen(tmp_path) == before


ROWS = {
    "a quote that stays open": 'id,fixed,moving\n"a,fixed/image.zarr,moving/image.zarr\n',
    "zeros": "id,fixed,moving\na\0,fixed/image.zarr,moving/image.zarr\n",
    "a long cell": f"id,fixed,moving\na,{'x' * 200_000},moving/image.zarr\n",
    "many columns": "id,fixed,moving" + ",x" * 10_000 + "\n",
    "many rows without volumes": "id,fixed,moving\n" + "".join(f"a{n},f,m\n" for n in range(5000)),
    "only separators": ",,,,,\n,,,,,\n",
    "a separator of its own": "sep=\0\nid,fixed,moving\n",
    "an empty separator": "sep=\nid,fixed,moving\na,b,c\n",
    "a quote as separator": 'sep="\nid,fixed,moving\na,b,c\n',
    "a column twice": "id,id,fixed,moving\na,b,c,d\n",
    "a column that runs": "id,fixed,moving,$(touch canary)\na,b,c,d\n",
    "nothing": "",
    "a mark of UTF-16": "\ufeffid,fixed,moving\na,b,c\n",
    "a device": "id,fixed,moving\na,/dev/zero,/dev/stdin\n",
    "a device with an ending": "id,fixed,moving\na,/dev/zero.tif,/dev/zero\n",
    "a folder of the system": "id,fixed,moving\na,/proc/self/mem,/proc\n",
    "a file of passwords": "id,fixed,moving\na,/etc/passwd,/etc/shadow\n",
    "an address of a file": "id,fixed,moving\na,file:///etc/passwd,moving/image.zarr\n",
    "an address that is no address": "id,fixed,moving\na,s3://,http://\n",
    "an address with a user": "id,fixed,moving\na,http://u:p@[::1]:99999/a.zarr,moving/image.zarr\n",
    "an option": "id,fixed,moving\na,--help,-rf\n",
    "a home": "id,fixed,moving\na,~nobody/../../etc,~\n",
    "only dots": "id,fixed,moving\na,..,.\n",
}
IDS = [
    "a b",
    " a",
    "a;touch canary",
    "a&&touch canary",
    "a|touch canary",
    "$(touch canary)",
    "`touch canary`",
    "a'b",
    'a""b',
    "a\nb",
    "a\rb",
    "a\tb",
    "../canary",
    "..",
    ".",
    "/tmp/canary",
    "-rf",
    "--help",
    "ä",
    "日本",
    "🧠",
    "a\u202eb",
    "a\u0000b",
    "x" * 300,
    "x" * 100_000,
    "a*",
    "a?",
    "[a]",
    "{a,b}",
    "~",
    "a\\b",
    "%s%n",
    "${PWD}",
    "#a",
    "!a",
    "a=b",
    "a>canary",
    "<a",
    "a/b",
    "\u2028",
    "CON",
    "report",
    "rounds",
    "pipeline_info",
    "NaN",
    "null",
    "true",
    "0",
]


def resolved(text, opened, folder):
    """What became of a samplesheet, which may write nothing."""
    SEEDS["samplesheet"].write(folder)
    (folder / "pairs.csv").write_text(text)
    before = seen(folder)
    outcome = opened.run("resolve", ["parameters.json"], folder)
    assert seen(folder) == before
    return outcome


@pytest.mark.parametrize("name", ROWS)
def test_a_hostile_samplesheet_is_refused_in_one_sentence(name, opened, tmp_path):
    assert resolved(ROWS[name], opened, tmp_path).fault(codes=(2,)) == ""


def cell(text):
    """A cell of a table, quoted."""
    quoted = text.replace('"', '""')
    return f'"{quoted}"'


@pytest.mark.parametrize("name", IDS, ids=[f"id{n}" for n in range(len(IDS))])
def test_an_id_is_a_plain_name_of_a_folder_or_is_refused(name, opened, tmp_path):
    text = f"id,fixed,moving\n{cell(name)},fixed/image.zarr,moving/image.zarr\n"
    outcome = resolved(text, opened, tmp_path)
    assert outcome.fault(codes=(0, 2)) == ""
    if outcome.code == 0:
        (pair,) = json.loads(outcome.stdout)["pairs"]
        assert pair["id"].replace("_", "").isalnum()
        assert pair["id"].isascii()
        assert len(pair["id"]) <= 200
