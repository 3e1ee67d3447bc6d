"""Two versions of the weights in one batch: each user is served by those of the user's role."""

from dataclasses import replace

import numpy as np
import pytest

from models.canary import role_of
from models.canary_config import CanaryConfig
from models.recommender import Recommender
from stream.lists import OnTrial
from stream.messages import decode_list
from tests.support.partitions import INTERVAL, RULES, Partition, hidden_of, lists_of, serving_of
from tests.support.recommenders import small_recommender, small_vocabulary

HALF = CanaryConfig("salt", share=0.5)
USERS = [f"u{number}" for number in range(16)]
CHALLENGERS = {user for user in USERS if role_of(user, HALF) == "challenger"}


def challenger(**options: object) -> Recommender:
    """Weights of another seed, of another size and over a larger vocabulary."""
    return small_recommender("gru", seed=1, units=12, vocabulary=small_vocabulary(40), **options)


def on_trial(recommender: Recommender | None = None, terms: CanaryConfig = HALF) -> OnTrial:
    """A challenger that serves half of the users."""
    return OnTrial(serving_of(recommender or challenger()), terms)


@pytest.fixture
def tried(partition: Partition) -> Partition:
    """A partition with a challenger on trial."""
    assert 4 < len(CHALLENGERS) < 12
    partition.trial = on_trial()
    return partition


def walk(partition: Partition, *, first: int = 0, steps: int = 3):
    """Let every user do something, in one batch; returns what follows."""
    walked = [
        partition.event(user, f"i{(number + at) % 11 + 1}", 1000 * at)
        for at in range(first, first + steps)
        for number, user in enumerate(USERS)
    ]
    return partition.run(*walked)


@pytest.mark.parametrize("blended", [False, True])
def test_each_user_is_served_by_the_weights_of_the_role_alone(partition: Partition, blended: bool) -> None:
    """Lists and states are those of a worker that has only these weights; a user's stand together."""
    ours, theirs = small_recommender(blended=blended), challenger(blended=blended)
    partition.serving, partition.trial = serving_of(ours), on_trial(theirs)
    alone = {ours.version: Partition(serving_of(ours)), theirs.version: Partition(serving_of(theirs))}
    for first in (0, 3):
        effects = walk(partition, first=first)
        expected = {version: lists_of(walk(one, first=first)) for version, one in alone.items()}
        made = lists_of(effects)
        assert [one.user_id for one in made] == [user for user in USERS for _ in range(3)]
        for place, one in enumerate(made):
            version = theirs.version if one.user_id in CHALLENGERS else ours.version
            assert one.model_version == version
            other = expected[version][place]
            assert [item.item_id for item in one.items] == [item.item_id for item in other.items]
    for user in USERS:
        version = theirs.version if user in CHALLENGERS else ours.version
        np.testing.assert_allclose(hidden_of(partition, user), hidden_of(alone[version], user), atol=1e-6)
        assert partition.state(user).weights == alone[version].serving.key


def test_the_network_is_called_once_a_step_for_each_of_the_two(
    tried: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen users with three events each: three calls of each network, not one for each user."""
    calls: list[tuple[str, int]] = []
    plain = Recommender.advance

    def counted(recommender, states, *columns):
        calls.append((recommender.version, len(states)))
        return plain(recommender, states, *columns)

    monkeypatch.setattr(Recommender, "advance", counted)
    walk(tried)
    others = len(USERS) - len(CHALLENGERS)
    assert sorted(calls) == [("gru-0", others)] * 3 + [("gru-1", len(CHALLENGERS))] * 3


def test_without_a_trial_nobody_is_asked_for_a_role(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs nothing then."""
    monkeypatch.setattr("stream.lists.role_of", None)
    assert len(walk(partition).lists) == 3 * len(USERS)


def test_who_comes_under_other_weights_is_rebuilt_once(partition: Partition) -> None:
    """As a trial begins its users are rebuilt at their next event, and again as it ends; nobody else is."""
    walk(partition)
    partition.trial = on_trial()
    assert walk(partition, first=3).rebuilds["weights"] == len(CHALLENGERS)
    assert not walk(partition, first=6).rebuilds["weights"]
    partition.trial = None
    assert walk(partition, first=9).rebuilds["weights"] == len(CHALLENGERS)


def test_a_promoted_challenger_rebuilds_the_others(tried: Partition) -> None:
    """Its own users go on with the states that they have."""
    walk(tried)
    tried.serving, tried.trial = tried.trial.serving, None
    effects = walk(tried, first=3)
    assert effects.rebuilds["weights"] == len(USERS) - len(CHALLENGERS)
    assert {one.model_version for one in lists_of(effects)} == {"gru-1"}


def test_the_popular_fallback_is_that_of_the_role(tried: Partition) -> None:
    """Of users of whom nothing is known; the challenger's most popular items are others."""
    made = lists_of(tried.run(*(tried.event(user, "never seen") for user in USERS)))
    assert {one.kind for one in made} == {"popular"}
    for one in made:
        expected = ("gru-1", "i39") if one.user_id in CHALLENGERS else ("gru-0", "i11")
        assert (one.model_version, one.items[0].item_id) == expected


def test_a_list_that_was_held_back_is_that_of_the_role(tried: Partition) -> None:
    """It goes out by the weights that serve its user then."""
    tried.rules = INTERVAL
    walk(tried, steps=1)
    assert not walk(tried, first=1, steps=1).lists
    made = lists_of(tried.release(*USERS))
    assert [one.model_version == "gru-1" for one in made] == [user in CHALLENGERS for user in USERS]


def test_a_list_that_is_asked_for_is_that_of_the_role(tried: Partition) -> None:
    """The same as the one that was sent."""
    sent = {one.user_id: one for one in lists_of(walk(tried))}
    for user in USERS:
        shown = decode_list(tried.batch().show(user.encode()))
        assert shown.model_version == ("gru-1" if user in CHALLENGERS else "gru-0")
        assert [item.item_id for item in shown.items] == [item.item_id for item in sent[user].items]


def test_a_list_is_measured_by_the_rows_of_its_own_weights(tried: Partition) -> None:
    """Ids of which the two have different rows: each user comes upon what stood first in the own list."""
    turned = replace(challenger(), vocabulary=turned_vocabulary())
    tried.trial = on_trial(turned)
    first = {one.user_id: one.items[0].item_id for one in lists_of(walk(tried))}
    quality = tried.run(*(tried.event(user, first[user], 9_000) for user in USERS)).quality
    assert (quality.events, quality.hits[1]) == (len(USERS), len(USERS))


def turned_vocabulary():
    """The challenger's items the other way round."""
    plain = small_vocabulary(40)
    items, categories = plain.item_ids[:0:-1], plain.item_category[:0:-1]
    return type(plain).empty().grow(items, [plain.category_ids[row] for row in categories])


def test_a_challenger_without_a_champion_serves_nobody(partition: Partition) -> None:
    """There is nothing to compare it with; lists fall back."""
    partition.serving, partition.trial = None, on_trial()
    partition.fallback = [("i1", 1.0)]
    assert {one.model_version for one in lists_of(walk(partition))} == {"none"}


def test_rules_hold_for_both(tried: Partition) -> None:
    """What was seen is left out of each list, whichever weights made it."""
    tried.rules = replace(RULES, exclude_seen=True)
    made = lists_of(walk(tried, steps=1))
    for number, one in enumerate(made):
        assert f"i{number % 11 + 1}" not in {item.item_id for item in one.items}
