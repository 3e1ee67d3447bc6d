"""The guard's comparison, on figures that nobody measured."""

import json

import pytest

from tests.bench.quick import ACCEPTED, MOST_AGAIN, MOST_WORSE, PAIRS, NotAccepted, lowest, over


def test_ratio_of_exactly_the_most_passes() -> None:
    """Up to and with 1.3 times the accepted ratio nothing is said."""
    assert over({"fit": MOST_WORSE * 2.0, "start": 0.1}, {"fit": 2.0, "start": 1.0}) == []


def test_ratio_above_the_most_is_named_with_both_values() -> None:
    """What is past it is told, and nothing else."""
    (one,) = over({"fit": 2.7, "start": 1.0}, {"fit": 2.0, "start": 1.0})
    assert str(one) == "fit: 2.700, 1.35 times the accepted 2.000"


@pytest.mark.parametrize(("found", "accepted"), [({"fit": 1.0}, {}), ({}, {"fit": 1.0})])
def test_ratio_without_its_counterpart_is_refused(found: dict, accepted: dict) -> None:
    """Neither a new measurement nor a dropped one passes unseen."""
    with pytest.raises(NotAccepted, match="fit"):
        over(found, accepted)


def test_ratio_past_the_most_is_measured_until_it_is_near_enough() -> None:
    """A busy minute is not taken for slow code, and what is near enough is not measured again."""
    further = {"fit": iter([1.4, 1.2])}
    found = lowest({"fit": 1.5, "start": 1.0}, {"fit": 1.0, "start": 1.0}, lambda name: next(further[name]))
    assert found == {"fit": 1.2, "start": 1.0}


def test_ratio_that_stays_past_the_most_is_told_by_its_lowest() -> None:
    """After so many measurements it is the code."""
    asked = []

    def measure(name: str) -> float:
        asked.append(name)
        return 1.4 + len(asked)

    assert lowest({"fit": 1.5}, {"fit": 1.0}, measure) == {"fit": 1.5}
    assert asked == ["fit"] * MOST_AGAIN


def test_every_measurement_has_an_accepted_ratio() -> None:
    """The file that is compared with names what is measured."""
    assert json.loads(ACCEPTED.read_text())["ratios"].keys() == PAIRS.keys()
