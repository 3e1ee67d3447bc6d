"""The canary: who meets the challenger, and a decision that continuous looking does not spoil."""

import numpy as np
import pytest

from models.canary import BETS, Canary, CanaryConfig, Capital, Decision, role_of

HALF = CanaryConfig("a", share=0.5, events=2, most_pairs=1500)


def trial(seed: int, champion: float, challenger: float, config: CanaryConfig = HALF) -> Canary:
    """Users of their own kinds meet lists that hit at these rates, until it is decided."""
    rng = np.random.default_rng(seed)
    canary = Canary(config)
    for user in range(10 * config.most_pairs):
        user_id = f"{seed}-{user}"
        rate = challenger if role_of(user_id, config) == "challenger" else champion
        # Some users are foretold far more easily than others.
        own = np.clip(rate * rng.choice([0.3, 1.7]), 0, 1)
        for _ in range(config.events):
            canary.observe(user_id, float(rng.random() < own) / int(rng.integers(1, 4)))
        if canary.decision != "go on":
            break
    return canary


def decisions(champion: float, challenger: float) -> list[Decision]:
    """How a hundred trials end."""
    return [trial(seed, champion, challenger).decision for seed in range(100)]


def test_an_equal_challenger_is_promoted_no_more_often_than_the_level_says() -> None:
    """Looked at after every pair, up to 1,500 pairs, in a hundred trials: 5 at most are expected."""
    found = decisions(0.4, 0.4)
    assert found.count("promote") <= 5
    assert "go on" not in found


def test_a_better_challenger_is_promoted() -> None:
    """In at least 90 of 100 trials."""
    assert decisions(0.4, 0.5).count("promote") >= 90


def test_a_worse_challenger_is_rolled_back_early() -> None:
    """Before the most pairs, in at least 90 of 100 trials; it is never promoted."""
    ended = [trial(seed, 0.5, 0.4) for seed in range(100)]
    assert all(canary.decision == "roll back" for canary in ended)
    assert sum(canary.pairs < HALF.most_pairs for canary in ended) >= 90


def test_the_capital_is_the_average_over_the_bets() -> None:
    """After +1/2 and -1/4, each bet b has (1 + b/2)(1 - b/4) of its part."""
    capital = Capital()
    assert capital.log == pytest.approx(0)
    for difference in (1 / 2, -1 / 4):
        capital.observe(difference)
    assert np.exp(capital.log) == pytest.approx(np.mean((1 + BETS / 2) * (1 - BETS / 4)))


def test_no_difference_can_ruin_the_bettor() -> None:
    """The worst that can be observed leaves something to go on with."""
    capital = Capital()
    capital.observe(-1)
    assert np.isfinite(capital.log)


def test_the_share_of_users_is_the_one_asked_for_and_the_same_each_time() -> None:
    """2,000 of 20,000, within three deviations; another salt chooses others."""
    config, other = CanaryConfig("a"), CanaryConfig("b")
    users = [f"u{user}" for user in range(20_000)]
    chosen = {user for user in users if role_of(user, config) == "challenger"}
    assert abs(len(chosen) - 2000) < 3 * (20_000 * 0.1 * 0.9) ** 0.5
    assert chosen == {user for user in users if role_of(user, config) == "challenger"}
    others = {user for user in users if role_of(user, other) == "challenger"}
    assert len(chosen & others) < 300


def test_a_user_counts_once() -> None:
    """By the first events; whatever comes after them changes nothing."""
    canary = Canary(HALF)
    champion, challenger = (
        next(f"u{user}" for user in range(99) if role_of(f"u{user}", HALF) == role)
        for role in ("champion", "challenger")
    )
    for _ in range(50):
        canary.observe(champion, 0.0)
        canary.observe(challenger, 1.0)
    assert canary.pairs == 1
    assert canary.decision == "go on"


def test_a_decision_stands() -> None:
    """What is observed afterwards does not turn it."""
    canary = trial(1, 0.2, 0.8)
    assert canary.decision == "promote"
    pairs = canary.pairs
    for user in range(500):
        canary.observe(f"late{user}", float(role_of(f"late{user}", HALF) == "champion"))
        canary.observe(f"late{user}", float(role_of(f"late{user}", HALF) == "champion"))
    assert (canary.decision, canary.pairs) == ("promote", pairs)


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"level": 1.0}, {"alarm": 0}, {"events": 0}])
def test_a_canary_that_decides_nothing_is_refused(wrong: dict[str, float]) -> None:
    """The line names the setting."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CanaryConfig("a", **wrong)
