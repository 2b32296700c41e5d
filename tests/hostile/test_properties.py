"""Metadata, headers and tables of any content, by hypothesis: each ends in a result or a sentence.

`make fuzz` runs these with a hundred times as many examples, drawn anew (TERALIGN_EXAMPLES).
"""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hostile.mutations import json_paths, replaced
from hostile.seeds import SEEDS
from teralign.pipeline.samplesheet import COLUMNS

_FEW = 12
EXAMPLES = int(os.environ.get("TERALIGN_EXAMPLES", _FEW))

bounded = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES == _FEW,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-3, 20),
    st.floats(),
    st.sampled_from([0, 1, -1, 255, 2**31 - 1, 2**31, 2**63 - 1, 2**64, 1e308, 5e-324]),
)
words = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["gzip", "blosc", "uint16", "<u2", "|O", "micrometer", "nm", "s0", "..", "/", "z", "t", "scale"]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)
changes = st.lists(st.tuples(st.integers(0, 10**6), values), min_size=1, max_size=3)

FILES = [
    ("n5", "image.n5/raw/attributes.json"),
    ("ome-zarr-0.4", "image.zarr/.zattrs"),
    ("ome-zarr-0.4", "image.zarr/s0/.zarray"),
    ("ome-zarr-0.5", "image.zarr/zarr.json"),
    ("ome-zarr-0.6", "image.zarr/zarr.json"),
    ("zarr-v3-sharded", "image.zarr/raw/zarr.json"),
    ("precomputed-gz", "image/info"),
    ("precomputed-sharded", "image/info"),
    ("field", "field.zarr/zarr.json"),
    ("field-bigstream", "field.n5/s0/attributes.json"),
    ("samplesheet", "parameters.json"),
]


def prepared(name: str, folder: Path):
    """Write a good input once for all examples, and return the command that reads it."""
    if not any(folder.iterdir()):
        SEEDS[name].write(folder)
    return SEEDS[name].calls[0]


@bounded
@given(changed=changes)
@pytest.mark.parametrize(("name", "file"), FILES, ids=[f"{name}-{Path(file).name}" for name, file in FILES])
def test_metadata_with_any_values(name, file, changed, opened, tmp_path):
    command, *arguments = prepared(name, tmp_path)
    whole = tmp_path / file
    kept = tmp_path / f"{whole.name}.good"
    if not kept.exists():
        kept.write_bytes(whole.read_bytes())
    document = json.loads(kept.read_text())
    for number, value in changed:
        paths = list(json_paths(document))
        if paths:
            document = replaced(document, paths[number % len(paths)], value)
    whole.write_text(json.dumps(document))
    assert opened.run(command, arguments, tmp_path).fault(codes=SEEDS[name].codes) == ""


fields = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *(
                    "type",
                    "dimension",
                    "sizes",
                    "spacings",
                    "endian",
                    "encoding",
                    "space",
                    "space directions",
                    "kinds",
                ),
                *("space origin", "space units", "units", "data file", "byte skip", "line skip", "measurement frame"),
            ]
        ),
        st.one_of(
            st.lists(numbers, max_size=5).map(lambda found: " ".join(map(str, found))),
            st.sampled_from(
                [
                    *("uint16", "block", "gzip", "bzip2", "raw", "ascii", "hex", "little", "8 8 8", "3", "none"),
                    *("(1,0,0) (0,1,0) (0,0,1)", "(nan,0,0) none (0)", "../../x", "LIST", "a%03d 1 9 1", '"um" "um"'),
                ]
            ),
            st.text(max_size=20),
        ),
    ),
    max_size=10,
)


@bounded
@given(found=fields, voxels=st.binary(max_size=64))
@example(found=[("type", "uint16"), ("dimension", "3"), ("sizes", "2 2 2"), ("encoding", "raw")], voxels=bytes(16))
def test_headers_of_nrrd_with_any_fields(found, voxels, opened, tmp_path):
    header = "".join(f"{name}: {value}\n" for name, value in found)
    content = f"NRRD0004\n{header}\n".encode("utf-8", "surrogatepass") + voxels
    (tmp_path / "image.nrrd").write_bytes(content)
    arguments = ["image.nrrd", "--spacing", "1,1,1", "--histogram"]
    assert opened.run("inspect-volume", arguments, tmp_path).fault(codes=(0, 2, 3)) == ""


cells = st.one_of(
    st.text(max_size=20),
    numbers.map(str),
    st.sampled_from(["fixed/image.zarr", "moving/image.zarr", "s0", "a", "0,0,0", "nearest", "x.zarr:name=y", "a;b"]),
)


@bounded
@given(
    columns=st.lists(st.one_of(st.sampled_from(sorted(COLUMNS)), st.text(max_size=8)), max_size=6),
    rows=st.lists(st.lists(cells, max_size=9), max_size=4),
    separator=st.sampled_from(",;\t"),
)
def test_samplesheets_of_any_cells(columns, rows, separator, opened, tmp_path):
    command, *arguments = prepared("samplesheet", tmp_path)
    text = io.StringIO()
    table = csv.writer(text, delimiter=separator)
    table.writerow(["id", "fixed", "moving", *columns])
    table.writerows([["pair", "fixed/image.zarr", "moving/image.zarr", *row] for row in rows])
    (tmp_path / "pairs.csv").write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
    assert opened.run(command, arguments, tmp_path).fault(codes=(0, 2)) == ""
