"""The runs of ``freshet evaluate``, made in this process or in several, and told of as they come."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from models.splits import Split
from models.summary import Run
from stream.cli import console
from stream.cli.train import using_threads
from stream.comparison import Plan, compare, in_order, tasks
from stream.crew import spread


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def made(splits: Sequence[Split], plan: Plan, jobs: int) -> list[Run]:
    """Make the runs in ``jobs`` processes, in this one where that is 1; in the order of the plan."""
    count = len(tasks(splits, plan))
    several = min(jobs, count) > 1
    with using_threads(1), console.progresses() if several else nullcontext(console.progress) as opened:

        def watch(title: str, total: int | None) -> AbstractContextManager[console.Progress]:
            return opened(title, total=total, unit="epochs" if total is None else "lists")

        runs = spread(splits, plan, watch, jobs) if several else compare(splits, plan, watch)
        return in_order(_told(runs, count), splits, plan)


def _told(runs: Iterable[Run], count: int) -> Iterator[Run]:
    """Tell after each run how many are done, and about how long the others will take."""
    begun_s = time.monotonic()
    for done, run in enumerate(runs, 1):
        took_s = time.monotonic() - begun_s
        left = f", about {took_s / done * (count - done):,.0f} s left at this pace" if done < count else ""
        seed = "" if run.seed is None else f" with seed {run.seed}"
        console.note(
            f"{done} of {count} done: {run.system} learnt{seed} in {run.fit_s:.1f} s, "
            f"its lists made in {run.lists_s:.1f} s, {_headline(run)}; {took_s:,.0f} s so far{left}"
        )
        yield run


def _headline(run: Run) -> str:
    """Write the figures of next items at the longest lists."""
    longest = max((one for one in run.qualities if one.level == "item"), key=lambda one: one.cutoff)
    return f"HR@{longest.cutoff} {longest.prediction_accuracy:.4f} MRR@{longest.cutoff} {longest.mrr:.4f}"
