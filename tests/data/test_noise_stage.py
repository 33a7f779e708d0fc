"""Stage `noise` as a whole: labels.csv byte for byte, noise.json's numbers, the table it prints."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.labels import decode
from pipeline.common.layout import Layout
from pipeline.data.noise_summary import table
from pipeline.params.tree import Params
from pipeline.stages import noise
from tests.data.made_files import write_prepared, write_split

MATRIX = "class,a,b,c\na,0,0.5,0.5\nb,1,0,0\nc,1,0,0\n"


@pytest.fixture(scope="session")
def parameters(make_params) -> Callable[..., Params]:
    """Return a function that gives the parameters of a stage whose matrix and corrections are files of `folder`."""

    def make(folder: Path, task: str, **changes: object) -> Params:
        rates = {"rate": 0.4, "miss_rate": 0.4, "false_rate": 0.1, "matrix": str(folder / "noise.csv")}
        return make_params(task=task, noise=rates | changes, data={"corrections": str(folder / "corrections.csv")})

    return make


def workplace(folder: Path, task: str, N: int, C: int, seed: int) -> tuple[Layout, np.ndarray, np.ndarray]:
    """Write the artefacts of prepare and split and corrections.csv; return also published targets and the splits."""
    rng = np.random.default_rng(seed)
    classes = tuple("abcdefghijkl"[:C])
    targets = rng.integers(0, C, N) if task == "multiclass" else (rng.random((N, C)) < 0.3).astype(np.float32)
    split = rng.permutation(np.array(["train", "val", "test"])[np.arange(N) % 3])
    layout = Layout(folder / "artifacts")
    images = rng.integers(0, 256, (N, 4, 4, 1), dtype=np.uint8)
    write_prepared(layout, classes, decode(targets, classes), images=images)
    write_split(layout, split)
    (folder / "corrections.csv").write_text("sample_id,label\n")
    return layout, targets, split


def matrix_file(folder: Path, C: int) -> None:
    classes = "abcdefghijkl"[:C]
    rows = [",".join([name, *("0" if name == other else repr(1 / (C - 1)) for other in classes)]) for name in classes]
    (folder / "noise.csv").write_text("\n".join([",".join(["class", *classes]), *rows]))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["none", "symmetric", "pair", "matrix", "instance", "flip"]),
    st.integers(2, 12),
    st.integers(60, 300),
    st.integers(0, 2**31 - 2),
)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path_factory, parameters, kind, C, N, seed):
    task = "multilabel" if kind == "flip" else "multiclass"
    folder = tmp_path_factory.mktemp("work")
    layout, _, split = workplace(folder, task, N, C, seed)
    matrix_file(folder, C)
    written = []
    for own_seed in (seed, seed, seed + 1):
        noise.run(parameters(folder, task, kind=kind, seed=own_seed), layout)
        written.append((layout.labels.read_bytes(), layout.noise.read_bytes()))
    assert written[0] == written[1]
    assert (written[0][0] == written[2][0]) == (kind == "none")
    labels = pd.read_csv(layout.labels, keep_default_na=False)
    test = split == "test"
    assert (labels["given"][test] == labels["published"][test]).all()
    assert (labels["flipped"] == (labels["given"] != labels["published"])).all()
    summary = json.loads(layout.noise.read_text())
    assert summary["realised"]["test"] == 0
    assert summary["realised"]["train"] == pytest.approx(labels["flipped"][split == "train"].mean())


def test_noise_json_counts_train_and_val_before_corrections(tmp_path, parameters, capsys):
    layout, targets, split = workplace(tmp_path, "multiclass", 900, 3, 0)
    (tmp_path / "noise.csv").write_text(MATRIX)
    noise.run(parameters(tmp_path, "multiclass", kind="matrix"), layout)
    summary = json.loads(layout.noise.read_text())
    given_labels = pd.read_csv(layout.labels)["given"]
    assert list(summary) == ["kind", "realised", "corrected", "classes", "transition", "nominal"]
    assert summary["classes"] == ["a", "b", "c"]
    assert summary["nominal"] == [[0.6, 0.2, 0.2], [0.4, 0.6, 0.0], [0.4, 0.0, 0.6]]
    expected = pd.crosstab(pd.Series(targets)[split != "test"], given_labels[split != "test"])
    assert summary["transition"] == expected.to_numpy().tolist()
    assert np.sum(summary["transition"]) == 600
    assert summary["transition"][1][2] == summary["transition"][2][1] == 0
    assert "% of a published class (row) given as a class (column)" in capsys.readouterr().out

    row = int(np.flatnonzero((split == "val") & (targets == 0) & (given_labels != "a"))[0])
    (tmp_path / "corrections.csv").write_text(f"sample_id,label\ns{row},c\n")
    noise.run(parameters(tmp_path, "multiclass", kind="matrix"), layout)
    again = json.loads(layout.noise.read_text())
    corrected = pd.read_csv(layout.labels).iloc[row]
    assert (corrected["given"], corrected["flipped"]) == ("c", 0)
    assert again["corrected"] == 1
    assert again["transition"] == summary["transition"]


def test_instance_noise_has_counts_but_no_nominal_matrix(tmp_path, parameters):
    layout, _, _ = workplace(tmp_path, "multiclass", 300, 4, 0)
    noise.run(parameters(tmp_path, "multiclass", kind="instance"), layout)
    summary = json.loads(layout.noise.read_text())
    assert summary["nominal"] is None
    assert np.sum(summary["transition"]) == 200
    moved = 1 - np.trace(summary["transition"]) / 200
    assert abs(moved - 0.4) < 5 * np.sqrt(0.24 / 200)


def test_findings_have_counts_and_rates_of_their_own(tmp_path, parameters, capsys):
    layout, targets, split = workplace(tmp_path, "multilabel", 600, 2, 0)
    noise.run(parameters(tmp_path, "multilabel", kind="flip"), layout)
    summary = json.loads(layout.noise.read_text())
    labels = pd.read_csv(layout.labels, keep_default_na=False)
    rows = split != "test"
    assert list(summary) == ["kind", "realised", "corrected", "classes", "per_class", "nominal"]
    assert summary["nominal"] == {"miss_rate": 0.4, "false_rate": 0.1}
    for c, name in enumerate("ab"):
        there = labels["given"].str.contains(name).to_numpy()[rows]
        present = targets[rows, c] > 0
        missed, false = int((present & ~there).sum()), int((~present & there).sum())
        assert summary["per_class"][name] == {
            "present": int(present.sum()),
            "missed": missed,
            "miss_rate": missed / present.sum(),
            "absent": int((~present).sum()),
            "false": false,
            "false_rate": false / (~present).sum(),
        }
    assert f"{summary['per_class']['a']['miss_rate']:.1%}" in capsys.readouterr().out


def test_the_table_that_is_shown():
    shown = table({"classes": ["NV", "samples"], "transition": [[3, 1], [0, 0]], "nominal": None})
    assert shown.splitlines()[1:] == [
        "         samples    NV samples",
        "NV             4  75.0    25.0",
        "samples        0     .       .",
    ]
    none = {"present": 0, "missed": 0, "miss_rate": None, "absent": 4, "false": 1, "false_rate": 0.25}
    assert table({"per_class": {"Mass": none}}).splitlines()[1:] == [
        "     present missed miss_rate absent false false_rate",
        "Mass       0      0                4     1      25.0%",
    ]
