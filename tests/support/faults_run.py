"""One run of a campaign over real data, from the seed to the checker's report."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import polars as pl

from models.fitting import Fitted, train_from_frame
from models.networks import NetworkConfig
from models.training import TrainingConfig
from stream.retraining import announce_fitted
from stream.settings import Settings
from tests.support.campaign import Campaign
from tests.support.checker import Came, Report, Topics, check
from tests.support.deployment import Deployment, Received, Sent
from tests.support.kafka_cluster import KafkaCluster
from tests.support.mixed_events import Mixed, globo, mixed, taobao

TRAINED_ON = 4_000
TAOBAO_MOST = 100_000
BATCH_EVENTS = 200
SESSION_TIMEOUT_S = 6
PARTITIONS = 6
READ_LIMIT_S = 600.0


class Outcome(NamedTuple):
    """What a run came to."""

    report: Report
    faults: Counter[str]
    ended: list[str]


def run(
    cluster: KafkaCluster, data: Path, folder: Path, *, events: int, faults: int, seed: int, guarantee: str
) -> Outcome:
    """Harm three workers on three brokers ``faults`` times over ``events`` events, then count.

    A tenth of the events (at most all of Taobao's, in four topics) stands in the topics before the
    first worker starts; Globo's clicks come while faults happen. So the order of each user's
    events is known: that of their production.
    """
    drawn = random.Random(seed)
    shop = taobao(data, min(TAOBAO_MOST, events // 10))
    news = globo(data, events - shop.height)
    models = [_fitted(pl.concat([shop.head(TRAINED_ON), news.head(TRAINED_ON)]), number) for number in (1, 2)]
    settings = {
        "batch_max_events": BATCH_EVENTS,
        "session_timeout_s": SESSION_TIMEOUT_S,
        "partitions": PARTITIONS,
        "processing_guarantee": guarantee,
        "replication_factor": len(cluster.brokers),
    }
    began_ms = time.time_ns() // 1_000_000 - 2 * events - 60_000
    with Deployment(cluster, folder, **settings) as deployment:
        deployment.make_topics()
        announced = 0

        def announce() -> None:
            nonlocal announced
            asyncio.run(announce_fitted(deployment.settings, models[announced % 2]))
            announced += 1

        announce()
        topics = deployment.topics.events
        stamped = enumerate((*mixed(shop, drawn), *mixed(news, drawn)), began_ms)
        sending = _sent(topics, stamped)
        deployment.send(islice(sending, shop.height), within_s=READ_LIMIT_S)
        campaign = Campaign(cluster, deployment, drawn, announce)
        for number in range(faults):
            # The last chunk is what remains; those before it are equal.
            deployment.send(islice(sending, news.height // (faults + 1)), within_s=READ_LIMIT_S)
            campaign.wait_working()
            print(f"fault {number + 1}: {campaign.harm()}", flush=True)
        deployment.send(sending, within_s=READ_LIMIT_S)
        campaign.finish()
        found = read_topics(deployment)
    used = [one.recommender for one in models[: min(announced, 2)]]
    report = check(found, used, deployment.settings.rules, now_ms=time.time_ns() // 1_000_000)
    return Outcome(report, campaign.done, campaign.ended)


def _fitted(events: pl.DataFrame, number: int) -> Fitted:
    return train_from_frame(
        events.sort("timestamp"),
        trained_at_ms=number,
        rule=Settings.load().segment_rule,
        network=NetworkConfig(units=16),
        training=TrainingConfig(epochs=1, refit=False, validation_share=0.0, seed=number),
    )


def _sent(topics: tuple[str, ...], stamped: Iterable[tuple[int, Mixed]]) -> Iterator[Sent]:
    for at_ms, (behavior, key, value) in stamped:
        yield Sent(topics[behavior], key, value, timestamp_ms=at_ms)


def read_topics(deployment: Deployment) -> Topics:
    """Read everything the run left behind, from the beginning."""
    names = deployment.topics
    sources = (*names.events, names.forget)
    found = Topics(sources, committed=deployment.committed())
    for topic in sources:
        found.events += map(_came, deployment.read(topic, within_s=READ_LIMIT_S))
    found.lists += map(_came, deployment.read(names.recommendations, within_s=READ_LIMIT_S))
    found.changelog += map(_came, deployment.read(names.changelog, within_s=READ_LIMIT_S))
    found.dead_letters += map(_came, deployment.read(names.dead_letter, within_s=READ_LIMIT_S))
    return found


def _came(record: Received) -> Came:
    return Came(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp_ms,
        record.key,
        record.value,
        record.headers,
    )
