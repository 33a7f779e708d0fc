"""Transition matrices: literal values, files in any order, and what is wrong with a file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.data import noise
from pipeline.data.noise_matrix import choose, nominal, read_matrix, scaled
from pipeline.data.sources.isic2019 import CLASSES
from pipeline.params.tree import NoiseParams

PRESET = Path("presets/noise/lesion_confusion.csv")


def params(kind: str, rate: float = 0.3, matrix: Path = PRESET, seed: int = 0) -> NoiseParams:
    return NoiseParams(kind=kind, rate=rate, matrix=str(matrix), miss_rate=0.0, false_rate=0.0, per="image", seed=seed)


def matrix_of(kind: str, rate: float, C: int) -> np.ndarray:
    found = nominal(params(kind, rate), [f"c{i}" for i in range(C)])
    assert found is not None
    return found


def test_transition_matrices_are_the_published_ones():
    assert matrix_of("symmetric", 0.3, 4) == pytest.approx(
        np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.1, 0.1, 0.1, 0.7]])
    )
    assert matrix_of("pair", 0.4, 3) == pytest.approx(np.array([[0.6, 0.4, 0], [0, 0.6, 0.4], [0.4, 0, 0.6]]))
    assert matrix_of("none", 0.4, 2).tolist() == [[1, 0], [0, 1]]
    assert nominal(params("instance"), ["a", "b"]) is None
    assert nominal(params("flip"), ["a", "b"]) is None


def test_a_uniform_number_picks_the_class_by_the_cumulative_row():
    transition = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    targets = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    uniforms = np.array([0.0, 0.69, 0.7, 0.95, 0.0, 0.999, 0.49, 0.5])
    assert choose(transition[targets], uniforms).tolist() == [0, 0, 1, 2, 1, 1, 0, 2]


def test_a_zero_diagonal_holds_directions_that_the_rate_scales_and_any_other_matrix_is_taken_as_it_is():
    directions = np.array([[0, 0.75, 0.25], [1, 0, 0], [0.5, 0.5, 0]])
    assert scaled(directions, 0.2) == pytest.approx(np.array([[0.8, 0.15, 0.05], [0.2, 0.8, 0], [0.1, 0.1, 0.8]]))
    assert scaled(directions, 0).tolist() == np.eye(3).tolist()
    whole = np.array([[0, 1, 0], [0, 0.9, 0.1], [0, 0, 1]])
    assert scaled(whole, 0.2).tolist() == whole.tolist()


def test_rows_and_columns_are_matched_by_name(tmp_path):
    path = tmp_path / "noise.csv"
    path.write_text("\ufeffclass,NV,MEL,AK\n\nAK, 0.2 ,0.3,0.5\nMEL,0.1,0.9,0\nNV,1,0.0,0e0\n", encoding="utf-8")
    found = read_matrix(path, ("MEL", "NV", "AK"))
    assert found == pytest.approx(np.array([[0.9, 0.1, 0], [0, 1, 0], [0.3, 0.2, 0.5]]))


def test_a_row_that_is_rounded_is_brought_to_one(tmp_path):
    path = tmp_path / "noise.csv"
    path.write_text("class,a,b\na,0.6666666,0.3333333\nb,0,1\n")
    assert read_matrix(path, ("a", "b")).sum(axis=1).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,a,b\na,0.5,0.5\n", "1 rows and 2 columns, so it is not square: no row for b; the classes of the data"),
        ("class,a\na,1\nb,1\n", "2 rows and 1 columns, so it is not square: no column for b"),
        ("class,a\na,1\n", ": no column for b; the classes of the data are a, b"),
        ("class,a,b\na,0.5,0.5\nb,1\n", "row 'b' has 1 numbers, but there are 2 columns; the matrix must be square"),
        ("class,a,b\na,0.5,0.5,0\nb,0,1\n", "row 'a' has 3 numbers, but there are 2 columns"),
        ("class,a,b\na,0.5,0.5\nc,0,1\n", "row 'c' is not a class; the classes of the data are a, b"),
        ("class,a,B\na,0.5,0.5\nb,0,1\n", "column 'B' is not a class"),
        ("class,a,b,a\na,0.5,0.5,0\nb,0,1,0\n", "column 'a' appears 2 times; once is allowed"),
        ("class,a,b\na,0.5,0.5\na,0.5,0.5\nb,0,1\n", "row 'a' appears 2 times"),
        ("class,a,b\na,0.5,half\nb,0,1\n", "row 'a', column 'b' is 'half'; it must be a probability"),
        ("class,a,b\na,0.5,\nb,0,1\n", "row 'a', column 'b' is ''; it must be a probability, a number in [0, 1]"),
        ("class,a,b\na,1,0\nb,nan,1\n", "row 'b', column 'a' is 'nan'; it must be a probability"),
        ("class,a,b\na,1,0\nb,-0.1,1.1\n", "row 'b', column 'a' is '-0.1'; it must be a probability"),
        ("class,a,b\na,1.5,0\nb,0,1\n", "row 'a', column 'a' is '1.5'; it must be a probability"),
        ("class,a,b\na,0.6,0.3\nb,0,1\n", "row 'a' sums to 0.9; each row must sum to 1 (within 1e-06)"),
        ("class,a,b\na,0,0\nb,1,0\n", "row 'a' sums to 0; each row must sum to 1"),
        ("name,a,b\na,1,0\nb,0,1\n", "the first column is headed 'name'; it should be 'class'"),
        ("class,a,b\n", "the matrix has no rows"),
        ("", "the matrix has no rows"),
    ],
)
def test_a_file_that_is_no_stochastic_matrix_over_the_classes_is_reported(tmp_path, text, message):
    path = tmp_path / "my noise.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_matrix(path, ("a", "b"))
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_file_that_cannot_be_read_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"none.csv: no such file; noise.matrix in params.yaml should lead to it"):
        read_matrix(tmp_path / "none.csv", ("a", "b"))
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UserError, match=r"image.csv: cannot be read as CSV"):
        read_matrix(tmp_path / "image.csv", ("a", "b"))


def test_the_clinical_preset_confuses_what_clinicians_confuse():
    Q = read_matrix(PRESET, CLASSES)
    assert Q.diagonal().tolist() == [0] * 8
    assert Q.sum(axis=1) == pytest.approx(np.ones(8))
    nearest = {given: CLASSES[int(Q[i].argmax())] for i, given in enumerate(CLASSES)}
    assert nearest == {
        "MEL": "NV", "NV": "MEL", "BCC": "SCC", "AK": "SCC", "BKL": "NV", "DF": "NV", "VASC": "NV", "SCC": "AK",
    }  # fmt: skip
    T = nominal(params("matrix", 0.25), CLASSES)
    assert T is not None
    assert T.diagonal() == pytest.approx(np.full(8, 0.75))
    assert T[0, 1] == pytest.approx(0.25 * 0.55)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.floats(0, 0.99), st.booleans(), st.integers(0, 2**31 - 1))
def test_any_matrix_file_is_realised_row_by_row_within_sampling_error(tmp_path_factory, C, rate, directions, seed):
    rng = np.random.default_rng(seed)
    classes, N = [f"c{i}" for i in range(C)], 5000
    matrix = rng.dirichlet(np.full(C, 0.5), C)
    if directions:
        np.fill_diagonal(matrix, 0)
        matrix += 1e-3 * (1 - np.eye(C))
        matrix /= matrix.sum(axis=1, keepdims=True)
    order, path = rng.permutation(C), tmp_path_factory.mktemp("noise") / "noise.csv"
    lines = [",".join(["class", *(classes[j] for j in order)])]
    lines += [",".join([classes[i], *(repr(float(matrix[i, j])) for j in order)]) for i in rng.permutation(C)]
    path.write_text("\n".join(lines))
    T = nominal(params("matrix", rate, path), classes)
    assert T is not None
    assert pytest.approx((1 - rate) * np.eye(C) + rate * matrix if directions else matrix, abs=1e-9) == T
    targets = rng.integers(0, C, N)
    p = params("matrix", rate, path, seed)
    given_labels = noise.corrupt(targets, np.ones(N, dtype=bool), C, p, transition=T)
    for label in range(C):
        own = given_labels[targets == label]
        realised = np.bincount(own, minlength=C) / len(own)
        assert (np.abs(realised - T[label]) <= 5 * np.sqrt(T[label] * (1 - T[label]) / len(own)) + 3 / len(own)).all()
