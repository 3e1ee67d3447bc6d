"""The demo's own run: everything fed is served and measured, and the second training comes half-way."""

import asyncio
from pathlib import Path

import polars as pl
import pytest

from stream import demo, worker
from stream.clock import process_age_s
from stream.demo import Split, demo_settings, first_training, run_demo
from stream.embedded import EmbeddedBroker
from stream.errors import FreshetError
from stream.ordering import in_time_order
from stream.retraining import Material
from stream.simulation import SimulationConfig, simulate

TRAINED = 2_000
FED = 300
LIMIT_S = 120


@pytest.fixture
def split() -> Split:
    """A small shop."""
    made = simulate(SimulationConfig(events=TRAINED + FED, users=60, items=200, seed=2))
    fed = pl.concat(in_time_order([made.events[TRAINED:]]))
    return Split(Material("simulated", made.events[:TRAINED], made.items), fed)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[pl.DataFrame]:
    """What a second training was asked to learn from; it learns nothing."""
    asked = []

    async def noted(settings: object, events: pl.DataFrame, *_: object, **__: object) -> None:
        asked.append(events)

    monkeypatch.setattr(demo, "train_again", noted)
    monkeypatch.setattr(worker, "spare_collections", lambda: None)
    return asked


@pytest.mark.parametrize("retrain", [False, True])
async def test_every_event_is_served_and_half_of_them_are_trained_on(
    embedded: EmbeddedBroker, tmp_path: Path, split: Split, trainings: list[pl.DataFrame], *, retrain: bool
) -> None:
    """A list for each event; asked to, it trains again on the earlier events and half of the others."""
    fitted = first_training(demo_settings(tmp_path, embedded.bootstrap), split, seed=1)
    ready_s: list[float] = []
    running = run_demo(
        embedded,
        tmp_path,
        split,
        fitted,
        rate=150,
        retrain=retrain,
        ready=lambda audience, worker: ready_s.append(process_age_s()),
    )
    figures = await asyncio.wait_for(running, LIMIT_S)
    assert len(ready_s) == 1
    assert figures.lists == figures.due == figures.fed == FED
    assert figures.first_list_s is not None
    assert 0 < figures.first_list_s - ready_s[0] < 0.75 * figures.duration_s
    worth = figures.in_all
    assert 0 < worth.hits <= worth.measured <= FED
    assert worth.popular_reciprocal_rank <= worth.popular_hits
    assert [events.columns for events in trainings] == [split.trained.events.columns] * retrain
    for events in trainings:
        assert TRAINED + FED / 2 <= events.height < TRAINED + FED
        assert events.equals(
            pl.concat([split.trained.events, split.fed.select(events.columns)])[: events.height]
        )


async def test_a_second_training_that_fails_ends_the_demo(
    embedded: EmbeddedBroker, tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is what the demo ends with, once what was fed has been served."""

    async def fails(*_: object, **__: object) -> None:
        raise FreshetError("the second training failed")

    monkeypatch.setattr(demo, "train_again", fails)
    monkeypatch.setattr(worker, "spare_collections", lambda: None)
    fitted = first_training(demo_settings(tmp_path, embedded.bootstrap), split, seed=1)
    running = run_demo(
        embedded, tmp_path, split, fitted, rate=1000, retrain=True, ready=lambda audience, worker: None
    )
    with pytest.raises(FreshetError, match="the second training failed"):
        await asyncio.wait_for(running, LIMIT_S)
