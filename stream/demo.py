"""The demo: broker, first training, worker, events and lists in one process, and what came of it.

It is the worker of ``freshet worker`` on the embedded broker; only the events are fed to it.
Everything is measured from outside or by the worker's own instruments: lists are read from the
recommendations topic as a consumer would, hits and latencies are the worker's.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from models.fitting import Fitted
from models.networks import NetworkConfig
from models.training import Progress, TrainingConfig, untold
from stream import clients
from stream.clock import process_age_s
from stream.delivery import Delivery, delivery_producer
from stream.effects import Effects
from stream.embedded import EmbeddedBroker
from stream.errors import UsageError
from stream.figures import Figures
from stream.messages import decode_list
from stream.ordering import in_time_order
from stream.retraining import Material, Source, announce_fitted, load_source, train_source
from stream.second_training import train_again
from stream.serving import Serving
from stream.settings import Settings
from stream.simulation import SimulationConfig, simulate
from stream.topics import topic_specs
from stream.worker import Worker

PARTITIONS = 4
#: Of a file, the earliest share is trained on and the rest is fed.
TRAINED_SHARE = 0.8
#: A first training has to end within a minute on two cores, whatever the file.
TRAINED_EVENTS = 50_000
#: As a training with the defaults, in fewer epochs; what is held back teaches the blend its weights.
TRAINING = TrainingConfig(epochs=3)
SIMULATED_EVENTS = 40_000
SLICE_S = 0.1
SETTLE_LIMIT_S = 60.0
#: The embedded broker answers a fetch that found nothing only when its wait is over.
FETCH_WAIT_MS = 10


@dataclass(frozen=True)
class Split:
    """What is trained on, what is fed (in event-time order), and where it comes from."""

    trained: Material
    fed: pl.DataFrame


class Audience:
    """Watches the worker and reads its lists; fills in the figures."""

    def __init__(self, serving: Callable[[], Serving | None], *, list_size: int) -> None:
        """Watch a worker whose weights ``serving`` gives."""
        self.figures = Figures()
        self._serving = serving
        self._list_size = list_size
        self._ranked = ""
        self._popular: dict[int, int] = {}

    def _popular_places(self) -> dict[int, int]:
        """Return the place of each row of the list that every user would get without a model.

        It is that of the weights in force, whose rows the worker counts in.
        """
        serving = self._serving()
        if serving is not None and serving.version != self._ranked:
            rows, _ = serving.popular(1, self._list_size, exclude=None, max_per_category=0)
            self._popular = {row: place for place, row in enumerate(rows[0].tolist()) if row > 0}
            self._ranked = serving.version
        return self._popular

    def processed(self, effects: Effects) -> None:
        """Count what a batch led to."""
        figures, quality = self.figures, effects.quality
        for (_, outcome), count in effects.outcomes.items():
            figures.outcomes[outcome] = figures.outcomes.get(outcome, 0) + count
        figures.due = figures.outcomes.get("applied", 0)
        popular = self._popular_places()
        places = [popular[row] for row in quality.rows if row in popular]
        worth = figures.worth_of(self._ranked)
        worth.measured += quality.events
        worth.hits += quality.hits[self._list_size]
        worth.reciprocal_rank += quality.reciprocal_rank
        worth.popular_hits += len(places)
        worth.popular_reciprocal_rank += sum(1 / (place + 1) for place in places)

    def acknowledged(self, latencies_s: npt.NDArray[np.float64]) -> None:
        """Keep the latencies."""
        self.figures.latencies_s.extend(latencies_s.tolist())

    async def read_lists(self, settings: Settings) -> None:
        """Read the recommendations topic until cancelled."""
        topic = settings.topics.recommendations
        consumer = clients.consumer(settings, auto_offset_reset="earliest")
        async with clients.running(consumer, settings):
            consumer.assign(await clients.topic_partitions(settings, topic))
            async for record in consumer:
                made = decode_list(record.value)
                if self.figures.first_list_s is None:
                    self.figures.first_list_s = process_age_s()
                self.figures.lists += 1
                self.figures.personalized += made.kind == "personalized"
                self.figures.newest.appendleft(made)


def split_simulated(*, events: int | None, seed: int) -> Split:
    """Generate a shop: the first events are trained on, the ones after them fed."""
    fed = events or SIMULATED_EVENTS
    simulation = simulate(SimulationConfig(events=SIMULATED_EVENTS + fed, seed=seed))
    trained = Material("simulated", simulation.events[:SIMULATED_EVENTS], simulation.items)
    return Split(trained, _ordered(simulation.events[SIMULATED_EVENTS:]))


def split_file(source: Source, *, events: int | None) -> Split:
    """Cut a file by time: nothing that is fed was trained on or lies before what was."""
    material = load_source(source)
    ordered = _ordered(material.events)
    cut = int(ordered.height * TRAINED_SHARE)
    if cut < 1 or cut == ordered.height:
        raise UsageError(
            f"{source.events} has {ordered.height} events; the demo needs more to train and to feed"
        )
    trained = ordered[max(0, cut - TRAINED_EVENTS) : cut]
    fed = ordered[cut:] if events is None else ordered[cut : cut + events]
    return Split(Material(material.name, trained, material.items), fed)


def _ordered(events: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(in_time_order([events]))


def first_training(settings: Settings, split: Split, *, seed: int, progress: Progress = untold) -> Fitted:
    """Train the demo's first model on the earlier events, on one thread: matrices this small gain none."""
    torch.set_num_threads(1)
    training = replace(TRAINING, seed=seed)
    return train_source(
        settings, split.trained, network=NetworkConfig(), training=training, progress=progress
    )


def demo_settings(folder: Path, bootstrap: str) -> Settings:
    """Return the settings in force with what the demo brings along: its broker and a folder of its own."""
    return Settings.load(
        brokers=bootstrap,
        partitions=PARTITIONS,
        group_id="demo",
        data_dir=folder,
        model_store=str(folder / "models"),
        http_port=0,
        security_protocol="PLAINTEXT",
    )


async def run_demo(
    broker: EmbeddedBroker,
    folder: Path,
    split: Split,
    fitted: Fitted,
    *,
    rate: float,
    retrain: bool = False,
    ready: Callable[[Audience, Worker], None],
) -> Figures:
    """Feed the events at ``rate`` a second (0: as fast as they are taken); returns once all are served.

    ``ready`` is called with what to look at as soon as the worker is. With ``retrain`` a second training
    begins once half of the events are fed, and the last quarter waits for its end, so that some are served
    by what it made. Ends early, with what was reached, when cancelled.
    """
    settings = demo_settings(folder, broker.bootstrap)
    broker.create_topics({spec.name: spec.partitions for spec in topic_specs(settings)})
    await announce_fitted(settings, fitted)
    worker = Worker(settings, fetch_wait_ms=FETCH_WAIT_MS)
    audience = Audience(lambda: worker.recommending.serving, list_size=settings.list_size)
    worker.recommending.dispatch.watchers.append(audience)
    second = _Second(asyncio.Event(), asyncio.Event()) if retrain else None
    serving = asyncio.create_task(worker.run())
    reading = asyncio.create_task(audience.read_lists(settings))
    feeding = asyncio.create_task(
        _feed(settings, worker, audience, split.fed, rate=rate, ready=ready, second=second)
    )
    beside = [feeding, reading]
    if second is not None:
        beside.append(asyncio.create_task(_retrain(settings, audience.figures, split, folder, second)))
    try:
        await asyncio.wait((serving, reading, feeding), return_when=asyncio.FIRST_COMPLETED)
    finally:
        worker.stop()
        for task in beside:
            task.cancel()
        ended = await asyncio.gather(*beside, return_exceptions=True)
        await serving
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome
    return audience.figures


class _Second(NamedTuple):
    """The second training: when it is due, and when it has ended, well or not."""

    due: asyncio.Event
    ended: asyncio.Event


async def _retrain(settings: Settings, figures: Figures, split: Split, folder: Path, second: _Second) -> None:
    """Once half of the events are fed, train on these and the earlier ones."""
    await second.due.wait()
    earlier = split.trained.events
    events = pl.concat([earlier, split.fed[: figures.fed].select(earlier.columns)])
    try:
        await train_again(settings, events, split.trained.items, folder=folder, epochs=TRAINING.epochs)
    finally:
        second.ended.set()


async def _feed(
    settings: Settings,
    worker: Worker,
    audience: Audience,
    events: pl.DataFrame,
    *,
    rate: float,
    ready: Callable[[Audience, Worker], None],
    second: _Second | None,
) -> None:
    """Send the events in slices, the last quarter after a second training; return once all lists are read."""
    await worker.ready.wait()
    figures = audience.figures
    began_s = figures.began_s = time.monotonic()
    ready(audience, worker)
    size = max(1, int(rate * SLICE_S)) if rate else 1000
    async with clients.running(delivery_producer(settings), settings) as producer:
        delivery = Delivery(producer, settings.topics.events, partitions=settings.partitions)
        for begin in range(0, events.height, size):
            due_s = began_s + begin / rate if rate else 0.0
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await delivery.send(events[begin : begin + size])
            figures.fed = delivery.delivered
            if second is not None and figures.fed >= events.height / 2:
                second.due.set()
            if second is not None and figures.fed >= events.height * 3 / 4 and not second.ended.is_set():
                paused_s = time.monotonic()
                await second.ended.wait()
                began_s += time.monotonic() - paused_s
    await _settled(figures)
    figures.ended_s = time.monotonic()


async def _settled(figures: Figures) -> None:
    """Wait until every event fed has an outcome and every list due was read, or nothing moves any more."""
    until_s = time.monotonic() + SETTLE_LIMIT_S
    while time.monotonic() < until_s:
        if sum(figures.outcomes.values()) >= figures.fed and figures.lists >= figures.due:
            return
        await asyncio.sleep(SLICE_S)
