"""What a message about an unknown name ends with."""

import pytest

from models.errors import hint


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("baseline1", "did you mean baseline_1?"),
        ("roskt", "did you mean roskd?"),
        ("something_else", "the methods are listed there"),
        ("", "the methods are listed there"),
    ],
)
def test_the_nearest_name_is_offered_where_one_is_near(name, expected):
    known = {"baseline_1": 1, "baseline_2": 2, "roskd": 3}
    assert hint(name, known, "the methods are listed there") == expected
