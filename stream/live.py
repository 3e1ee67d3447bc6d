"""What the demo's page is told: a sample of the worker's figures each second, and what came last.

The worker's loop writes here and the page's server reads from a thread of its own. Counters are read
from the instruments behind ``/metrics``; the latencies are those that its histogram takes in.
"""

import asyncio
import time
from collections import deque
from itertools import islice
from operator import itemgetter
from threading import Lock

import msgspec
import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry

from models.behavior import Behavior
from models.training import Epoch, Part
from stream.clock import now_ms
from stream.demo import Audience
from stream.effects import Effects
from stream.explained import Explained, explained
from stream.messages import decode_list
from stream.serving import Serving
from stream.state import decode_state
from stream.worker import Worker

SAMPLE_S = 1.0
#: An hour of samples, of some 200 bytes each.
SAMPLES_KEPT = 3600
#: The quantiles of a sample are those of the lists acknowledged in this time before it.
LATENCY_WINDOW_S = 10.0
NEWEST_SHOWN = 6
LISTED_SHOWN = 3
USERS_KEPT = 200

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one moment; all but the latencies count from the beginning.

    ``t_s`` is the time since the first event was fed. ``measured`` are the events whose user had been
    sent a list before; ``hits`` and ``reciprocal_rank`` are those lists' over them, the ``popular_`` ones
    what one list of the most popular items would have had. A latency is None where no list was sent lately.
    """

    t_s: float
    events: int
    lists: int
    measured: int
    hits: int
    reciprocal_rank: float
    popular_hits: int
    popular_reciprocal_rank: float
    p50_ms: float | None
    p99_ms: float | None


class HandOver(msgspec.Struct, frozen=True):
    """Weights came in force; ``t_s`` as in ``Sample``, 0 for the first."""

    t_s: float
    version: str
    trained_at_ms: int


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A user's newest event and the beginning of the list it led to."""

    user_id: str
    behavior: str
    item_id: str
    kind: str
    items: list[str]


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What the page asks for each second. ``next`` is the number of the sample after the last one told."""

    phase: str
    source: str
    part: str
    epochs: int
    metrics_url: str
    list_size: int
    outcomes: dict[str, int]
    refused_weights: int
    hand_overs: list[HandOver]
    newest: list[Served]
    users: list[str]
    next: int
    samples: list[Sample]


class Live:
    """The demo as the page sees it; a ``Watcher`` of its worker. Safe to read from any thread."""

    def __init__(self, source: str) -> None:
        """Begin with the first training; ``source`` names where the events come from."""
        self._source = source
        self._part = Part("")
        self._epochs = 0
        self._worker: Worker | None = None
        self._audience: Audience | None = None
        self._lock = Lock()
        self._newest: deque[tuple[bytes, bytes]] = deque(maxlen=NEWEST_SHOWN)
        self._users: dict[bytes, None] = {}
        self._latencies: deque[tuple[float, npt.NDArray[np.float64]]] = deque()
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_KEPT)
        self._sampled = 0
        self._hand_overs: list[HandOver] = []
        self._shown: tuple[Serving | None, bytes, Explained | None] | None = None

    def training(self, so_far: Part | Epoch) -> None:
        """Note how far the first training is."""
        if isinstance(so_far, Part):
            self._part, self._epochs = so_far, 0
        else:
            self._epochs = so_far.number

    def begin(self, audience: Audience, worker: Worker) -> None:
        """Show this worker from now on."""
        worker.recommending.dispatch.watchers.append(self)
        self._worker, self._audience = worker, audience

    # The worker's side.

    def processed(self, effects: Effects) -> None:
        """Keep what came last of a batch, to be read when the page asks."""
        states = effects.states
        # The record is that after the batch, so only a user's last list belongs to it.
        last: dict[bytes, bytes | None] = {}
        produced = zip(effects.produced_ms, effects.lists, strict=True)
        in_order = sorted(produced, key=itemgetter(0))  # a batch goes user by user
        for _, (key, value) in reversed(in_order[-NEWEST_SHOWN:]):
            last.setdefault(key, value)
        pairs = [(value, states.get(key)) for key, value in reversed(last.items())]
        with self._lock:
            self._newest += [
                (value, state) for value, state in pairs if value is not None and state is not None
            ]
            for key in islice(reversed(states), USERS_KEPT):
                self._users.pop(key, None)
                self._users[key] = None
            for key in list(islice(self._users, max(0, len(self._users) - USERS_KEPT))):
                del self._users[key]

    def acknowledged(self, latencies_s: npt.NDArray[np.float64]) -> None:
        """Keep the latencies of the last seconds."""
        with self._lock:
            self._latencies.append((time.monotonic(), latencies_s))

    async def sampling(self) -> None:
        """Take a sample each second until cancelled."""
        while True:
            if self._worker is not None and self._audience is not None:
                self.sample(self._worker, self._audience)
            await asyncio.sleep(SAMPLE_S)

    def sample(self, worker: Worker, audience: Audience) -> None:
        """Take a sample; called in the worker's loop, so that its figures are of one moment."""
        figures, series = audience.figures, _series(worker.registry)
        t_s = round(figures.duration_s, 3)
        p50_ms, p99_ms = self._quantiles_ms()
        worth = figures.in_all
        sample = Sample(
            t_s=t_s,
            events=int(_total(series, "freshet_events_total")),
            lists=int(_total(series, "freshet_recommendations_total")),
            measured=int(_total(series, "freshet_prequential_events_total")),
            hits=int(_total(series, "freshet_prequential_hits_total", cutoff=str(worker.settings.list_size))),
            reciprocal_rank=_total(series, "freshet_prequential_reciprocal_rank_total"),
            popular_hits=worth.popular_hits,
            popular_reciprocal_rank=worth.popular_reciprocal_rank,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
        )
        with self._lock:
            self._samples.append(sample)
            self._sampled += 1
            self._note_weights(worker, t_s if self._hand_overs else 0.0)

    def _note_weights(self, worker: Worker, t_s: float) -> None:
        """Note a hand-over where other weights are in force than at the last sample."""
        serving = worker.recommending.serving
        if serving is not None and (not self._hand_overs or self._hand_overs[-1].version != serving.version):
            self._hand_overs.append(HandOver(t_s, serving.version, serving.recommender.trained_at_ms))

    def _quantiles_ms(self) -> tuple[float | None, float | None]:
        """Return the median and the 99th percentile of the last seconds' latencies."""
        since_s = time.monotonic() - LATENCY_WINDOW_S
        with self._lock:
            while self._latencies and self._latencies[0][0] < since_s:
                self._latencies.popleft()
            if not self._latencies:
                return None, None
            latencies_ms = np.concatenate([latencies_s for _, latencies_s in self._latencies]) * 1000
        p50_ms, p99_ms = np.quantile(latencies_ms, (0.5, 0.99)).tolist()
        return round(p50_ms, 1), round(p99_ms, 1)

    # The page's side.

    def news(self, since: int) -> News:
        """Return how it stands, with the samples from number ``since`` on."""
        worker = self._worker
        series = {} if worker is None else _series(worker.registry)
        with self._lock:
            first = self._sampled - len(self._samples)
            samples = list(islice(self._samples, max(0, since - first), None))
            newest, users = list(self._newest), [key.decode() for key in reversed(self._users)]
            hand_overs, sampled = list(self._hand_overs), self._sampled
        return News(
            phase="training" if worker is None else "serving",
            source=self._source,
            part=self._part.title,
            epochs=self._epochs,
            metrics_url="" if worker is None else f"http://127.0.0.1:{worker.web.port}/metrics",
            list_size=0 if worker is None else worker.settings.list_size,
            outcomes=_by_outcome(series),
            refused_weights=int(_total(series, "freshet_model_swaps_total", outcome="refused")),
            hand_overs=hand_overs,
            newest=[_served(value, state) for value, state in reversed(newest)],
            users=users,
            next=sampled,
            samples=samples,
        )

    def user(self, user_id: str) -> Explained | None:
        """Return a user's segment and list with the reasons; None where the worker holds no list."""
        worker = self._worker
        if worker is None or (record := worker.record_of(user_id)) is None:
            return None
        lists = worker.recommending.lists()
        # A page asks again and again for a user to whom nothing has happened since.
        if self._shown is None or self._shown[0] is not lists.serving or self._shown[1] != record:
            found = explained(user_id.encode(), record, lists, now_ms=now_ms())
            self._shown = (lists.serving, record, found)
        return self._shown[2]


def _served(value: bytes, state: bytes) -> Served:
    """Read a list and the record behind it."""
    made, newest = decode_list(value), decode_state(state)
    return Served(
        user_id=made.user_id,
        behavior=Behavior(newest.behaviors[-1]).name.lower(),
        item_id=newest.items[-1],
        kind=made.kind,
        items=[item.item_id for item in made.items[:LISTED_SHOWN]],
    )


def _series(registry: CollectorRegistry) -> Series:
    """Return every sample of the instruments by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def _total(series: Series, name: str, **labels: str) -> float:
    """Sum the samples of a name that have these labels among theirs."""
    wanted = labels.items()
    return sum(value for (one, has), value in series.items() if one == name and wanted <= set(has))


def _by_outcome(series: Series) -> dict[str, int]:
    """Count the events by what became of them."""
    counts: dict[str, int] = {}
    for (name, labels), value in series.items():
        if name == "freshet_events_total":
            outcome = dict(labels)["outcome"]
            counts[outcome] = counts.get(outcome, 0) + int(value)
    return counts
