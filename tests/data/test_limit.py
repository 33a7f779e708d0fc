"""A part of a data set: whole groups, classes in proportion, and the very images of the whole."""

import numpy as np
import pandas as pd

from pipeline.data.sources import open_source
from pipeline.data.sources.limit import limit


def test_a_part_holds_whole_groups_and_the_classes_in_proportion(make_params):
    source = open_source(make_params())
    part = limit(source, 400, "multiclass")
    whole, own = source.samples, part.samples
    assert abs(len(own) - 400) <= whole["group_id"].value_counts().max()
    assert set(own["sample_id"]) < set(whole["sample_id"])
    inside = whole["group_id"].isin(own["group_id"])
    assert inside.sum() == len(own)  # no group is parted
    shares = whole["label"].value_counts(normalize=True)
    assert (own["label"].value_counts(normalize=True) - shares).abs().max() < 0.01
    assert limit(source, 400, "multiclass").samples.equals(own)
    assert limit(source, len(whole), "multiclass") is source


def test_the_images_are_those_of_the_whole(tmp_path, make_params):
    whole, part = open_source(make_params()), open_source(make_params(data={"max_images": 64}))
    readers = whole.open_images(tmp_path), part.open_images(tmp_path)
    places = pd.Index(whole.samples["sample_id"]).get_indexer(pd.Index(part.samples["sample_id"]))
    for i in (0, 17, len(part.samples) - 1):
        assert np.array_equal(readers[1](i), readers[0](int(places[i])))
        assert readers[1].sized(i).size == (64, 64)  # type: ignore[attr-defined]
        assert readers[1].state(i) == ""  # type: ignore[attr-defined]


def test_files_keep_their_size_and_state(tmp_path):
    class Files:
        def __call__(self, i: int) -> np.ndarray:
            return self.sized(i)[0]

        def sized(self, i: int) -> tuple[np.ndarray, tuple[int, int], str]:
            return np.full((2, 2, 1), i), (i, i + 1), self.state(i)

        def state(self, i: int) -> str:
            return f"file {i}"

    from pipeline.data.sources.limit import Part

    part = Part(Files(), np.array([5, 9]))
    assert part(1).ravel().tolist() == [9, 9, 9, 9]
    assert (part.sized(0).size, part.sized(0).state, part.state(1)) == ((5, 6), "file 5", "file 9")
