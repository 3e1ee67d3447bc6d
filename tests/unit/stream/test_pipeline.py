"""The order of deliveries: lists, then the changelog, then offsets, each partition in its order."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from stream.pipeline import Half, Pipeline


class Deliveries:
    """Halves of deliveries that note when they run and wait for a word."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.begun: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.errors: dict[str, Exception] = {}
        self.failures: list[BaseException] = []

    def half(self, name: str) -> Half:
        """A half that ends when its gate is opened, with its error if it has one."""
        gate = self.gates[name] = asyncio.Event()

        async def run() -> None:
            self.begun.append(name)
            await gate.wait()
            if name in self.errors:
                raise self.errors[name]
            self.done.append(name)

        return run

    def open(self, *names: str) -> None:
        """Let these halves end."""
        for name in names:
            self.gates[name].set()

    async def failed(self, error: BaseException) -> None:
        """Note what the pipeline reports."""
        self.failures.append(error)


@pytest.fixture
def deliveries() -> Deliveries:
    """Nothing noted yet."""
    return Deliveries()


@pytest.fixture
def pipeline(deliveries: Deliveries) -> Pipeline:
    """A pipeline for four deliveries at a time."""
    return Pipeline(limit=4, failed=deliveries.failed)


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


Submit = Callable[[int, str], Awaitable[None]]


@pytest.fixture
def submit(pipeline: Pipeline, deliveries: Deliveries) -> Submit:
    """Submit the delivery NAME of a partition; its halves are NAME.lists and NAME.log."""

    async def submitted(partition: int, name: str) -> None:
        await pipeline.submit(partition, deliveries.half(f"{name}.lists"), deliveries.half(f"{name}.log"))

    return submitted


async def test_the_second_half_waits_for_the_first(deliveries: Deliveries, submit: Submit) -> None:
    """The changelog is not begun before the lists are acknowledged."""
    await submit(0, "a")
    await settle()
    assert deliveries.begun == ["a.lists"]
    deliveries.open("a.lists", "a.log")
    await settle()
    assert deliveries.done == ["a.lists", "a.log"]


async def test_first_halves_run_side_by_side_and_second_halves_in_order(
    deliveries: Deliveries, submit: Submit
) -> None:
    """Lists of the next batch may be there first; its changelog waits for the one before."""
    await submit(0, "a")
    await submit(0, "b")
    deliveries.open("b.lists", "b.log")
    await settle()
    assert deliveries.begun == ["a.lists", "b.lists"]
    assert deliveries.done == ["b.lists"]
    deliveries.open("a.lists", "a.log")
    await settle()
    assert deliveries.done == ["b.lists", "a.lists", "a.log", "b.log"]


async def test_partitions_do_not_wait_for_one_another(deliveries: Deliveries, submit: Submit) -> None:
    """One slow partition holds only itself."""
    await submit(0, "slow")
    await submit(1, "quick")
    deliveries.open("quick.lists", "quick.log")
    await settle()
    assert deliveries.done == ["quick.lists", "quick.log"]
    deliveries.open("slow.lists", "slow.log")
    await settle()


async def test_no_more_than_the_limit_are_under_way(
    pipeline: Pipeline, deliveries: Deliveries, submit: Submit
) -> None:
    """The fifth of four waits until one is done, so that batches do not pile up in memory."""
    for name in "abcd":
        await submit(0, name)
    fifth = asyncio.create_task(submit(1, "e"))
    await settle()
    assert not fifth.done()
    deliveries.open("a.lists", "a.log")
    await settle()
    assert fifth.done()
    deliveries.open(*(f"{name}.{half}" for name in "bcde" for half in ("lists", "log")))
    assert await pipeline.drain(5)


@pytest.mark.parametrize("half", ["lists", "log"])
async def test_after_a_failure_no_second_half_is_run(
    pipeline: Pipeline, deliveries: Deliveries, submit: Submit, half: str
) -> None:
    """A later changelog would let offsets be committed past what was lost; the failure is told once."""
    deliveries.errors[f"a.{half}"] = RuntimeError("refused")
    deliveries.errors["c.lists"] = RuntimeError("refused as well")
    await submit(0, "a")
    await submit(0, "b")
    await submit(1, "c")
    deliveries.open(*(f"{name}.{one}" for name in "abc" for one in ("lists", "log")))
    await settle()
    assert {name for name in deliveries.done if name.endswith(".log")} <= {"c.log"}
    assert "b.log" not in deliveries.begun
    assert pipeline.broken
    assert len(deliveries.failures) == 1
    assert not await pipeline.drain(5)


async def test_draining_waits_for_what_is_under_way(
    pipeline: Pipeline, deliveries: Deliveries, submit: Submit
) -> None:
    """True when all of it is delivered, and at once where there is nothing."""
    assert await pipeline.drain(0)
    await submit(0, "a")
    drained = asyncio.create_task(pipeline.drain(5))
    await settle()
    assert not drained.done()
    deliveries.open("a.lists", "a.log")
    assert await drained
    assert deliveries.done == ["a.lists", "a.log"]


async def test_draining_gives_up_in_time(pipeline: Pipeline, deliveries: Deliveries, submit: Submit) -> None:
    """False says that memory may be ahead of the changelog."""
    await submit(0, "a")
    assert not await pipeline.drain(0.01)
    deliveries.open("a.lists", "a.log")
    assert await pipeline.drain(5)


async def test_a_partition_is_idle_when_its_own_deliveries_are_done(
    pipeline: Pipeline, deliveries: Deliveries
) -> None:
    """Those of others are not waited for, and whoever waits may be cancelled."""
    await pipeline.idle(1)
    await pipeline.submit(1, deliveries.half("lists"), deliveries.half("log"))
    await pipeline.submit(2, deliveries.half("other"), deliveries.half("other log"))
    given_up, idle = (asyncio.ensure_future(pipeline.idle(1)) for _ in range(2))
    await settle()
    given_up.cancel()
    deliveries.open("lists")
    await settle()
    assert not idle.done()
    deliveries.open("log")
    await asyncio.wait_for(idle, 1)
    assert deliveries.done == ["lists", "log"]
    deliveries.open("other", "other log")
    assert await pipeline.drain(1)
