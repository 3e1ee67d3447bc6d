"""A worker as the demo's page knows it, without Kafka: one partition, its instruments and its watchers."""

from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from models.recommender import Recommender
from stream.demo import Audience
from stream.dispatch import Dispatch
from stream.effects import Effects
from stream.lists import Lists
from stream.live import Live
from stream.rules import Rules
from stream.telemetry import Telemetry
from tests.support.partitions import SEGMENT, TOPICS, Partition, serving_of
from tests.support.recommenders import small_recommender

METRICS_PORT = 1234


class Shop:
    """A worker under way, the audience that watches it and what the page is told of both."""

    def __init__(self) -> None:
        """Begin with weights in force."""
        self.live = Live("simulated")
        self.partition = Partition(
            serving_of(small_recommender(blended=True)), Rules(segment=SEGMENT, list_size=5)
        )
        self.registry = CollectorRegistry()
        outbox: Any = None
        topics: Any = None
        self.dispatch = Dispatch(outbox, topics=topics, sources=TOPICS, telemetry=Telemetry(self.registry))
        self.recommending = SimpleNamespace(
            dispatch=self.dispatch, serving=self.partition.serving, lists=self._lists
        )
        self.worker: Any = SimpleNamespace(
            registry=self.registry,
            settings=SimpleNamespace(list_size=5),
            recommending=self.recommending,
            web=SimpleNamespace(port=METRICS_PORT),
            record_of=lambda user_id: self.partition.records.get(user_id.encode()),
        )
        self.audience = Audience(lambda: self.recommending.serving, list_size=5)
        self.dispatch.watchers.append(self.audience)

    def _lists(self) -> Lists:
        return Lists(self.partition.rules, self.partition.serving, TOPICS)

    def begin(self) -> None:
        """Let the page watch."""
        self.live.begin(self.audience, self.worker)

    def serve(self, recommender: Recommender) -> None:
        """Hand over to other weights."""
        self.partition.serving = self.recommending.serving = serving_of(recommender)

    def run(self, *events: tuple[str, str]) -> Effects:
        """Apply a click of each user on each item as one batch, and count it as a worker does."""
        offset = self.partition.offsets[0]
        produced = []
        for place, (user_id, item_id) in enumerate(events):
            source, sent = self.partition.event(user_id, item_id, offset + place)
            produced.append((source, sent._replace(timestamp=sent.timestamp + place)))
        effects = self.partition.run(*produced)
        self.dispatch.count(effects)
        return effects

    def sample(self) -> None:
        """Take a sample now."""
        self.live.sample(self.worker, self.audience)
