"""The topics: what each must be, and how one that will not do is told."""

import pytest

from stream.errors import TopicError
from stream.settings import Settings
from stream.topics import check_cleanup, check_partitions, check_present, topic_specs

SETTINGS = Settings.load(partitions=4, group_id="g", topic_prefix="")
SPECS = topic_specs(SETTINGS)
RIGHT = {spec.name: spec.partitions for spec in SPECS}


def test_there_is_a_spec_for_every_topic():
    """No topic of the settings is left to be made by accident."""
    assert sorted(RIGHT) == sorted(SETTINGS.topics)


def test_users_meet_by_partition_number():
    """Events, erasures, lists and the changelog share one count."""
    names = SETTINGS.topics
    together = {spec.name for spec in SPECS if spec.copartitioned}
    assert together == {*names.events, names.forget, names.changelog, names.recommendations}
    assert {RIGHT[name] for name in together} == {4}


def test_what_is_looked_up_by_key_is_compacted():
    """The topics of the contract that keep the last record of each key, and the changelog."""
    names = SETTINGS.topics
    compacted = {spec.name for spec in SPECS if spec.cleanup == "compact"}
    assert compacted == {names.items, names.recommendations, names.models, names.changelog}


def test_right_counts_pass():
    """Nothing is said where there is nothing to say; other topics of the cluster do not matter."""
    check_partitions(SPECS, RIGHT | {"somebody.elses": 99})
    check_present(SPECS, RIGHT)
    check_cleanup(SPECS, {spec.name: spec.cleanup for spec in SPECS})


def test_partitions_of_items_are_free():
    """Every worker reads all items, however they are spread."""
    check_partitions(SPECS, RIGHT | {"items": 12})


def test_missing_topics_are_no_wrong_count():
    """They are told by ``check_present``, with the command that makes them."""
    check_partitions(SPECS, {})
    with pytest.raises(TopicError, match=r"^missing topics: events\.cart; make them with `freshet topics`"):
        check_present(SPECS, {name: count for name, count in RIGHT.items() if name != "events.cart"})


def test_one_wrong_count_is_told_with_topic_and_counts():
    """The topic, what it has and what it needs, in one line."""
    with pytest.raises(TopicError) as refused:
        check_partitions(SPECS, RIGHT | {"events.cart": 3})
    assert str(refused.value) == (
        "wrong partition counts, 4 are needed: events.cart has 3; delete them and make them again "
        "(adding partitions would part users from their state)"
    )


def test_cluster_with_one_other_count_only_needs_the_setting():
    """Where all agree among themselves, the setting is what is wrong."""
    others = {spec.name: 6 for spec in SPECS if spec.copartitioned}
    with pytest.raises(TopicError, match=r"set FRESHET_PARTITIONS=6$"):
        check_partitions(SPECS, RIGHT | others)


@pytest.mark.parametrize(
    ("topic", "found"),
    [("g-users-changelog", "delete"), ("g-users-changelog", "compact,delete"), ("events.click", "compact")],
)
def test_topic_that_would_lose_records_is_told(topic, found):
    """State that expires and events that are compacted are both losses."""
    with pytest.raises(TopicError, match=rf"{topic} has {found} and needs"):
        check_cleanup(SPECS, {topic: found})
