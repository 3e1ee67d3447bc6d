"""The guard's comparison, on figures that nobody measured."""

import json

import pytest

from tests.bench.quick import ACCEPTED, MOST_WORSE, PAIRS, NotAccepted, over


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


def test_every_measurement_has_an_accepted_ratio() -> None:
    """The file that is compared with names what is measured."""
    assert json.loads(ACCEPTED.read_text())["ratios"].keys() == PAIRS.keys()
