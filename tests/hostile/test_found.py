"""Inputs that campaigns found, which once ended a command with a traceback or a crash."""

import json

from hostile.seeds import SEEDS


def refused(name, opened, folder):
    command, *arguments = SEEDS[name].calls[0]
    outcome = opened.run(command, arguments, folder)
    assert outcome.fault(codes=(2, 3)) == ""
    return outcome.sentence


def test_a_field_of_more_nodes_than_any_disk_holds(opened, tmp_path):
    SEEDS["field"].write(tmp_path)
    (file,) = tmp_path.glob("field.zarr/**/s0/zarr.json")
    metadata = json.loads(file.read_text())
    for side in (1e308, 10**18, -1, None):
        file.write_text(json.dumps(metadata | {"shape": [*metadata["shape"][:3], side]}))
        assert "field.zarr" in refused("field", opened, tmp_path)


def test_chunks_that_no_memory_holds(opened, tmp_path):
    SEEDS["ome-zarr-0.4"].write(tmp_path)
    file = tmp_path / "image.zarr" / "s0" / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chunks": [2**31 - 1, 8, 8]}))
    assert "save it with smaller chunks" in refused("ome-zarr-0.4", opened, tmp_path)


def test_a_text_of_itk_that_is_none(opened, tmp_path):
    SEEDS["affine-itk-tfm"].write(tmp_path)
    file = tmp_path / "map.tfm"
    file.write_bytes(file.read_bytes().replace(b"AffineTransform_double", b"Affine\xffTransform_double"))
    assert "is not a transform" in refused("affine-itk-tfm", opened, tmp_path)


def test_a_shift_and_a_place_beyond_all_tiles(opened, tmp_path):
    SEEDS["tiles-documents"].write(tmp_path)
    for name, key in (("pairs.json", "shift"), ("tiles.json", "position")):
        file = tmp_path / name
        good = json.loads(file.read_text())
        bad = json.loads(json.dumps(good))
        next(iter(bad[name.removesuffix(".json")]))[key][1] = 1e308
        file.write_text(json.dumps(bad))
        assert "more than a kilometre" in refused("tiles-documents", opened, tmp_path)
        file.write_text(json.dumps(good))


def test_a_row_that_ends_before_its_channel(opened, tmp_path):
    SEEDS["tiles-table"].write(tmp_path)
    file = tmp_path / "scan.csv"
    header, first, second = file.read_text().splitlines()
    file.write_text(f"{header}\n{first.rpartition(',0,0,0,0,')[0]}\n{second}\n")
    assert "lacks the channel 0" in refused("tiles-table", opened, tmp_path)


def test_registrations_whose_product_is_no_number(opened, tmp_path):
    SEEDS["tiles-bigstitcher"].write(tmp_path)
    file = tmp_path / "scan.xml"
    text = file.read_text()
    start = text.index("<affine>") + len("<affine>")
    file.write_text(text[:start] + "1e308 1e308" + text[text.index(" ", text.index(" ", start) + 1) :])
    assert "too large" in refused("tiles-bigstitcher", opened, tmp_path)


def test_an_archive_of_a_version_that_is_none(opened, tmp_path):
    SEEDS["tiles-documents"].write(tmp_path)
    file = tmp_path / "flat.npz"
    content = bytearray(file.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 6] = 148
    file.write_bytes(content)
    outcome = opened.run("fuse-tiles", ("tiles.json", "o.zarr", "--flatfield", "flat.npz", "--dry-run"), tmp_path)
    assert outcome.fault(codes=(2,)) == "" and "no flat field" in outcome.sentence.replace("not a", "no")
