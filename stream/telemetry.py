"""The Prometheus instruments, all of them; the registry they live in is passed in.

Names begin with ``freshet_``, base units, no user or item in a label. Every series whose labels
are known beforehand exists from the start at 0, so that a rate is right from the first event.

Buckets. *event_to_recommendation*: a fresh list takes milliseconds, a worker that catches up may
take a minute, so 1 ms to 60 s in steps of 2 to 2.5. *stage*: a stage of a batch takes from 10
microseconds (one event) to seconds (20,000 of them). *recovery*: an empty state is there at
once, a large one takes minutes. *retrain_duration*: from the seconds of a warm update to hours.
"""

from collections.abc import Iterable, Iterator
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from models.behavior import Behavior
from stream.messages import ERROR_WORDS

OUTCOMES: Final = ("applied", "duplicate", "late", "suspicious", "invalid")
KINDS: Final = ("personalized", "popular")
STAGES: Final = ("read", "apply", "advance", "rank", "encode", "lists", "changelog", "keep")
"""The stages of a batch: read the records, decode and apply, advance, rank, encode the records, the two
sends, and keep the records (on disk, where they are)."""

SWAP_OUTCOMES: Final = ("swapped", "refused")
RETRAIN_OUTCOMES: Final = ("promoted", "refused", "failed", "no_data", "trial")
"""Announced; not shown to be better; broke off; too little was new to train; a challenger is on trial."""

REBUILD_CAUSES: Final = ("segment", "weights")
"""The segment began anew or changed in the middle; or the weights are other ones."""

LATENCY_BUCKETS_S: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
STAGE_BUCKETS_S: Final = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
RECOVERY_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
RETRAIN_BUCKETS_S: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0)


class Telemetry:
    """Every instrument, registered in ``registry``; one object for each process or test.

    ``events_total`` and its like are set by who knows: the loop counts events and lists, the
    worker's timer sets lag and sizes, the retraining job its own.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make and register the instruments."""
        # The client library would add a freshet_..._created beside each counter; none is asked for.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        self.registry = registry
        self._serving(registry)
        self._quality(registry)
        self._models(registry)
        self._state(registry)
        self._begin()

    def _serving(self, registry: CollectorRegistry) -> None:
        """Make the instruments of events in and lists out."""
        self.events = Counter(
            "freshet_events",
            "Events read, by behaviour and by what became of them.",
            ["behavior", "outcome"],
            registry=registry,
        )
        self.recommendations = Counter(
            "freshet_recommendations", "Lists sent, by kind.", ["kind"], registry=registry
        )
        self.event_to_recommendation_seconds = BulkHistogram(
            "freshet_event_to_recommendation_seconds",
            "Time from an event's production to the acknowledgement of its list.",
            LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "freshet_stage_seconds",
            "Time that a batch spent in a stage.",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.consumer_lag = Gauge(
            "freshet_consumer_lag",
            "Records of a partition that are not yet committed.",
            ["topic", "partition"],
            registry=registry,
        )
        self.dead_letters = Counter(
            "freshet_dead_letters", "Records refused, by the word for why.", ["error"], registry=registry
        )

    def _quality(self, registry: CollectorRegistry) -> None:
        """Make the instruments of live quality: each event is first looked for in the list before it."""
        self.prequential_events = Counter(
            "freshet_prequential_events", "Events whose user had been sent a list before.", registry=registry
        )
        self.prequential_hits = Counter(
            "freshet_prequential_hits",
            "Those whose item stood in that list, among its first so many.",
            ["cutoff"],
            registry=registry,
        )
        self.prequential_reciprocal_rank = Counter(
            "freshet_prequential_reciprocal_rank",
            "Sum of 1/place of those items in their lists.",
            registry=registry,
        )
        self.prequential_unknown = Counter(
            "freshet_prequential_unknown",
            "Those whose item the weights that serve the user do not know: no list could hold it.",
            registry=registry,
        )

    def _models(self, registry: CollectorRegistry) -> None:
        """Make the instruments of weights and of the job that makes them."""
        self.model = Info("freshet_model", "The weights in force, in the label version.", registry=registry)
        self.model_trained_timestamp_seconds = Gauge(
            "freshet_model_trained_timestamp_seconds",
            "When the weights in force were trained, in seconds since the epoch.",
            registry=registry,
        )
        self.model_swaps = Counter(
            "freshet_model_swaps", "Announced weights taken or refused.", ["outcome"], registry=registry
        )
        self.retraining = RetrainTelemetry(registry)

    def _state(self, registry: CollectorRegistry) -> None:
        """Make the instruments of users' state and of the group."""
        self.state_users = Gauge(
            "freshet_state_users",
            "Users whose state this worker holds, copies of others' included.",
            registry=registry,
        )
        self.state_rebuilds = Counter(
            "freshet_state_rebuilds",
            "Hidden states computed anew from their segment, by cause.",
            ["cause"],
            registry=registry,
        )
        self.recovery_seconds = Histogram(
            "freshet_recovery_seconds",
            "Time to restore the state of newly assigned partitions.",
            buckets=RECOVERY_BUCKETS_S,
            registry=registry,
        )
        self.rebalances = Counter(
            "freshet_rebalances", "Times the group shared its partitions out anew.", registry=registry
        )

    def _begin(self) -> None:
        """Let every series whose labels are known exist at 0."""
        for behavior in Behavior:
            for outcome in OUTCOMES:
                self.events.labels(behavior.name.lower(), outcome)
        known: Iterable[tuple[Counter | Histogram, Iterable[str]]] = (
            (self.recommendations, KINDS),
            (self.stage_seconds, STAGES),
            (self.dead_letters, ERROR_WORDS),
            (self.model_swaps, SWAP_OUTCOMES),
            (self.state_rebuilds, REBUILD_CAUSES),
        )
        for instrument, words in known:
            for word in words:
                instrument.labels(word)


class RetrainTelemetry:
    """The instruments of the retraining job, which shows no others: events and lists are the workers'."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make and register the instruments."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        self.registry = registry
        self.runs = Counter(
            "freshet_retrain_runs", "Runs of the retraining job.", ["outcome"], registry=registry
        )
        self.duration_seconds = Histogram(
            "freshet_retrain_duration_seconds",
            "Time of a run of the retraining job.",
            buckets=RETRAIN_BUCKETS_S,
            registry=registry,
        )
        self.last_success_timestamp_seconds = Gauge(
            "freshet_retrain_last_success_timestamp_seconds",
            "When a retraining run last ended well, in seconds since the epoch.",
            registry=registry,
        )
        self.model_quality = Gauge(
            "freshet_model_quality",
            "Quality on the newest events, and on live lists, by role (champion, challenger) and metric.",
            ["role", "metric"],
            registry=registry,
        )
        for outcome in RETRAIN_OUTCOMES:
            self.runs.labels(outcome)


class BulkHistogram(Collector):
    """A histogram that takes a whole batch of observations in one call.

    The library's own takes a lock and a loop for each value, about a microsecond that 100,000
    events a second do not have.
    """

    def __init__(
        self, name: str, documentation: str, buckets: tuple[float, ...], *, registry: CollectorRegistry
    ) -> None:
        """Register an empty histogram; ``buckets`` are upper bounds (inclusive), rising."""
        self._name = name
        self._documentation = documentation
        self._bounds = np.array(buckets)
        self._counts = np.zeros(len(buckets) + 1, dtype=np.int64)
        self._sum = 0.0
        self._lock = Lock()
        registry.register(self)

    def observe(self, value: float) -> None:
        """Count one value, in seconds."""
        self.observe_many(np.array([value]))

    def observe_many(self, values: npt.NDArray[np.float64]) -> None:
        """Count values, in seconds."""
        places = np.searchsorted(self._bounds, values, side="left")
        counts = np.bincount(places, minlength=len(self._counts))
        total = float(values.sum())
        with self._lock:
            self._counts += counts
            self._sum += total

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Give what was counted so far, to Prometheus."""
        with self._lock:
            counts, total = self._counts.cumsum().tolist(), self._sum
        bounds = [str(bound) for bound in self._bounds.tolist()] + ["+Inf"]
        family = HistogramMetricFamily(self._name, self._documentation)
        family.add_metric([], list(zip(bounds, counts, strict=True)), total)
        yield family
