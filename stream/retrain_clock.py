"""When the retraining job runs: retrainings and light refreshes, each at its own interval, and trials."""

import asyncio
import math
import time
from collections.abc import Callable
from logging import getLogger
from typing import Final

from models.errors import ModelsError
from stream.errors import FreshetError
from stream.retrain_job import Kind, RetrainJob
from stream.settings import Settings

log = getLogger(__name__)

LOOK_S: Final = 2.0
"""Between two looks at a trial."""

SEARCH_S: Final = 60.0
"""Between two looks whether a person has put a challenger on trial; its events wait in Kafka."""


class Clock:
    """When which kind of run is due: retrainings and light refreshes, each at its own interval."""

    def __init__(self, settings: Settings, *, now_s: float) -> None:
        """Begin with a retraining at once."""
        self._every_s = {"train": settings.retrain_interval_s, "light": settings.retrain_light_interval_s}
        self._due_s = {"train": now_s, "light": now_s + self._every_s["light"]}
        if not self._every_s["light"]:
            self._due_s["light"] = math.inf

    def next(self, now_s: float) -> tuple[Kind | None, float]:
        """The kind of the next run (None: a retraining), and how long it is until then.

        Where both are due the retraining comes first. The interval is between beginnings; one that was
        missed because a run took long is not made up for.
        """
        what = min(self._due_s, key=lambda name: (max(self._due_s[name], now_s), name != "train"))
        return ("light" if what == "light" else None), max(0.0, self._due_s[what] - now_s)

    def began(self, kind: Kind | None, now_s: float) -> None:
        """Note the beginning of a run."""
        what = "light" if kind == "light" else "train"
        self._due_s[what] = now_s + self._every_s[what]


async def run_on(job: RetrainJob, clock: Clock, stopping: asyncio.Event, mine: Callable[[], bool]) -> None:
    """Run whenever it is time, until told to stop; ``mine`` says whether it is this process's turn.

    In between it looks at the trial that is on, or whether one is. What a person can set right is logged,
    and tried again at the next time.
    """
    while not stopping.is_set():
        kind, wait_s = clock.next(time.monotonic())
        look_s = SEARCH_S if job.trying is False else LOOK_S
        try:
            await asyncio.wait_for(stopping.wait(), min(wait_s, look_s))
        except TimeoutError:
            due = wait_s <= look_s
            if due:
                clock.began(kind, time.monotonic())
            if not mine():
                # Whoever has the turn next looks soon.
                job.trying = None
                continue
            try:
                await (job.run(kind) if due else job.look())
            except (FreshetError, ModelsError) as error:
                # What fails each time need not fail every two seconds.
                job.trying = False
                log.error("a run failed: %s", error)  # noqa: TRY400 - one line is enough
