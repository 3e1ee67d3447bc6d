"""The trend of a soak: what users account for is no growth, and what nothing accounts for is."""

import pytest

from tests.support.trend import Sample, growth_per_hour, rates

USER_BYTES = 2_000


def samples(*, leak_bytes_per_s: float = 0.0, users_per_s: int = 3, warm_up_s: float = 0.0) -> list[Sample]:
    """An hour's samples each minute, with a leak, new users, and memory that grows to begin with."""
    return [
        Sample(
            float(at_s),
            int(
                300_000_000
                + users_per_s * at_s * USER_BYTES
                + leak_bytes_per_s * at_s
                + 1_000 * min(at_s, warm_up_s)
            ),
            users_per_s * at_s,
            0,
            150 * at_s,
            150 * at_s,
            150 * at_s,
            0,
        )
        for at_s in range(0, 3_601, 60)
    ]


def test_new_users_are_no_growth() -> None:
    """Memory that grows with the users alone has no trend."""
    assert growth_per_hour(samples(), USER_BYTES) == pytest.approx(0, abs=1)


def test_a_leak_is_growth() -> None:
    """A thousand bytes a second are 3.6 MB an hour."""
    assert growth_per_hour(samples(leak_bytes_per_s=1_000), USER_BYTES) == pytest.approx(1_000 * 3_600)


def test_the_first_half_does_not_count() -> None:
    """What a worker takes while it warms up is not growth."""
    assert growth_per_hour(samples(warm_up_s=1_700), USER_BYTES) == pytest.approx(0, abs=1)


def test_one_sample_in_a_change_of_weights_does_not_count() -> None:
    """A moment with two sets of weights in memory is no trend."""
    made = samples()
    made[-2] = made[-2]._replace(resident_bytes=900_000_000)
    assert growth_per_hour(made, USER_BYTES) == pytest.approx(0, abs=1_000)


def test_rates_are_of_the_time_between_samples() -> None:
    """As many events as came between two samples, by the seconds between them."""
    assert set(rates(samples())) == {150}
