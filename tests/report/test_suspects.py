"""The most doubtful samples with their votes and their most similar images, on six images in known directions."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.names import Task
from pipeline.data.prepared import Prepared
from pipeline.report.audit_page import Suspect, Vote
from pipeline.report.suspects import Voter, suspects

SPLIT = np.array(["train", "val", "test", "train", "train", "val"])
ROWS = np.array([0, 3, 4, 1, 5])
"""Train, then val: the audited rows of the six."""
DEGREES = np.array([0, 10, 5, 90, 170, 60])
"""The direction of each image's features; the third is of the test split."""
LABELS: dict[Task, np.ndarray] = {
    "multiclass": np.array([0, 1, 2, 0, 1, 2]),
    "multilabel": np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=np.float32),
}


def prepared(task: Task = "multiclass") -> Prepared:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(4, axis=1).repeat(4, axis=2)
    ids, groups = np.array([f"s{i}" for i in range(6)]), np.array([f"g{i // 2}" for i in range(6)])
    return Prepared(task, ("A", "B", "C"), images, ids, groups, SPLIT, LABELS[task], LABELS[task])


def directions(degrees: np.ndarray = DEGREES) -> np.ndarray:
    """Vectors of several lengths, as features come."""
    angles = np.deg2rad(degrees)
    return (np.stack([np.cos(angles), np.sin(angles)], axis=1) * [[1], [5], [2], [1], [1], [3]]).astype(np.float16)


ORDER = ["s4", "s1", "s0", "s5", "s3"]
VOTERS = [
    Voter("resnet18", np.array([[0.2, 0.3, 0.5]] * 4 + [[0.0, 0.0, 1.0]]), np.array([False, True, False, True, True])),
    Voter("densenet121", np.array([[0.5, 0.25, 0.25]] * 5), np.array([True, True, False, True, True])),
]


def table(ids: list[str] = ORDER, **columns: Any) -> pd.DataFrame:
    own = {"sample_id": ids, "score": np.arange(1, len(ids) + 1) / 10, "self_confidence": 0.25, "suggested": "C"}
    of = {f"s{i}": (f"g{i // 2}", SPLIT[i]) for i in range(6)}
    return pd.DataFrame(own | {"group_id": [of[i][0] for i in ids], "split": [of[i][1] for i in ids]} | columns)


def found(shown: int = 9, neighbours: int = 2, degrees: np.ndarray = DEGREES, **columns: Any) -> dict[str, Suspect]:
    listed = suspects(
        table(**columns), VOTERS, prepared(), ROWS, directions(degrees), shown=shown, neighbours=neighbours
    )
    return {one.sample_id: one for one in listed}


@pytest.mark.parametrize("shown", [1, 3, 5, 9])
def test_the_first_of_the_table_are_shown_with_what_it_says(shown):
    listed = found(shown, suggested=["A", "C", "B", "A", "C"])
    assert [*listed] == ORDER[:shown]
    first = listed["s4"]
    assert (first.group_id, first.split, first.given, first.suggested) == ("g2", "train", "B", "A")
    assert (first.score, first.confidence) == (0.1, 0.25)
    assert np.array_equal(first.thumbnail, np.full((4, 4, 1), 4))
    if shown > 1:
        assert (listed["s1"].given, listed["s1"].suggested, listed["s1"].split) == ("B", "C", "val")


def test_votes_are_of_the_teachers_that_never_saw_the_sample():
    listed = found()
    first, second = VOTERS
    assert listed["s0"].votes == (Vote("densenet121", (0.5, 0.25, 0.25)),)
    assert listed["s4"].votes == ()
    assert listed["s5"].votes == (Vote("resnet18", (0.0, 0.0, 1.0)), Vote("densenet121", (0.5, 0.25, 0.25)))
    assert [len(listed[one].votes) for one in ("s3", "s1")] == [2, 2]
    assert {type(value) for value in listed["s5"].votes[0].probabilities} == {float}
    assert (first.name, second.name) == ("resnet18", "densenet121")


@pytest.mark.parametrize(("neighbours", "of_s5"), [(1, ["s3"]), (2, ["s3", "s1"]), (4, ["s3", "s1", "s0", "s4"])])
def test_neighbours_are_the_nearest_audited_images_the_nearest_first_with_their_labels(neighbours, of_s5):
    listed = found(neighbours=neighbours)
    assert [one.sample_id for one in listed["s5"].neighbours] == of_s5
    near = listed["s0"].neighbours  # at 0 degrees; the test image at 5 is no neighbour
    assert [(one.sample_id, one.given) for one in near] == [("s1", "B"), ("s5", "C"), ("s3", "A"), ("s4", "B")][
        :neighbours
    ]
    assert [int(one.thumbnail[0, 0, 0]) for one in near] == [1, 5, 3, 4][:neighbours]


def test_no_sample_is_its_own_neighbour_among_equal_images():
    equal = found(degrees=np.full(6, 45))
    for sample, one in equal.items():
        names = [near.sample_id for near in one.neighbours]
        assert len(set(names)) == 2
        assert not {sample, "s2"} & {*names}


@pytest.mark.parametrize("neighbours", [0, 5, 8])
def test_without_so_many_other_images_there_are_no_neighbours(neighbours):
    assert all(one.neighbours == () for one in found(neighbours=neighbours).values())


def test_of_several_findings_the_suggestion_holds_all_that_the_votes_change():
    """A sample is shown once, in the place of its most doubtful finding; findings that nobody judged stay."""
    changes = [
        ("s0", "B", ""), ("s3", "A", "A"), ("s0", "C", "C"), ("s0", "A", "A"), ("s3", "C", ""), ("s3", "B", "B"),
        ("s5", "C", ""), ("s1", "C", ""),
    ]  # fmt: skip
    ids, findings, suggested = (list(column) for column in zip(*changes, strict=True))
    rows = table(ids, finding=findings, suggested=suggested, given="of one finding")
    listed = suspects(rows, VOTERS, prepared("multilabel"), ROWS, directions(), shown=3, neighbours=1)
    assert [(one.sample_id, one.score, one.given, one.suggested) for one in listed] == [
        ("s0", 0.1, "A|B", "A|C"), ("s3", 0.2, "C", "A|B"), ("s5", 0.7, "B", "B"),
    ]  # fmt: skip
    assert [one.neighbours[0].given for one in listed] == ["", "B", "C"]
