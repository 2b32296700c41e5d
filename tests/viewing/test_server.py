"""The server of a view: the chunks that apply-transform writes, for those who have the link and nobody else."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import numpy as np
import pytest
import tensorstore
import tifffile

from teralign.cluster import Compute
from teralign.errors import InputError
from teralign.tasks.apply_transform import apply_transform
from teralign.tasks.view_alignment import SeenBeside, open_view, serve_view
from teralign.transforms import Affine, load_stack, node_positions
from teralign.viewing import FieldMagnitude
from teralign.viewing.bricks import in_bricks
from teralign.viewing.server import parse_range
from teralign.volumes import open_volume

LAYERS = [
    *("fixed", "aligned 0", "aligned 1", "moving 0", "moving 1"),
    *("displacement (µm)", "error (µm)", "cells.zarr (aligned)", "fixed", "moving (aligned)"),
]


@pytest.fixture(scope="module")
def link(case) -> Iterator[str]:
    folder = case.folder
    beside = SeenBeside(
        moving_labels=[str(folder / "cells.zarr")],
        points=[folder / "fixed.csv"],
        moving_points=[folder / "moving.csv"],
    )
    view = open_view(case.fixed, case.moving, transforms=[case.transform], beside=beside)
    with serve_view(view) as viewed:
        assert viewed.layers == LAYERS
        yield viewed.link.removesuffix("v/view/")


def ask(link: str, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """The answer to a request below the link, or of an absolute path: status, headers, body."""
    parts = urlsplit(link)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection(parts.netloc, timeout=60)) as connection:
        connection.request(method, path if path.startswith("/") else parts.path + path, headers=names)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def served(link: str, layer: str, level: int) -> np.ndarray:
    """A level of a layer, as another program reads it."""
    url = f"{link}layers/{LAYERS.index(layer)}/s{level}/"
    store = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "http", "base_url": url}}).result()
    return store.read().result()


@pytest.mark.parametrize("level", [0, 1])
def test_aligned_voxels_are_those_that_apply_transform_writes(link, case, tmp_path, scheduler, level):
    for moving, layers, how in (
        (case.moving, ["aligned 0", "aligned 1"], "linear"),
        (case.folder / "cells.zarr", ["cells.zarr (aligned)"], "nearest"),
    ):
        output = tmp_path / f"{moving.stem}.zarr"
        apply_transform(
            case.fixed / f"s{level}",
            moving / f"s{level}",
            transforms=[case.transform],
            output=output,
            interpolation=how,
            compute=Compute(scheduler),
        )
        for channel, layer in enumerate(layers):
            expected = open_volume(output).read(channel=channel)
            assert expected.any()
            np.testing.assert_array_equal(served(link, layer, level), expected)


def test_stored_voxels_are_served_as_they_are_and_placed_in_micrometres(link, case):
    np.testing.assert_array_equal(served(link, "fixed", 0), open_volume(case.fixed).read())
    np.testing.assert_array_equal(served(link, "moving 1", 1), open_volume(case.moving / "s1").read(channel=1))
    status, _, body = ask(link, "layers/0/zarr.json")
    image = json.loads(body)["attributes"]["ome"]["multiscales"][0]
    coarse = open_volume(case.fixed / "s1").grid
    steps = image["datasets"][1]["coordinateTransformations"]
    assert (status, [axis["unit"] for axis in image["axes"]]) == (200, ["micrometer"] * 3)
    np.testing.assert_allclose([steps[0]["scale"], steps[1]["translation"]], [coarse.spacing, coarse.origin])


def test_displacements_are_lengths_beside_the_affine(link, case):
    stack = load_stack([case.transform])
    nodes = node_positions(open_volume(case.fixed).grid.nodes((4, 4, 4)))
    moved = stack.map_points(nodes) - stack.transforms[0].map_points(nodes)
    found = served(link, "displacement (µm)", 0)
    np.testing.assert_allclose(found.ravel(), np.linalg.norm(moved, axis=1), atol=1e-5)
    assert found.max() > 1


def test_lengths_read_at_the_nodes_are_those_of_mapped_points(case):
    """A further map, which moves nothing, leaves no field whose nodes could be read as they are."""
    stack, grid = load_stack([case.transform]), open_volume(case.fixed).grid
    read, mapped = FieldMagnitude(stack, grid), FieldMagnitude(stack @ Affine.identity(), grid)
    region = read.grids[0].region
    np.testing.assert_allclose(read.read(region), mapped.read(region), rtol=1e-4, atol=1e-4)


def test_the_state_shows_fixed_and_aligned_over_each_other(link):
    status, headers, body = ask(link, "state.json")
    state = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert [layer["name"] for layer in state["layers"]] == LAYERS
    assert [layer["name"] for layer in state["layers"] if layer.get("visible", True)] == [
        *("fixed", "aligned 0", "cells.zarr (aligned)", "fixed", "moving (aligned)")
    ]
    assert state["layers"][-3]["type"] == "segmentation"
    assert state["dimensions"]["x"] == [1e-6, "m"]
    window = state["layers"][1]["shaderControls"]["window"]["range"]
    assert 100 <= window[0] < window[1] <= 4100
    fixed, moving = (np.array([a["point"] for a in layer["annotations"]]) for layer in state["layers"][-2:])
    np.testing.assert_allclose(fixed, moving, atol=1e-3)


def test_chunks_are_compressed_for_those_who_take_it_and_come_in_ranges(link):
    path = "layers/0/s0/c/0/0/0"
    status, headers, plain = ask(link, path)
    assert (status, len(plain), "content-encoding" in headers) == (200, 64**3 * 2, False)
    _, headers, zipped = ask(link, path, accept_encoding="br, gzip")
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped) == plain
    status, headers, part = ask(link, path, range="bytes=100-199", accept_encoding="gzip")
    assert (status, part, headers["content-range"]) == (206, plain[100:200], f"bytes 100-199/{len(plain)}")
    assert ask(link, path, range="bytes=-10")[2] == plain[-10:]
    status, headers, _ = ask(link, path, range=f"bytes={len(plain)}-")
    assert (status, headers["content-range"]) == (416, f"bytes */{len(plain)}")
    status, headers, body = ask(link, path, "HEAD")
    assert (status, int(headers["content-length"]), body) == (200, len(plain), b"")


@pytest.mark.parametrize(
    "asked", ["bytes=", "bytes=5", "items=0-1", "bytes=0-1,3-4", "bytes=9-2", "bytes=-0", "bytes=x-2", "bytes=--3"]
)
def test_odd_ranges_are_refused(asked):
    with pytest.raises(ValueError):
        parse_range(asked, 100)


def test_ranges_are_cut_to_the_content():
    assert [parse_range(r, 10) for r in ("bytes=0-", "bytes=4-99", "bytes=-99")] == [
        range(10),
        range(4, 10),
        range(10),
    ]


@pytest.mark.parametrize(
    "path",
    [
        *("layers/10/zarr.json", "layers/0/s9/zarr.json", "layers/0/s0/c/0/0/9", "layers/0/s0/c/0/0", "layers/0/s0"),
        *("layers/0/../../state.json", "layers/-1/zarr.json", "layers/0/s0/c/0/0/%D9%A3", "layers/0/etc/passwd"),
        *("v/view/../../../../etc/passwd", "v/view/%2e%2e/__init__.py", "v/view//etc/passwd", "credentials/view"),
        *("/", "/state.json", "/v/view/", "/wrong-token/state.json", "", "nothing"),
    ],
)
def test_nothing_else_is_served(link, path):
    status, _, body = ask(link, path)
    assert status in (403, 404)
    assert b"root:" not in body
    assert len(body) < 10


def test_only_this_machine_by_its_own_name_and_only_the_page_of_the_viewer(link):
    own = urlsplit(link).netloc
    port = urlsplit(link).port
    assert ask(link, "state.json", host=f"localhost:{port}")[0] == 200
    for host in (f"evil.example:{port}", "evil.example", f"127.0.0.1.evil.example:{port}", ""):
        assert ask(link, "state.json", host=host)[0] in (400, 403)
    assert ask(link, "state.json", origin=f"http://{own}")[1]["access-control-allow-origin"] == f"http://{own}"
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert "access-control-allow-origin" not in ask(link, "state.json", origin=origin)[1]
    with pytest.raises(ConnectionRefusedError):  # the other addresses of the machine are closed
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_another_page_may_read_after_it_has_asked(case):
    view = open_view(case.fixed, case.moving, transforms=[case.transform])
    with serve_view(view, viewer="https://viewer.example/app/") as viewed:
        page, _, address = viewed.link.partition("/#!")
        assert page == "https://viewer.example/app"
        link = address.removesuffix("state.json")
        status, headers, _ = ask(link, "state.json", "OPTIONS", origin="https://viewer.example")
        assert (status, headers["access-control-allow-origin"]) == (204, "https://viewer.example")
        assert headers["access-control-allow-private-network"] == "true"
        assert ask(link, "v/view/")[0] == 404


def test_many_requests_at_once_get_the_same_chunk_made_once(link):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(link, "layers/2/s0/c/0/1/1")[2], range(24)))
    assert len(set(answers)) == 1


def test_a_taken_port_is_an_error_that_names_the_option(link, case):
    view = open_view(case.fixed, case.moving, transforms=[case.transform])
    with pytest.raises(InputError, match="choose another --port"), serve_view(view, port=urlsplit(link).port):
        pass


def test_points_of_the_other_volume_are_refused(case, tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z,space\n1,2,3,moving\n")
    (tmp_path / "b.csv").write_text("x,y,z,space\n1,2,3,fixed\n")
    for beside, option in (
        (SeenBeside(points=[tmp_path / "a.csv"]), "use --moving-points"),
        (SeenBeside(moving_points=[tmp_path / "b.csv"]), "use --points"),
    ):
        with pytest.raises(InputError, match=option):
            open_view(case.fixed, case.moving, transforms=[case.transform], beside=beside)


def test_files_that_are_decoded_by_planes_are_read_in_bricks(case, tmp_path, monkeypatch):
    """The same voxels, each plane decoded once for all cubes of its slab."""
    source = open_volume(case.moving)
    z, y, x = source.grid.spacing
    sizes = {"axes": "ZYX", "PhysicalSizeZ": z, "PhysicalSizeY": y, "PhysicalSizeX": x}
    tifffile.imwrite(tmp_path / "moving.tif", source.read(), ome=True, compression="zlib", metadata=sizes)
    plain = open_volume(tmp_path / "moving.tif")
    bricked = in_bricks(plain)
    boxes = list(plain.grid.region.split((20, 30, 40)))
    reads, kind = [], type(plain.description.pixels)
    read = kind.read

    def counted(self, region, channel, timepoint):
        reads.append(region)
        return read(self, region, channel, timepoint)

    monkeypatch.setattr(kind, "read", counted)
    with ThreadPoolExecutor(4) as pool:
        for box, voxels in zip(boxes, pool.map(bricked.read, boxes), strict=True):
            np.testing.assert_array_equal(voxels, source.read(box))
    assert len(reads) == len(set(reads)) == 3  # of 45 planes, 16 at a time
    assert in_bricks(source) is source
