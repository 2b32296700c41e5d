import numpy as np
import pytest

from teralign.errors import InputError
from teralign.evaluation import landmark_errors
from teralign.transforms import Affine, Stack


@pytest.fixture
def landmarks(tmp_path):
    """Points, and the same 1 µm further along x, 2 along y and 2 along z: 3 µm."""
    points = np.random.default_rng(0).uniform(0, 100, (50, 3))
    for name, shift in (("fixed", 0), ("moving", np.array([1.0, 2.0, 2.0]))):
        np.savetxt(tmp_path / f"{name}.csv", points + shift, delimiter=",")
    return tmp_path / "fixed.csv", tmp_path / "moving.csv"


def test_errors_before_and_after(landmarks):
    before = landmark_errors(Stack(), *landmarks)
    assert before.n == 50
    assert [getattr(before, k) for k in ("median", "p95", "mean")] == pytest.approx([3, 3, 3])
    after = landmark_errors(Stack((Affine.from_parts(np.eye(3), (2.0, 2.0, 1.0)),)), *landmarks)
    assert after.p95 < 1e-9


def test_one_pair_is_enough_and_columns_have_names(tmp_path):
    (tmp_path / "fixed.csv").write_text("1,2,3\n")
    (tmp_path / "moving.csv").write_text("z,y,x\n3,4,1\n")
    assert landmark_errors(Stack(), tmp_path / "fixed.csv", tmp_path / "moving.csv").mean == 2.0


def test_lists_that_are_no_pairs_are_refused(landmarks, tmp_path):
    (tmp_path / "short.csv").write_text("1,2,3\n")
    with pytest.raises(InputError, match="must be pairs"):
        landmark_errors(Stack(), landmarks[0], tmp_path / "short.csv")


@pytest.mark.parametrize("text", ["1,2\n", "a b c\n", "a,b,c\n1,2,3\n"])
def test_another_file_is_refused(landmarks, tmp_path, text):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=r"not a point|no column x"):
        landmark_errors(Stack(), landmarks[0], tmp_path / "p.csv")


def test_a_missing_file_is_refused(landmarks, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        landmark_errors(Stack(), landmarks[0], tmp_path / "none.csv")
