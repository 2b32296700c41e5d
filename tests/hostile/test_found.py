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
