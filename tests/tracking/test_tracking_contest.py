"""Whose answers a challenger meets: those stored with the champion, or new ones of the champion's ONNX file."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.common.files import sha256_file
from pipeline.tracking import contest
from pipeline.tracking.fetch import Fetched
from pipeline.tracking.promotion import Answered
from pipeline.tracking.versions import SAME_DATA, Challenger
from tests.models.made_student import SIZE, write_student

__all__ = ["write_student"]

N = 30
COLOURS = np.eye(3, dtype=np.uint8) * 255
CARRIED = dict.fromkeys(SAME_DATA, "same")


def prepare(finished, images):
    """Write images.npy, with its hash in the report."""
    layout = finished.layout
    np.save(layout.images, images)
    report = json.loads(layout.data_report.read_text())
    report["hashes"] = {path.name: sha256_file(path) for path in (layout.images, layout.samples)}
    finished.write(layout.data_report, json.dumps(report))


@pytest.fixture
def red_images(finished):
    """Prepared images of one colour each, and a challenger that takes every one for the class of the next colour."""
    targets = np.arange(N) % 3
    finished.write_csv(finished.layout.samples, "sample_id,group_id", [(f"v{i}", f"g{i}") for i in range(N)])
    prepare(finished, np.tile(COLOURS[targets][:, None, None], (1, SIZE, SIZE, 1)))
    names, order = np.array([f"v{i}" for i in range(N)]), np.arange(N)[::-1]
    wrong = np.eye(3)[(targets[order] + 1) % 3]
    val = Answered("multiclass", wrong, targets[order], names[order], (wrong, targets[order]))
    return Challenger("roskd", 0, "crop", "content", Path("none.npz"), names[order], val, val)


@pytest.fixture
def meets(finished, params, red_images, write_student, monkeypatch):
    """Return a function that lets the challenger meet a champion; `meta` goes into the metadata of the champion."""

    def meet(tags=CARRIED, stored=None, settings=params, again=None, **meta):
        files = {"onnx": write_student(**meta)}
        if stored is not None:
            files["validation"] = finished.root / "validation.npy"
            np.save(files["validation"], stored)
        monkeypatch.setattr(contest, "download", lambda *_: Fetched("roskd-phantom/4", files))
        champion = SimpleNamespace(name="roskd-phantom", version="4", tags=tags)
        return contest.judge(settings, finished.layout, red_images, CARRIED, champion, again)

    return meet


def test_stored_answers_serve_where_the_data_is_the_same(meets, red_images):
    verdict = meets(stored=red_images.val.logits)
    assert verdict.outcome == "kept"
    assert verdict.reason.startswith("val/f1_macro 0.0000 against 0.0000 of version 4")
    assert "anew" not in verdict.reason


def test_the_onnx_file_answers_where_the_labels_differ(meets):
    """The made student tells red and blue: green is all of its classes alike, and argmax takes the first."""
    verdict = meets(tags=CARRIED | {"validation_hash": "other"}, stored=np.zeros((N, 3)))
    assert verdict.outcome == "kept"
    assert verdict.reason.startswith("val/f1_macro 0.0000 against 0.5556 of version 4: -0.5556")
    assert verdict.reason.endswith(
        "(the validation set or its labels differ, so version 4 was evaluated anew; it may know some of these images)"
    )


def test_a_version_without_stored_answers_answers_anew(meets):
    assert "(its answers were not kept, so version 4 was evaluated anew" in meets().reason


@pytest.mark.parametrize(
    ("tags", "meta", "reason"),
    [
        ({"classes": "A, B"}, {}, "the classes differ"),
        ({"task": "multilabel", "classes": "A"}, {}, "the classes and the task differ"),
        ({"data_hash": "other"}, {"image_size": 16}, "it cannot answer ("),
    ],
)
def test_what_cannot_be_compared_is_refused(meets, tags, meta, reason):
    verdict = meets(tags=CARRIED | tags, **meta)
    assert verdict.outcome == "not compared"
    assert verdict.reason.startswith(f"not compared with version 4: {reason}")


@pytest.fixture
def larger(finished, red_images):
    """The same data, prepared at another size than the champion takes."""
    prepare(finished, np.zeros((N, 9, 9, 3), np.uint8))


def test_images_are_decoded_again_for_a_champion_of_another_size(meets, larger, red_images):
    asked = []

    def again(names, size, resize):
        asked.append((names, size, resize))
        for name in names:  # blocks of one
            yield np.tile(COLOURS[int(name[1:]) % 3], (1, SIZE, SIZE, 1))

    assert meets(again=again).reason.startswith("val/f1_macro 0.0000 against 0.5556 of version 4")
    assert asked == [(list(red_images.ids), SIZE, "crop")]


def test_images_that_have_gone_leave_a_champion_of_another_size_uncompared(meets, larger):
    def lost(names, size, resize):
        raise OSError(2, "No such file or directory", "a.png")
        yield

    assert meets(again=lost).reason == (
        "not compared with version 4: it cannot answer ([Errno 2] No such file or directory: 'a.png')"
    )
    assert meets().reason == f"not compared with version 4: it takes images of {SIZE} px, the data is prepared at 9"


def test_another_resize_means_other_images(meets):
    seen = []
    meets(
        again=lambda names, size, resize: seen.append(resize) or iter([np.zeros((N, SIZE, SIZE, 3), np.uint8)]),
        resize="pad",
    )
    assert seen == ["pad"]


def test_images_of_other_channels_are_not_compared(meets, finished, red_images):
    prepare(finished, np.zeros((N, SIZE, SIZE, 1), np.uint8))
    assert meets().reason == "not compared with version 4: it takes images of 3 channels, the data has 1"


def test_force_promotes_and_says_what_was_found(meets, make_two, red_images):
    verdict = meets(stored=red_images.val.logits, settings=make_two(registry={"force": True}))
    assert (verdict.outcome, verdict.promoted) == ("forced", True)
    assert verdict.reason.startswith("registry.force is true; val/f1_macro 0.0000 against")


def test_without_a_champion_there_is_nothing_to_meet(params, layout, red_images):
    assert contest.judge(params, layout, red_images, CARRIED, None, None).outcome == "first"
