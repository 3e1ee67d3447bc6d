"""Two loops that say how fast the machine is just now: Python's own work, and a network's arithmetic.

Neither runs freshet's code. A time that was measured beside one of them can be carried to another
machine, or to another hour of a busy one, by what that loop took there.
"""

import gc
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final

import msgspec
import torch

from tests.bench.bench_lists import BATCH, bare_loop, processor_s
from tests.bench.workload import LIST_ITEMS, Workload

EVENTS: Final = 10_000
USERS: Final = 1_000
LISTS: Final = 1_024
REPEATS: Final = 5
ITEMS: Final = 10_000


class _Event(msgspec.Struct):
    user_id: str
    item_id: str


def plain_events() -> Callable[[], None]:
    """Return what does the reference workload's work in plain Python: decode, keep the last items, encode."""
    decoder, encode = msgspec.json.Decoder(_Event), msgspec.json.Encoder().encode
    values = [value for _, value in Workload(EVENTS, users=USERS).records()]

    def run() -> None:
        kept: dict[str, list[str]] = {}
        for value in values:
            event = decoder.decode(value)
            items = kept.setdefault(event.user_id, [])
            items.append(event.item_id)
            encode({"user_id": event.user_id, "items": items[-LIST_ITEMS:]})

    return run


class Calibration:
    """Both loops, in turns with what is measured: microseconds of processor time, of the fastest turn.

    That is the machine; what slows another turn is work beside it, and Python more than arithmetic.

    They run in a process of their own, forked before there is much: in one whose heap has the holes of a
    million users, new objects lie far apart, and the plain loop takes half as long again.
    """

    def __init__(self) -> None:
        """Start the process; torch may use one thread in it."""
        self._plain_us: list[float] = []
        self._arithmetic_us: list[float] = []
        context = get_context("fork")
        self._here, there = context.Pipe()
        context.Process(target=_answer, args=(there,), daemon=True).start()

    def take(self) -> None:
        """Take both once."""
        self._here.send("take")
        plain_us, arithmetic_us = self._here.recv()
        self._plain_us.append(plain_us)
        self._arithmetic_us.append(arithmetic_us)

    def figures(self) -> dict[str, float]:
        """Return what an event of the plain loop and a list of the arithmetic took, and end the process."""
        self._here.send("end")
        return {"plain_us": min(self._plain_us), "arithmetic_us": min(self._arithmetic_us)}


def _answer(there: Connection) -> None:
    torch.set_num_threads(1)
    gc.disable()  # a collection would look at all that the forked process has
    plain, arithmetic = plain_events(), bare_loop(ITEMS)
    while there.recv() == "take":
        # Once for a warm cache: what was measured just before has thrown theirs out.
        plain()
        arithmetic(BATCH)
        plain_us, arithmetic_us = (
            1e6 * min(processor_s(work) for _ in range(REPEATS)) / count
            for work, count in ((plain, EVENTS), (lambda: arithmetic(LISTS), LISTS))
        )
        there.send((plain_us, arithmetic_us))
