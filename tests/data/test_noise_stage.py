"""Stage `noise` as a whole: labels.csv byte for byte, noise.json's numbers, the table it prints."""

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common import layout as artifacts
from pipeline.common.labels import decode
from pipeline.data.noise_summary import table
from pipeline.params.file import read_yaml, validate
from pipeline.params.tree import Params
from pipeline.stages import noise

TREE = read_yaml(Path("params.yaml"))
MATRIX = "class,a,b,c\na,0,0.5,0.5\nb,1,0,0\nc,1,0,0\n"


def parameters(task: str, **changes: object) -> Params:
    tree = copy.deepcopy(TREE)
    tree["task"] = task
    tree["noise"] |= {"rate": 0.4, "miss_rate": 0.4, "false_rate": 0.1, "matrix": "noise.csv"} | changes
    return validate(tree, "params.yaml")


@contextlib.contextmanager
def workplace(folder: Path, task: str, N: int, C: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A folder with the artefacts of prepare and split; yields published targets and the splits."""
    rng = np.random.default_rng(seed)
    classes = tuple("abcdefghijkl"[:C])
    targets = rng.integers(0, C, N) if task == "multiclass" else (rng.random((N, C)) < 0.3).astype(np.float32)
    split = rng.permutation(np.array(["train", "val", "test"])[np.arange(N) % 3])
    with contextlib.chdir(folder):
        for path in (artifacts.SAMPLES, artifacts.SPLITS):
            path.parent.mkdir(parents=True, exist_ok=True)
        ids = [f"s{i}" for i in range(N)]
        labels = decode(targets, classes)
        pd.DataFrame({"sample_id": ids, "group_id": ids, "label": labels}).to_csv(artifacts.SAMPLES, index=False)
        pd.DataFrame({"sample_id": ids, "split": split, "fold": 0}).to_csv(artifacts.SPLITS, index=False)
        np.save(artifacts.IMAGES, rng.integers(0, 256, (N, 4, 4, 1), dtype=np.uint8))
        artifacts.DATA_REPORT.write_text(json.dumps({"classes": classes}))
        Path("corrections.csv").write_text("sample_id,label\n")
        yield targets, split


def matrix_file(C: int) -> None:
    classes = "abcdefghijkl"[:C]
    rows = [",".join([name, *("0" if name == other else repr(1 / (C - 1)) for other in classes)]) for name in classes]
    Path("noise.csv").write_text("\n".join([",".join(["class", *classes]), *rows]))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["none", "symmetric", "pair", "matrix", "instance", "flip"]),
    st.integers(2, 12),
    st.integers(60, 300),
    st.integers(0, 2**31 - 2),
)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path_factory, kind, C, N, seed):
    task = "multilabel" if kind == "flip" else "multiclass"
    with workplace(tmp_path_factory.mktemp("work"), task, N, C, seed) as (_, split):
        matrix_file(C)
        written = []
        for own_seed in (seed, seed, seed + 1):
            noise.run(parameters(task, kind=kind, seed=own_seed))
            written.append((artifacts.LABELS.read_bytes(), artifacts.NOISE.read_bytes()))
        assert written[0] == written[1]
        assert (written[0][0] == written[2][0]) == (kind == "none")
        labels = pd.read_csv(artifacts.LABELS, keep_default_na=False)
        test = split == "test"
        assert (labels["given"][test] == labels["published"][test]).all()
        assert (labels["flipped"] == (labels["given"] != labels["published"])).all()
        told = json.loads(artifacts.NOISE.read_text())
        assert told["realised"]["test"] == 0
        assert told["realised"]["train"] == pytest.approx(labels["flipped"][split == "train"].mean())


def test_noise_json_counts_train_and_val_before_corrections(tmp_path, capsys):
    with workplace(tmp_path, "multiclass", 900, 3, 0) as (targets, split):
        Path("noise.csv").write_text(MATRIX)
        noise.run(parameters("multiclass", kind="matrix"))
        told = json.loads(artifacts.NOISE.read_text())
        given_labels = pd.read_csv(artifacts.LABELS)["given"]
        assert list(told) == ["kind", "realised", "corrected", "classes", "transition", "nominal"]
        assert told["classes"] == ["a", "b", "c"]
        assert told["nominal"] == [[0.6, 0.2, 0.2], [0.4, 0.6, 0.0], [0.4, 0.0, 0.6]]
        expected = pd.crosstab(pd.Series(targets)[split != "test"], given_labels[split != "test"])
        assert told["transition"] == expected.to_numpy().tolist()
        assert np.sum(told["transition"]) == 600
        assert told["transition"][1][2] == told["transition"][2][1] == 0
        assert "% of a published class (row) given as a class (column)" in capsys.readouterr().out

        row = int(np.flatnonzero((split == "val") & (targets == 0) & (given_labels != "a"))[0])
        Path("corrections.csv").write_text(f"sample_id,label\ns{row},c\n")
        noise.run(parameters("multiclass", kind="matrix"))
        again = json.loads(artifacts.NOISE.read_text())
        corrected = pd.read_csv(artifacts.LABELS).iloc[row]
        assert (corrected["given"], corrected["flipped"]) == ("c", 0)
        assert again["corrected"] == 1
        assert again["transition"] == told["transition"]


def test_instance_noise_has_counts_but_no_nominal_matrix(tmp_path):
    with workplace(tmp_path, "multiclass", 300, 4, 0):
        noise.run(parameters("multiclass", kind="instance"))
        told = json.loads(artifacts.NOISE.read_text())
        assert told["nominal"] is None
        assert np.sum(told["transition"]) == 200
        moved = 1 - np.trace(told["transition"]) / 200
        assert abs(moved - 0.4) < 5 * np.sqrt(0.24 / 200)


def test_findings_have_counts_and_rates_of_their_own(tmp_path, capsys):
    with workplace(tmp_path, "multilabel", 600, 2, 0) as (targets, split):
        noise.run(parameters("multilabel", kind="flip"))
        told = json.loads(artifacts.NOISE.read_text())
        labels = pd.read_csv(artifacts.LABELS, keep_default_na=False)
        rows = split != "test"
        assert list(told) == ["kind", "realised", "corrected", "classes", "per_class", "nominal"]
        assert told["nominal"] == {"miss_rate": 0.4, "false_rate": 0.1}
        for c, name in enumerate("ab"):
            there = labels["given"].str.contains(name).to_numpy()[rows]
            present = targets[rows, c] > 0
            missed, false = int((present & ~there).sum()), int((~present & there).sum())
            assert told["per_class"][name] == {
                "present": int(present.sum()),
                "missed": missed,
                "miss_rate": missed / present.sum(),
                "absent": int((~present).sum()),
                "false": false,
                "false_rate": false / (~present).sum(),
            }
        assert f"{told['per_class']['a']['miss_rate']:.1%}" in capsys.readouterr().out


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
