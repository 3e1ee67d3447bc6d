"""Hidden states as weights come, go and change, and the calls that bring them up to date."""

import numpy as np

from tests.support.partitions import (
    Partition,
    hidden_of,
    item_ids,
    lists_of,
    serving_of,
)
from tests.support.recommenders import small_recommender


def test_a_state_of_other_weights_is_rebuilt_from_the_segment(partition: Partition) -> None:
    """State and list are those of a user who always had the new weights."""
    new = serving_of(small_recommender("gru", seed=1))
    always = Partition(new)
    for one in (partition, always):
        one.run(one.event("u", "i1", 0), one.event("u", "i2", 1_000))
    partition.serving = new
    effects = partition.run(partition.event("u", "i3", 2_000))
    assert effects.rebuilds == {"weights": 1}
    expected = always.run(always.event("u", "i3", 2_000))
    assert not expected.rebuilds
    assert item_ids(lists_of(effects)[0]) == item_ids(lists_of(expected)[0])
    np.testing.assert_allclose(hidden_of(partition, "u"), hidden_of(always, "u"), atol=1e-5)
    assert partition.state("u").weights == new.key
    assert not partition.run(partition.event("u", "i4", 3_000)).rebuilds


def test_weights_with_a_larger_state_take_over(partition: Partition) -> None:
    """An LSTM's state is twice as long; the record holds the new one."""
    partition.run(partition.event("u", "i1", 0))
    partition.serving = serving_of(small_recommender("lstm"))
    effects = partition.run(partition.event("u", "i2", 1), partition.event("v", "i1", 0))
    assert effects.rebuilds == {"weights": 1}
    assert len(partition.state("u").hidden) == len(partition.state("v").hidden) == 2 * 8 * 4


def test_events_applied_without_weights_count_once_there_are_some() -> None:
    """The first weights of a worker rebuild the state from the whole segment."""
    partition, always = Partition(None), Partition(serving_of())
    for one in (partition, always):
        one.run(one.event("u", "i1", 0), one.event("u", "i2", 1_000))
    partition.serving = serving_of()
    effects = partition.run(partition.event("u", "i3", 2_000))
    always.run(always.event("u", "i3", 2_000))
    assert effects.rebuilds == {"weights": 1}
    np.testing.assert_allclose(hidden_of(partition, "u"), hidden_of(always, "u"), atol=1e-5)


def test_events_applied_while_the_weights_were_away_are_not_missed(partition: Partition) -> None:
    """A worker that starts while its artifact cannot be read, and reads the same one later, rebuilds."""
    always = Partition(serving_of())
    for one in (partition, always):
        one.run(one.event("u", "i1", 0))
    partition.serving = None
    for one in (partition, always):
        one.run(one.event("u", "i2", 1_000))
    partition.serving = serving_of()
    for one in (partition, always):
        one.run(one.event("u", "i3", 2_000))
    np.testing.assert_allclose(hidden_of(partition, "u"), hidden_of(always, "u"), atol=1e-5)


def test_weights_learn_an_item_that_was_unknown_when_its_event_came(partition: Partition) -> None:
    """Segments hold external ids, so a grown vocabulary knows the old events too."""
    vocabulary = small_recommender().vocabulary.grow(["new"], ["c1"])
    grown = serving_of(small_recommender("gru", seed=1, vocabulary=vocabulary))
    always = Partition(grown)
    for one in (partition, always):
        one.run(one.event("u", "new", 0))
    partition.serving = grown
    for one in (partition, always):
        one.run(one.event("u", "i1", 1_000))
    np.testing.assert_allclose(hidden_of(partition, "u"), hidden_of(always, "u"), atol=1e-5)
