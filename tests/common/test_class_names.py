"""What a class may be called."""

import pytest

from pipeline.common.class_names import LONGEST, in_metric, require_class_names
from pipeline.common.errors import UserError


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["A"], r"has 1 classes \['A'\]; at least 2"),
        (["A", " "], "' ' is blank"),
        (["A", "A"], "'A' is duplicated"),
        (["A", "B|C"], r"'B\|C' contains '\|'"),
        (["A", "x" * (LONGEST + 1)], r"'x{40}'… has 151 characters; at most 150"),
        (["A", "two\nlines"], r"'two\\nlines' contains a line break"),
        (["A", "a\x00"], "line break or control character"),
        (["a/b", "a:b"], "'a/b' and 'a:b' have the same name in MLflow, 'a_b'"),
        (["🩺", "🩻"], "have the same name in MLflow, '_'"),
    ],
)
def test_names_that_do_not_work_are_refused_whether_listed_or_found(classes, message):
    for listed in (True, False):
        with pytest.raises(UserError, match=rf"labels\.csv: .*{message}"):
            require_class_names(classes, "labels.csv", listed=listed)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("nv", "NV"),
        ("caf\u00e9", "cafe\u0301"),
        ("NV", "NV\u200b"),
        ("\ufb01n", "fin"),
        ("a b", "a\u00a0b"),
    ],
    ids=["case", "Unicode form", "invisible", "ligature", "no-break space"],
)
def test_names_that_look_the_same_are_reported_unless_they_are_listed(first, second):
    with pytest.raises(UserError, match=r"differ only in case, Unicode form or invisible .* list both in data\.table"):
        require_class_names([first, "other", second], "labels.csv", listed=False)
    if in_metric(first) != in_metric(second):
        require_class_names([first, "other", second], "data.table.classes", listed=True)


@pytest.mark.parametrize(
    ("name", "part"),
    [("NV", "NV"), ("a b-c.d_1", "a b-c.d_1"), ("a/b", "a_b"), ("..", "_"), ("Å..", "Å.."), ("=1", "_1")],
)
def test_the_part_of_a_metric_name(name, part):
    assert in_metric(name) == part
