import json

import pytest

from teralign.errors import InputError
from teralign.report import read_record


def test_the_command_of_a_record_names_the_users_files(reported, tmp_path):
    content = json.loads((reported.folder / "transform.blocks.json").read_text())
    work = "/scratch/ab/12"
    content["run"]["inputs"]["fixed"]["uri"] = "s3://lab/round 1.zarr/s1"
    content["run"]["inputs"]["initial_transforms"] = ["pair/affine.mat"]
    content["output"] = "pair/transform.zarr"
    command = [
        *("/opt/bin/local-align", "--fixed", f"{work}/fixed/round 1.zarr/s1", "--moving", f"{work}/moving/b.zarr/s1"),
        *(
            "--initial-transform",
            f"{work}/affine.mat",
            "--steps",
            "affine,deform",
            "--output",
            f"{work}/transform.zarr",
        ),
    ]
    content["run"]["command"] = command
    (tmp_path / "record.json").write_text(json.dumps(content))
    record = read_record(tmp_path / "record.json", "--blocks")
    moving = content["run"]["inputs"]["moving"]["uri"]
    assert record.command == (
        f"local-align --fixed 's3://lab/round 1.zarr/s1' --moving {moving} --initial-transform pair/affine.mat "
        "--steps affine,deform --output pair/transform.zarr"
    )
    content["run"]["command"] = ["/usr/bin/pytest", "-q"]
    (tmp_path / "record.json").write_text(json.dumps(content))
    assert read_record(tmp_path / "record.json", "--blocks").command == ""


@pytest.mark.parametrize("content", ["[]", "{}", "no JSON", '{"run": 1}'])
def test_another_file_is_refused_by_the_name_of_its_option(content, tmp_path):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=r"--blocks .*x\.json is not the JSON that"):
        read_record(tmp_path / "x.json", "--blocks")
