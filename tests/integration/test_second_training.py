"""The demo's second training, on the demo's broker."""

import asyncio
import signal
from asyncio.subprocess import Process
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream import second_training
from stream.demo import demo_settings, split_simulated
from stream.embedded import EmbeddedBroker
from stream.errors import FreshetError
from stream.messages import decode_manifest
from stream.second_training import train_again
from stream.settings import Settings
from stream.topics import topic_specs
from stream.weights import load_announced

EVENTS = 3_000
LIMIT_S = 120


@pytest.fixture
def settings(embedded: EmbeddedBroker, tmp_path: Path) -> Settings:
    """Those of a demo, with its topics on the broker."""
    settings = demo_settings(tmp_path, embedded.bootstrap)
    embedded.create_topics({spec.name: spec.partitions for spec in topic_specs(settings)})
    return settings


async def test_weights_of_the_events_so_far_are_announced(settings: Settings, tmp_path: Path) -> None:
    """A worker can load what the process made: it knows the items of the events and of the table."""
    split = split_simulated(events=10, seed=1)
    events, items = split.trained.events[:EVENTS], split.trained.items
    await asyncio.wait_for(train_again(settings, events, items, folder=tmp_path, epochs=1), LIMIT_S)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.brokers, auto_offset_reset="earliest")
    async with consumer:
        consumer.assign([TopicPartition(settings.topics.models, 0)])
        record = await asyncio.wait_for(consumer.getone(), LIMIT_S)
    recommender = load_announced(settings, decode_manifest(record.value))
    assert items is not None
    assert set(recommender.vocabulary.item_ids[1:]) >= {*events["item_id"], *items["item_id"]}
    assert recommender.blend is not None


async def test_a_training_that_fails_is_one_line(settings: Settings, tmp_path: Path) -> None:
    """The command's own reason."""
    nothing = split_simulated(events=10, seed=1).trained.events[:0]
    with pytest.raises(FreshetError, match=r"^the second training failed: .*events\.parquet.*$") as failed:
        await asyncio.wait_for(train_again(settings, nothing, None, folder=tmp_path, epochs=1), LIMIT_S)
    assert "\n" not in str(failed.value)


async def test_a_training_that_is_given_up_ends(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo does not wait for it, and leaves no process behind."""
    started: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
    start = asyncio.create_subprocess_exec

    async def noted(*arguments: str, **options: int) -> Process:
        process = await start(*arguments, **options)
        started.set_result(process)
        return process

    monkeypatch.setattr(second_training.asyncio, "create_subprocess_exec", noted)
    events = split_simulated(events=10, seed=1).trained.events
    training = asyncio.create_task(train_again(settings, events, None, folder=tmp_path, epochs=100))
    process = await asyncio.wait_for(started, LIMIT_S)
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(training, LIMIT_S)
    assert process.returncode == -signal.SIGKILL
