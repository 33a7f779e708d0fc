"""Images with the same pixels that pass for different patients."""

import numpy as np
import pandas as pd

from pipeline.data.duplicates import across_groups


def samples(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["sample_id", "group_id", "label"], index=range(10, 10 + len(rows)))


def test_only_sets_across_groups_are_reported_conflicting_ones_first():
    table = samples(
        ("a", "p1", "NV"),
        ("b", "p2", "NV"),  # as a: two patients, one label
        ("c", "p3", "MEL"),
        ("d", "p3", "NV"),  # as c: one patient
        ("e", "p4", "MEL"),
        ("f", "p5", "NV"),
        ("g", "p4", "MEL"),  # e, f and g are the same
        ("h", "p6", ""),
    )
    found = across_groups(table, np.array([b"1", b"1", b"2", b"2", b"0", b"0", b"0", b"3"]))
    assert (found.sets, found.conflicting) == (2, 1)
    assert found.listed == [
        {
            "images": 3,
            "samples": ["e", "f", "g"],
            "groups": ["p4", "p5", "p4"],
            "labels": ["MEL", "NV", "MEL"],
            "conflicting": True,
        },
        {"images": 2, "samples": ["a", "b"], "groups": ["p1", "p2"], "labels": ["NV", "NV"], "conflicting": False},
    ]


def test_findings_conflict_as_a_whole():
    found = across_groups(samples(("a", "p1", "Mass"), ("b", "p2", "Mass|Nodule")), np.array([b"1", b"1"]))
    assert (found.sets, found.conflicting) == (1, 1)


def test_lists_are_cut_and_counts_are_not():
    pairs = [(f"s{i}", f"p{i}", "NV" if i < 300 else "MEL") for i in range(301)]
    found = across_groups(samples(*pairs), np.array([b"%d" % (i // 2) for i in range(300)] + [b"0"]))
    assert (found.sets, found.conflicting, len(found.listed)) == (150, 1, 100)
    assert found.listed[0]["samples"] == ["s0", "s1", "s300"]
    many = across_groups(samples(*pairs), np.full(301, b"0"))
    assert (many.listed[0]["images"], len(many.listed[0]["samples"]), many.listed[0]["conflicting"]) == (301, 100, True)


def test_without_duplicates_there_is_nothing():
    found = across_groups(samples(("a", "p1", "NV"), ("b", "p2", "NV")), np.array([b"1", b"2"]))
    assert (found.sets, found.conflicting, found.listed) == (0, 0, [])
