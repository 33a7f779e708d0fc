"""What the attack on whole pipelines draws and foresees; it runs for an hour, when it is started by hand."""

from collections import Counter

import pytest

from tests.e2e.attack import plan
from tests.e2e.watched import Timeline


@pytest.mark.parametrize("kind", ["kill", "interrupt", "disk"])
def test_strikes_are_drawn_from_the_seed_a_third_of_each_moment(kind):
    strikes = plan(3, kind, 90)
    assert strikes == plan(3, kind, 90) != plan(4, kind, 90)
    assert Counter(strike.moment for strike in strikes) == {"clock": 30, "name": 30, "record": 30}
    assert {strike.victim for strike in strikes} == ({"stage", "dvc", "all"} if kind == "kill" else {"all"})
    assert all(-1 <= strike.offset <= 1 for strike in strikes if strike.moment != "clock")
    assert all(2**10 <= strike.free <= 2**28 for strike in strikes)


def test_the_next_name_is_the_first_of_the_unbroken_run_that_is_missing():
    timeline = Timeline({"data": 3.0, "splits/splits.csv": 1.5})
    assert timeline.next_missing(set()) == 3.0
    assert timeline.next_missing({"data"}) == 1.5
    assert timeline.next_missing({"data", "splits/splits.csv"}) is None
