"""One event alone: its step and its list of 20 of 10,000 items, beside what others take for the list alone.

OPENBLAS_NUM_THREADS=1 python -m tests.bench.bench_one [--rounds 15] [--report FILE]

Ours is what a worker does with a batch of one event, its state and its message apart: one step of a GRU of
100 units, the scores of all items, the ranking with a mask of what may be listed. The peers get no event:

- faiss: ``IndexFlatIP.search`` for one vector over the same vectors, the bias as their last number;
- cornac: ``rank(user, k=20)`` of matrix factorisation with 100 factors, which puts the 20 best in order and
  returns the other items behind them, and ``rank(user)``, which puts all in order;
- RecTools: ``recommend`` for one user, PureSVD with 100 factors, with nothing left out.

Each runs on one thread and they take turns, round after round. The figures are microseconds of processor
time a list, the ratios those of the medians. Each list is compared with a full sort of the scores it was
made of. A peer that is not installed is not run. Beside them stand the product of one state with the items
alone, scores and ranking with a blend, the same where numba is not installed ("no loops"), and an event
through the worker's whole core (decoding, state, step, list, message, record).
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models import blend, inference, lead, ranking
from models.ranking import top_n_plain
from models.recommender import Recommender
from tests.bench.bench_large import Catalogue
from tests.bench.bench_lists import Product, events_of, recommender
from tests.bench.environment import environment
from tests.bench.threads import on_one_thread
from tests.bench.workload import FIRST_MS, Workload, WrongAnswer

ITEMS, UNITS, LISTED = 10_000, 100, 20
USERS = 64  # whom the calls of a round are for, in turns
CALLS = 128

Rows = NDArray[np.integer]


class Bar(NamedTuple):
    """What a peer's time over ours must reach."""

    peer: str
    least: float


BARS = (
    Bar("faiss", 1 / 1.15),
    Bar("cornac", 8.0),
    Bar("RecTools", 50.0),
)


class NotRun(Exception):
    """Why a peer was not run."""


class Contender(NamedTuple):
    """What makes the list of user number so many, and what raises WrongAnswer unless it is the right one."""

    make: Callable[[int], Any]
    check: Callable[[int], None]


def _agree(name: str, rows: Rows, scores: NDArray[np.floating]) -> None:
    """Raise WrongAnswer unless ``rows`` are the best of ``scores`` (N,), but for what rounding moves."""
    best = top_n_plain(scores[None].astype(np.float32), LISTED)[0][0]
    if not np.array_equal(rows, best) and not np.allclose(scores[rows], scores[best], atol=1e-4):
        raise WrongAnswer(f"{name}: {rows.tolist()} are not the best {LISTED} of all items, {best.tolist()}")


def states_of(ours: Recommender) -> NDArray[np.float32]:
    """(USERS, S) what users' states may look like: those after one event each."""
    rows = 1 + np.arange(USERS)
    nothing = np.zeros(USERS, np.int64)
    return ours.advance(ours.initial(USERS), rows, nothing, nothing, nothing, nothing + FIRST_MS)


def freshet(ours: Recommender) -> Contender:
    """Step, scores and ranking of one event."""
    states, available = states_of(ours), np.ones(ITEMS, np.bool_)
    category = ours.vocabulary.item_category
    row = np.arange(USERS)
    columns = np.stack((1 + row * 7, category[1 + row * 7], row % 4, row * 1_000, FIRST_MS + row * 60_000))

    def advanced(user: int) -> NDArray[np.float32]:
        return ours.advance(states[user : user + 1], *columns[:, user : user + 1])

    def make(user: int) -> Rows:
        return ours.best(advanced(user), LISTED, available=available)[0][0]

    return Contender(make, lambda user: _agree("freshet", make(user), ours.scores(advanced(user))[0]))


@contextmanager
def without_loops() -> Iterator[None]:
    """As where numba is not installed."""
    found = [(module, module.kernels) for module in (blend, inference, lead, ranking)]
    try:
        for module, _ in found:
            module.kernels = lambda: None
        yield
    finally:
        for module, kernels in found:
            module.kernels = kernels


def freshet_plain() -> Contender:
    """Scores and ranking by network and blend where no loops are compiled."""
    with without_loops():
        plain = freshet_blended()

    def make(user: int) -> Rows:
        with without_loops():
            return plain.make(user)

    def check(user: int) -> None:
        with without_loops():
            plain.check(user)

    return Contender(make, check)


def freshet_blended() -> Contender:
    """Scores and ranking of one state by network and blend, as weights serve by default."""
    catalogue = Catalogue(ITEMS)
    ours, users = catalogue.blended(), catalogue.users(USERS)
    parts = [users.part(user, 1, blended=True) for user in range(USERS)]

    def make(user: int) -> Rows:
        states, memories = parts[user]
        return ours.best(states, LISTED, memories)[0][0]

    def check(user: int) -> None:
        states, memories = parts[user]
        _agree("freshet, blend", make(user), ours.scores(states, memories)[0])

    return Contender(make, check)


def product(ours: Recommender) -> Contender:
    """One state times the items, as a bare call."""
    states = torch.from_numpy(states_of(ours))
    factors = torch.cat((states, torch.ones(USERS, 1)), 1)
    vectors = torch.cat((ours.network.item_vectors(), ours.network.bias[:, None]), 1).T.contiguous()

    @torch.inference_mode()
    def make(user: int) -> torch.Tensor:
        return torch.mm(factors[user : user + 1], vectors)

    return Contender(make, lambda _: None)


class Core:
    """The worker's core, an event at a time."""

    def __init__(self) -> None:
        """Begin without users."""
        self._product = Product(recommender(ITEMS))
        self._events = iter(events_of(Workload(100_000, users=USERS, items=ITEMS - 1)))

    def contender(self) -> Contender:
        """The next event, whoever's it is; lists are checked as `bench_lists` checks them."""
        return Contender(lambda _: self._product.run([next(self._events)]), lambda _: self._product.check())


def faiss(ours: Recommender) -> Contender:
    """An exact index over the same vectors."""
    try:
        import faiss as library
    except ImportError as error:
        raise NotRun(f"faiss-cpu is not installed ({error})") from error
    library.omp_set_num_threads(1)
    vectors = torch.cat((ours.network.item_vectors(), ours.network.bias[:, None]), 1).numpy()
    vectors[0] = 0.0
    vectors[0, -1] = np.finfo(np.float32).min  # the unknown item comes last
    queries = np.concatenate((states_of(ours), np.ones((USERS, 1), np.float32)), 1)
    index = library.IndexFlatIP(vectors.shape[1])
    index.add(vectors)

    def make(user: int) -> Rows:
        return index.search(queries[user : user + 1], LISTED)[1][0]

    return Contender(make, lambda user: _agree("faiss", make(user), vectors @ queries[user]))


def _interactions() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Users and items of generated interactions in which every item has its part."""
    rng = np.random.default_rng(1)
    items = np.concatenate((np.arange(1, ITEMS), rng.integers(1, ITEMS, 2 * ITEMS)))
    pairs = np.unique(np.stack((rng.permutation(len(items)) % 1_000, items)), axis=1)
    return pairs[0], pairs[1]


def _cornac() -> Any:
    """Return its matrix factorisation, fitted in passing: what a list costs does not depend on how well."""
    try:
        from cornac.data import Dataset
        from cornac.models import MF
    except ImportError as error:
        raise NotRun(f"cornac is not installed ({error})") from error
    users, items = _interactions()
    triples = [(int(user), int(item), 1.0) for user, item in zip(users, items, strict=True)]
    model = MF(k=UNITS, max_iter=1, num_threads=1, seed=1)
    return model.fit(Dataset.from_uir(triples, seed=1))


def cornac(_: Recommender) -> Contender:
    """Its best 20 in order, the others behind them."""
    model = _cornac()

    def make(user: int) -> Rows:
        return model.rank(user, k=LISTED)[0][:LISTED]

    def check(user: int) -> None:
        scores = model.score(user)
        if not np.allclose(np.sort(scores)[::-1][:LISTED], scores[make(user)], atol=1e-4):
            raise WrongAnswer("cornac: not the best of all items")

    return Contender(make, check)


def cornac_all(_: Recommender) -> Contender:
    """All its items in order."""
    model = _cornac()
    return Contender(lambda user: model.rank(user)[0][:LISTED], lambda _: None)


def rectools(_: Recommender) -> Contender:
    """A frame of the best 20 for one user."""
    try:
        import pandas as pd
        from rectools import Columns
        from rectools.dataset import Dataset
        from rectools.models import PureSVDModel
    except ImportError as error:
        raise NotRun(f"RecTools is not installed ({error})") from error
    users, items = _interactions()
    frame = pd.DataFrame({Columns.User: users, Columns.Item: items, Columns.Weight: 1.0})
    dataset = Dataset.construct(frame.assign(**{Columns.Datetime: pd.Timestamp("2024-01-01")}))
    model = PureSVDModel(factors=UNITS, random_state=1)
    model.fit(dataset)
    of_users, of_items = model.get_vectors()

    def make(user: int) -> Any:
        return model.recommend([user], dataset, k=LISTED, filter_viewed=False)

    def check(user: int) -> None:
        scores = of_items @ of_users[dataset.user_id_map.convert_to_internal([user])[0]]
        if not np.allclose(np.sort(scores)[::-1][:LISTED], make(user)[Columns.Score], atol=1e-4):
            raise WrongAnswer("RecTools: not the best of all items")

    return Contender(make, check)


def contenders(ours: Recommender) -> tuple[dict[str, Contender], dict[str, str]]:
    """Return who runs, by name, and why others do not."""
    found, missing = {"freshet": freshet(ours), "product alone": product(ours)}, {}
    found["freshet, blend"] = freshet_blended()
    found["freshet, no loops"] = freshet_plain()
    found["freshet, whole core"] = Core().contender()
    for name, build in (
        ("faiss", faiss),
        ("cornac", cornac),
        ("cornac, all in order", cornac_all),
        ("RecTools", rectools),
    ):
        try:
            found[name] = build(ours)
        except NotRun as reason:
            missing[name] = str(reason)
    return found, missing


def measure(found: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Let all take turns; return microseconds of processor time a list, round by round."""
    us: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, contender in found.items():
            contender.make(0)
            began_s = time.process_time()
            for call in range(CALLS):
                contender.make(call % USERS)
            us[name].append(1e6 * (time.process_time() - began_s) / CALLS)
    for contender in found.values():
        for user in range(0, USERS, 7):
            contender.check(user)
    return us


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when every peer that ran is as far behind as asked."""
    parser = argparse.ArgumentParser(prog="bench_one", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--report", type=Path, help="write the figures to this file as JSON")
    chosen = parser.parse_args(arguments)
    on_one_thread(parser)
    found, missing = contenders(recommender(ITEMS))
    us = measure(found, chosen.rounds)
    for name, one in us.items():
        print(f"{name:20} {median(one):8.1f} us a list ({min(one):.1f} .. {max(one):.1f})")
    for name, reason in missing.items():
        print(f"{name:20} not run: {reason}")
    ratios = {bar.peer: median(us[bar.peer]) / median(us["freshet"]) for bar in BARS if bar.peer in us}
    for bar in BARS:
        if bar.peer in ratios:
            print(f"{bar.peer} takes {ratios[bar.peer]:.2f} times as long as freshet (asked {bar.least:.2f})")
    if chosen.report is not None:
        settings = {"items": ITEMS, "units": UNITS, "rounds": chosen.rounds, "calls": CALLS}
        report = {"benchmark": "one", **environment(), "settings": settings, "us": us, "ratios": ratios}
        chosen.report.write_text(json.dumps({**report, "not_run": missing}, indent=2) + "\n")
    return 0 if all(ratios.get(bar.peer, bar.least) >= bar.least for bar in BARS) else 1


if __name__ == "__main__":
    sys.exit(main())
