"""The canary: who meets the challenger, and a decision that continuous looking does not spoil."""

import json

import numpy as np
import pytest

from models.canary import BETS, Canary, Capital, Decision, Worth, role_of
from models.canary_config import CanaryConfig

HALF = CanaryConfig("a", share=0.5, events=2, most_pairs=1500)


def trial(seed: int, champion: float, challenger: float, config: CanaryConfig = HALF) -> Canary:
    """Users of their own kinds meet lists that hit at these rates, until it is decided."""
    rng = np.random.default_rng(seed)
    canary, pairs = Canary(config), 0
    for user in range(10 * config.most_pairs):
        user_id = f"{seed}-{user}"
        rate = challenger if role_of(user_id, config) == "challenger" else champion
        # Some users are foretold far more easily than others.
        own = np.clip(rate * rng.choice([0.3, 1.7]), 0, 1)
        for _ in range(config.events):
            canary.observe(user_id, float(rng.random() < own) / int(rng.integers(1, 4)))
        # Looked at after every pair.
        looked, pairs = pairs, canary.pairs
        if pairs > looked and canary.decide() != "go on":
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
    assert canary.decide() == "go on"
    assert not canary.wants(champion)


def test_a_decision_stands() -> None:
    """What is observed afterwards does not turn it."""
    canary = trial(1, 0.2, 0.8)
    assert canary.decision == "promote"
    pairs = canary.pairs
    for user in range(500):
        canary.observe(f"late{user}", float(role_of(f"late{user}", HALF) == "champion"))
        canary.observe(f"late{user}", float(role_of(f"late{user}", HALF) == "champion"))
    assert canary.pairs > pairs
    assert canary.decide() == "promote"


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"level": 1.0}, {"alarm": 0}, {"events": 0}])
def test_a_canary_that_decides_nothing_is_refused(wrong: dict[str, float]) -> None:
    """The line names the setting."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CanaryConfig("a", **wrong)


TENTH = CanaryConfig("a", share=0.1, events=1)
DRAWN = [f"u{user}" for user in range(3000)]


def of_role(role: str, count: int) -> list[str]:
    """Users of a role who are looked at."""
    canary = Canary(TENTH)
    return [user for user in DRAWN if role_of(user, TENTH) == role and canary.wants(user)][:count]


def test_of_the_champions_users_twice_as_many_are_looked_at_as_of_the_challengers() -> None:
    """600 of 2,700 beside all 300, within three deviations; what others do changes nothing."""
    canary = Canary(TENTH)
    wanted = [user for user in DRAWN if canary.wants(user)]
    champions = [user for user in wanted if role_of(user, TENTH) == "champion"]
    assert len(wanted) - len(champions) == sum(role_of(user, TENTH) == "challenger" for user in DRAWN)
    assert abs(len(champions) - 600) < 3 * (3000 * 0.2 * 0.8) ** 0.5
    for user in set(DRAWN) - set(wanted):
        canary.observe(user, 1.0)
    assert canary.worth["champion"] == Worth()


def test_both_of_a_pair_are_of_one_partition() -> None:
    """A partner in another does not do; so the order of partitions says nothing of who meets whom."""
    canary = Canary(TENTH)
    (champion, other), (challenger,) = of_role("champion", 2), of_role("challenger", 1)
    canary.observe(challenger, 1.0, partition=0)
    canary.observe(champion, 0.0, partition=1)
    assert canary.pairs == 0
    canary.observe(other, 0.0, partition=0)
    assert canary.pairs == 1


def test_the_capital_does_not_depend_on_which_partition_is_read_first() -> None:
    """Each partition in its own order, one after the other."""
    rng = np.random.default_rng(1)
    users = [(user, float(rng.random()), int(rng.integers(2))) for user in rng.permutation(DRAWN)]

    def read(*partitions: int) -> Canary:
        canary = Canary(TENTH)
        for number in partitions:
            for user, worth, partition in users:
                if partition == number:
                    canary.observe(str(user), worth, partition=partition)
        return canary

    one, other = read(0, 1).as_mapping(), read(1, 0).as_mapping()
    assert one["pairs"] == other["pairs"] > 200
    assert one["better"] == pytest.approx(other["better"])
    assert one["worse"] == pytest.approx(other["worse"])


def test_live_worth_is_counted_by_role() -> None:
    """Ranks 1, 2 and none: an MRR of (1 + 1/2 + 0) / 3, two of three hits."""
    canary = Canary(TENTH)
    for user, worth in zip(of_role("challenger", 3), (1.0, 1 / 2, 0.0), strict=True):
        canary.observe(user, worth)
    assert canary.worth["challenger"] == pytest.approx((3, (1 + 1 / 2 + 0) / 3, 2 / 3))
    assert canary.worth["champion"] == Worth()


def test_a_trial_that_was_written_down_goes_on_as_if_it_had_not_stopped() -> None:
    """Through JSON in the middle, with users half counted and others without a partner."""
    rng = np.random.default_rng(3)
    events = [(f"u{rng.integers(300)}", float(rng.random()), int(rng.integers(3))) for _ in range(1600)]
    whole = Canary(HALF)
    for user, worth, partition in events:
        whole.observe(user, worth, partition=partition)
    begun = Canary(HALF)
    for user, worth, partition in events[:400]:
        begun.observe(user, worth, partition=partition)
    resumed = Canary.of(HALF, json.loads(json.dumps(begun.as_mapping())))
    for user, worth, partition in events[400:]:
        resumed.observe(user, worth, partition=partition)
    assert resumed.pairs > begun.pairs > 0
    assert resumed.as_mapping() == whole.as_mapping()
