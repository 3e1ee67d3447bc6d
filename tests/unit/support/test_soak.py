"""What a soak fails for: a missing event, a missing list, memory that grows beside its users."""

import pytest

from tests.stress.soak import faults

RIGHT = {
    "events_sent": 10,
    "events_by_outcome": {"applied": 10},
    "lists": 10,
    "growth_mb_per_hour": 3.0,
    "growth_limit_mb_per_hour": 32.0,
}


def test_nothing_is_wrong_with_a_right_run() -> None:
    """Every event applied, a list for each, memory within the bound."""
    assert faults(RIGHT) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("events_by_outcome", {"applied": 9}),
        ("events_by_outcome", {"applied": 9, "late": 1}),
        ("lists", 9),
        ("growth_mb_per_hour", 32.1),
    ],
)
def test_each_fault_is_told(name: str, value: object) -> None:
    """One fault, one line."""
    assert len(faults({**RIGHT, name: value})) == 1
