"""A guard on speed: ratios of our processor time to a plain loop's, beside the last accepted ones.

OPENBLAS_NUM_THREADS=1 python -m tests.bench.quick [--accept] [--report FILE]     (`make bench-quick`)

Each ratio is that of something we do to the plain form of the same work, in one process, in turns, on one
thread: so it hardly depends on how fast the machine is or what else runs there. It is the median over
rounds. One that is more than ``MOST_WORSE`` times the accepted one is measured up to ``MOST_AGAIN`` times
more, and the lowest counts: who shares the caches can hold up one side of a pair for minutes. Then the
command fails and names it. No broker is needed.

``--accept`` measures each three times and writes the medians to ``accepted.json``, which is what a change
that is meant to cost more, or has made something faster, commits. Ratios of another kind of processor can
differ: accept them where they are compared.
"""

import argparse
import json
import resource
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array

from models.events import EventLog
from models.neighbours import ItemNeighbours
from models.networks import NetworkConfig
from models.segment import SegmentRule
from models.training import TrainingConfig, train
from models.vocabulary import Vocabulary
from stream.lists import Lists
from stream.records import MemoryRecords
from stream.rules import Rules
from stream.simulation import SimulationConfig, simulate
from tests.bench import bench_item_cf, bench_large, bench_lists, bench_one, bench_training
from tests.bench.environment import environment
from tests.bench.threads import on_one_thread
from tests.bench.workload import LIST_ITEMS, Workload

ACCEPTED = Path(__file__).with_name("accepted.json")
MOST_WORSE = 1.3
MOST_AGAIN = 4
ITEMS = 10_000


class Pair(NamedTuple):
    """What we do and its plain form, each returning the processor seconds it took, and how often."""

    ours: Callable[[], float]
    plain: Callable[[], float]
    rounds: int


class Over(NamedTuple):
    """A ratio that is too far above the accepted one."""

    name: str
    accepted: float
    found: float

    def __str__(self) -> str:
        """Name the ratio, with both values."""
        worse = self.found / self.accepted
        return f"{self.name}: {self.found:.3f}, {worse:.2f} times the accepted {self.accepted:.3f}"


class NotAccepted(Exception):
    """Ratios are measured that no accepted one belongs to, or the other way round."""


def over(found: Mapping[str, float], accepted: Mapping[str, float]) -> list[Over]:
    """Return the ratios found that are more than ``MOST_WORSE`` times the accepted ones.

    Raises NotAccepted where the two do not have the same names.
    """
    if found.keys() != accepted.keys():
        names = ", ".join(sorted(found.keys() ^ accepted.keys()))
        raise NotAccepted(f"only measured or only accepted: {names}; renew {ACCEPTED.name} with --accept")
    return [
        Over(name, accepted[name], ratio)
        for name, ratio in found.items()
        if ratio > MOST_WORSE * accepted[name]
    ]


def lowest(
    found: Mapping[str, float], accepted: Mapping[str, float], measure: Callable[[str], float]
) -> dict[str, float]:
    """Return the ratios, those that are too far above the accepted ones measured again, lowest kept.

    Each is measured no more once it is near enough, and ``MOST_AGAIN`` times at most.
    """
    kept = dict(found)
    for _ in range(MOST_AGAIN):
        for one in over(kept, accepted):
            kept[one.name] = min(one.found, measure(one.name))
    return kept


def seconds(work: Callable[[], Any]) -> Callable[[], float]:
    """Return what does the work and returns the processor seconds of this process that it took."""
    return partial(bench_lists.processor_s, work)


def child_seconds(command: Sequence[str]) -> Callable[[], float]:
    """Return what runs a command and returns the processor seconds of that process."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def measured() -> float:
        began_s = used()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return used() - began_s

    return measured


def plain_lists(taken: Sequence[bench_lists.Event]) -> None:
    """Answer each event with its user's last items: JSON in, a dictionary, JSON out."""
    newest: dict[bytes, deque[str]] = {}
    for event in taken:
        told = json.loads(event.value)
        items = newest.setdefault(event.key, deque(maxlen=LIST_ITEMS))
        items.append(told["item_id"])
        json.dumps({"user_id": told["user_id"], "items": list(items)}).encode()


class LastItems(bench_lists.Product):
    """The worker's core over one partition, whose lists are the users' last items."""

    def __init__(self, batch: int) -> None:
        """Begin without users and without a network; so many events make a batch."""
        self.batch = batch
        self.lists = Lists(Rules(recent=True), None, bench_lists.TOPICS)
        self.records = MemoryRecords()
        self.made = deque(maxlen=1)


def last_items(batch: int) -> Pair:
    """An event through the worker's core, its list being the user's last items."""
    taken = bench_lists.events_of(Workload(8_192, users=bench_lists.USERS))
    return Pair(seconds(lambda: LastItems(batch).run(taken)), seconds(lambda: plain_lists(taken)), 11)


def lists() -> Pair:
    """An event through the worker's core with the network on, in batches of 512."""
    product = bench_lists.Product(bench_lists.recommender(ITEMS))
    bare = bench_lists.bare_loop(ITEMS)
    taken = bench_lists.events_of(Workload(2_048 * 20, users=bench_lists.USERS, items=ITEMS - 1))
    product.run(taken[:2_048])
    fresh = iter(taken[2_048:])
    return Pair(
        seconds(lambda: product.run([next(fresh) for _ in range(1_024)])), seconds(lambda: bare(1_024)), 15
    )


def one_list() -> Pair:
    """One event's step, scores and ranking, beside the product alone and torch's choice of 20."""
    ours = bench_lists.recommender(ITEMS)
    making, multiplying = bench_one.freshet(ours), bench_one.product(ours)
    users = range(bench_one.USERS)
    return Pair(
        seconds(lambda: [making.make(user) for user in users]),
        seconds(lambda: [multiplying.make(user).topk(20) for user in users]),
        15,
    )


def blend() -> Pair:
    """What the four sums of a blend add for 64 users, beside the sparse product that one of them is."""
    catalogue = bench_large.Catalogue(ITEMS)
    ours, users = catalogue.blended().blend, catalogue.users(64)
    assert ours is not None
    scores = np.zeros((64, ITEMS), np.float32)
    near = ours.neighbours
    table = csr_array((near.weights, near.rows, near.begins), shape=(ITEMS, ITEMS))
    had = users.memories.rows[:, :20]
    begins = np.arange(0, had.size + 1, had.shape[1])
    histories = csr_array((np.ones(had.size, np.float32), had.ravel(), begins), shape=(64, ITEMS))
    return Pair(
        seconds(lambda: [ours.add(scores, users.memories) for _ in range(20)]),
        seconds(lambda: [histories @ table for _ in range(20)]),
        15,
    )


def training() -> Pair:
    """An epoch of the GRU, beside the plain loop."""
    log, vocabulary = _shop(12_000)
    torch.manual_seed(1)
    loop = bench_training.PlainLoop(bench_training.PlainGru(vocabulary.n_items), log)
    once = TrainingConfig(epochs=1, validation_share=0.0)
    network = NetworkConfig(units=bench_training.UNITS)
    return Pair(
        seconds(lambda: train(log, vocabulary, rule=SegmentRule(), network=network, training=once)),
        seconds(loop.epoch),
        7,
    )


def item_cf() -> Pair:
    """Fitting item CF, beside the bare product of the matrix with itself."""
    log, vocabulary = _shop(50_000)
    had = bench_item_cf.matrix(log, vocabulary.n_items)
    return Pair(
        seconds(lambda: ItemNeighbours.fit(log, n_items=vocabulary.n_items)), seconds(lambda: had.T @ had), 9
    )


def start() -> Pair:
    """`freshet --help`, beside the import of what the commands are written with."""
    told = "import sys; from stream.cli.main import main; sys.argv[1:] = ['--help']; main()"
    plain = "import typer, rich.console"
    return Pair(child_seconds([sys.executable, "-c", told]), child_seconds([sys.executable, "-c", plain]), 15)


PAIRS: Mapping[str, Callable[[], Pair]] = {
    "event, list of last items, batches of 512": partial(last_items, 512),
    "event, list of last items, batches of 8,192": partial(last_items, 8_192),
    "event, list of the network, batches of 512": lists,
    "one event alone, list of the network": one_list,
    "what a blend adds": blend,
    "epoch of the GRU": training,
    "fit of item CF": item_cf,
    "start": start,
}


def _shop(count: int) -> tuple[EventLog, Vocabulary]:
    """Return generated events as rows, and the vocabulary."""
    return bench_item_cf.log_of(
        simulate(SimulationConfig(events=count, users=count // 25, items=2_000)).events
    )


def measured(name: str) -> float:
    """Return one ratio, the median over rounds of ours to the plain form's; the first one only warms up."""
    pair = PAIRS[name]()
    ratios = [pair.ours() / pair.plain() for _ in range(1 + pair.rounds)]
    return median(ratios[1:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, or accept; 0 where nothing is too far above what was accepted."""
    parser = argparse.ArgumentParser(prog="quick", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--accept", action="store_true", help=f"write what is found to {ACCEPTED.name}")
    parser.add_argument("--report", type=Path, help="write the figures to this file as JSON")
    chosen = parser.parse_args(arguments)
    on_one_thread(parser)
    if chosen.accept:
        ratios = {name: round(median(measured(name) for _ in range(3)), 3) for name in PAIRS}
        ACCEPTED.write_text(json.dumps({**environment(), "ratios": ratios}, indent=2) + "\n")
        return 0
    accepted = json.loads(ACCEPTED.read_text())["ratios"]
    try:
        over(dict.fromkeys(PAIRS, 0.0), accepted)  # that there is one of each, before the work
    except NotAccepted as error:
        print(f"quick: {error}", file=sys.stderr)
        return 1
    found = lowest({name: measured(name) for name in PAIRS}, accepted, measured)
    for name, ratio in found.items():
        print(f"{name:44} {ratio:7.3f} of the plain form's time (accepted {accepted[name]:.3f})")
    if chosen.report is not None:
        report = {"benchmark": "quick", **environment(), "accepted": accepted, "ratios": found}
        chosen.report.write_text(json.dumps(report, indent=2) + "\n")
    worse = over(found, accepted)
    for one in worse:
        print(f"too slow: {one}", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
