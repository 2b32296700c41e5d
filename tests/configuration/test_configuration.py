import logging
from pathlib import Path

import numpy as np
import pytest
import yaml

from teralign.configuration import load_config
from teralign.errors import InputError
from teralign.registration.config import STEP_MODELS, AffineConfig, DeformConfig, RansacConfig

SENTENCES = yaml.safe_load((Path(__file__).parent / "sentences.yml").read_text(encoding="utf-8"))
SHIPPED = Path(__file__).parents[2] / "configs" / "bigstream_config.yml"

# The keys of a published bigstream configuration, with values of our own.
BIGSTREAM = """
ransac: &ransac
  blob_sizes: [4, 12]
  nspots: 4000
  num_sigma_max: 6
  cc_radius: 14
  safeguard_exceptions: false
  match_threshold: 0.65
  max_spot_match_distance:
  point_matches_threshold: 40
  align_threshold: 2.5
  diagonal_constraint: 0.3
  fix_spots_count_threshold: 60
  fix_spot_detection_kwargs:
    blob_method: log
    background_subtract: false
    threshold: 0.0002
    threshold_rel: 0.002
    winsorize_limits: [0.02, 0.02]
  mov_spots_count_threshold: 60
affine: &affine
  initial_condition: CENTER
  alignment_spacing: 2
  shrink_factors: [2]
  smooth_sigmas: [2]
  metric: MMI
  optimizer: RSGD
  optimizer_args:
    learningRate: 0.25
    minStep: 1e-4
    numberOfIterations: 1000
rigid:
  <<: *affine
deform:
  <<: *affine
  initial_condition: null
  control_point_spacing: 50
  control_point_levels: [1]
global_align:
  ransac:
    point_matches_threshold: 25
  affine:
    optimizer_args:
      learningRate: 0.5
local_align:
  steps: [ransac, affine, deform]
  block_size: [64, 96, 128]
  block_overlap: 0.25
  transform_overlap: 0.1
  deform:
    sampling: NONE
    sampling_percentage: 1.0
  demons:
    iterations: [30, 20]
"""


@pytest.fixture
def load(tmp_path):
    def from_text(text):
        path = tmp_path / "config.yml"
        path.write_text(text)
        return load_config(path)

    return from_text


def test_the_shipped_file_holds_the_defaults():
    shipped, built_in = load_config(SHIPPED), load_config()
    for section in ("global_align", "local_align"):
        assert shipped.steps(section) == built_in.steps(section)
        assert shipped.steps(section, list(STEP_MODELS)) == [model() for model in STEP_MODELS.values()]
    for key in ("block_size", "block_overlap"):
        assert getattr(shipped, key) == getattr(built_in, key)


def test_the_shipped_file_shows_every_key():
    shipped = load_config(SHIPPED)
    for name, model in STEP_MODELS.items():
        assert set(shipped.defaults[name]) == set(model.model_fields)


def test_a_bigstream_file_loads_and_merges(load):
    config = load(BIGSTREAM)
    ransac, affine = config.steps("global_align")
    assert isinstance(ransac, RansacConfig)
    assert isinstance(affine, AffineConfig)
    assert (ransac.point_matches_threshold, ransac.nspots, ransac.blob_sizes) == (25, 4000, (4, 12))
    assert affine.optimizer_args == {"learningRate": 0.5, "minStep": 1e-4, "numberOfIterations": 1000}
    local = config.steps("local_align")
    assert [step.name for step in local] == ["ransac", "affine", "deform"]
    assert local[0].point_matches_threshold == 40
    assert (config.block_size, config.block_overlap) == ((64, 96, 128), 0.25)


def test_keys_without_effect_are_noted_once(load, caplog):
    caplog.set_level(logging.INFO)
    load(BIGSTREAM)
    notes = [r.message for r in caplog.records]
    assert sum("safeguard_exceptions" in n for n in notes) == 1
    assert any("blob_method has no effect: blobs are always found by" in n for n in notes)
    assert any("local_align.demons has no effect" in n for n in notes)
    assert sum("local_align.transform_overlap has no effect: fields are" in n for n in notes) == 1


def test_steps_on_the_command_line_win(load):
    config = load("global_align: {steps: [ransac], affine: {metric: C}}")
    assert [s.name for s in config.steps("global_align", ["rigid", "affine", "affine"])] == [
        "rigid",
        "affine",
        "affine",
    ]
    assert config.steps("global_align", ["affine", "affine"])[1].metric == "C"


def test_repeated_steps_can_each_have_their_own_values(load):
    config = load(
        """
affine: {metric: C, alignment_spacing: 8}
global_align:
  affine: {shrink_factors: [2]}
  steps:
    - ransac
    - affine: {metric: MMI}
    - affine: {alignment_spacing: 2.0}
    - affine
"""
    )
    _, first, second, third = config.steps("global_align")
    assert (first.metric, first.alignment_spacing, first.shrink_factors) == ("MMI", 8, (2,))
    assert (second.metric, second.alignment_spacing, second.shrink_factors) == ("C", 2, (2,))
    assert (third.metric, third.alignment_spacing, third.shrink_factors) == ("C", 8, (2,))


@pytest.mark.parametrize("section", ["global_align", "local_align"])
def test_an_empty_list_of_steps_is_kept_and_an_absent_one_is_the_default(load, section, caplog):
    assert load(f"{section}: {{steps: []}}").steps(section) == []
    assert load_config({section: {"steps": []}}).steps(section) == []
    assert load_config().steps(section, ()) == []
    assert load(f"{section}: {{steps: [affine]}}").steps(section, []) == []
    assert load(f"{section}:").steps(section) == load_config().steps(section) != []
    assert not caplog.records
    assert load(f"{section}:\n  steps:\n  # - affine\n").steps(section) == []
    assert f"{section}.steps lists none: skipped; without the key: " in caplog.text
    assert load(f"{section}: {{steps: ''}}").steps(section) == [], "as --steps ''"


def test_sections_may_be_empty(load):
    assert load("").steps("global_align") == load_config().steps("global_align")
    assert [s.name for s in load("ransac:\nlocal_align:\n").steps("local_align")] == ["deform"]


@pytest.mark.parametrize(("text", "sentence"), [(c["config"], c["sentence"]) for c in SENTENCES["wrong"]])
def test_what_is_wrong_is_one_sentence(load, tmp_path, text, sentence):
    with pytest.raises(InputError) as caught:
        load(text)
    message = str(caught.value)
    assert str(tmp_path / "config.yml") in message
    assert message.endswith(sentence) or (sentence.endswith(": ") and sentence in message)
    assert "\n" not in message


@pytest.mark.parametrize(("text", "sentence"), [(c["config"], c["sentence"]) for c in SENTENCES["unfitting"]])
def test_what_does_not_fit_together_is_one_sentence(load, tmp_path, text, sentence):
    with pytest.raises(InputError) as caught:
        load(text).steps("global_align", None if "steps" in text else ["affine"])
    assert str(caught.value).endswith(sentence.replace("{file}", str(tmp_path / "config.yml")))


def test_an_unknown_step_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"--steps: there is no step 'deforme'; did you mean 'deform'\?"):
        load_config().steps("local_align", ["affine", "deforme"])


def test_a_mapping_means_what_a_file_does(load):
    content = yaml.safe_load(BIGSTREAM)
    mapping, file = load_config(content), load(BIGSTREAM)
    for section in ("global_align", "local_align"):
        assert mapping.steps(section) == file.steps(section)
    assert mapping.block_size == file.block_size
    with pytest.raises(InputError, match=r"^the configuration: ransac has no key 'nspot'; did you mean 'nspots'\?"):
        load_config({"ransac": {"nspot": 3}})


def test_rotations_are_degrees_and_the_former_keys_keep_their_units(load):
    former = load("ransac: {max_rotation: 20}\nrandom: {max_rotation: [1e-1, 0.2, 0]}")
    assert former.steps("global_align", ["ransac"])[0].max_rotation_degrees == 20
    degrees = former.steps("global_align", ["random"])[0].max_rotation_degrees
    assert degrees == pytest.approx(np.degrees([0.1, 0.2, 0]))
    layers = load("random: {max_rotation: 0.1}\nglobal_align: {random: {max_rotation_degrees: 3}}")
    assert layers.steps("global_align", ["random"])[0].max_rotation_degrees == 3
    assert load("random: {max_rotation: null}").steps("global_align", ["random"])[0].max_rotation_degrees is None


def test_a_spacing_is_one_value_or_one_an_axis(load):
    for name in STEP_MODELS:
        for given, value in (("2", 2.0), ("[0.9, 0.8, 0.8]", (0.9, 0.8, 0.8)), ("[9e-1, 1, 1]", (0.9, 1.0, 1.0))):
            (step,) = load(f"{name}: {{alignment_spacing: {given}}}").steps("local_align", [name])
            assert step.alignment_spacing == value


def test_greedy_is_the_former_name_of_gauss_newton(load):
    (step,) = load("deform: {engine: greedy}").steps("local_align")
    assert step == DeformConfig(engine="gauss_newton")


def test_null_is_the_default_of_what_the_voxels_do_not_decide(load):
    (step,) = load("deform: {min_jacobian: null, max_step: null}").steps("local_align")
    assert step == DeformConfig()


def test_empty_lists_of_levels_are_not_given(load):
    (step,) = load("deform: {shrink_factors: [], iterations: []}").steps("local_align")
    assert step.levels == DeformConfig().levels


def test_a_path_may_be_text(tmp_path):
    path = tmp_path / "config.yml"
    path.write_text("ransac: {nspots: 7}")
    assert load_config(str(path)).steps("global_align")[0].nspots == 7


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"the configuration .*none.yml cannot be read: No such file or directory."):
        load_config(tmp_path / "none.yml")


def test_the_engine_can_be_chosen(load):
    (step,) = load("deform: {engine: simpleitk}").steps("local_align")
    assert isinstance(step, DeformConfig)
    assert step.engine == "simpleitk"
