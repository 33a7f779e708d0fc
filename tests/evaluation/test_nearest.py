"""The nearest vectors, on directions whose cosines are known."""

import numpy as np
import pytest

from pipeline.evaluation.nearest import nearest


def directions(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


KNOWN = directions(0, 90, 200, 30)


@pytest.mark.parametrize("block", [1, 2, 1024])
@pytest.mark.parametrize(
    ("k", "expected"), [(1, [{0}, {1}, {2}]), (2, [{0, 3}, {1, 3}, {2, 1}]), (4, [{0, 1, 2, 3}] * 3)]
)
def test_the_nearest_have_the_smallest_angles(block, k, expected):
    degrees, known = (10, 80, 170), (0, 90, 200, 30)
    similarity, places = nearest(directions(*degrees), KNOWN, k, block=block)
    assert similarity.shape == places.shape == (3, k)
    assert [set(row.tolist()) for row in places] == expected
    for query, row, found in zip(degrees, places, similarity, strict=True):
        assert found == pytest.approx([np.cos(np.deg2rad(query - known[place])) for place in row])


@pytest.mark.parametrize("block", [1, 2, 1024])
def test_a_vector_left_out_of_its_own_search_still_finds_its_copies(block):
    """The first, second and fourth are equal."""
    equal = directions(50, 50, 230, 50, 60)
    similarity, places = nearest(equal, equal, 2, leave_out_self=True, block=block)
    assert [set(row.tolist()) for row in places[[0, 1, 3]]] == [{1, 3}, {0, 3}, {0, 1}]
    assert similarity[[0, 1, 3]] == pytest.approx(np.ones((3, 2)))
    assert all(row not in places[row] for row in range(5))
    with_self, _ = nearest(equal, equal, 1, block=block)
    assert with_self == pytest.approx(np.ones((5, 1)))
