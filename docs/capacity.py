"""What a deployment bears and needs: arithmetic over measured figures, for `explanation/sizing.md`."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

PARTITIONS_A_WORKER: Final = 4
MOST_PARTITIONS: Final = 10_000
"""What `FRESHET_PARTITIONS` allows."""

Line = tuple[tuple[int, float], ...]
"""Times by the number of items, straight between two of them."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured; the page names the command of each.

    Times are microseconds of one core, sizes bytes but for those that say megabytes.
    """

    #: What the loops of `tests.bench.calibration` took where the times below were measured.
    plain_us: float = 0.70
    arithmetic_us: float = 44.6
    #: Taking an event from Kafka and sending what follows from it.
    kafka_us: float = 2.0
    #: Applying an event, with a list that needs no model.
    event_us: float = 7.0
    #: Reading and writing its user's record, once for all events that the user has in a batch.
    record_us: float = 9.5
    #: A list, state and message included, with the network alone and with the blend.
    network_us: Line = ((1_000, 32), (10_000, 60), (100_000, 365), (300_000, 1_080), (1_000_000, 5_350))
    blend_us: Line = ((1_000, 72), (10_000, 122), (100_000, 485), (300_000, 1_330), (1_000_000, 5_350))
    worker_mb: int = 330
    #: What compiled loops take besides, from the first weights on, with the extra `compiled`.
    loops_mb: int = 200
    #: Weights whatever the number of items, and for each: tables, neighbours and names.
    weights_fixed_mb: int = 13
    item_bytes: int = 4_000
    #: What an item takes besides where its row is multiplied with the input weights beforehand, and up to
    #: how many items that is (`models.inference.PROJECTED_NUMBERS` of three times 100 units).
    projected_bytes: int = 1_200
    projected_items: int = 166_000
    #: Lists that are ranked together (`stream.lists.RANKED_TOGETHER`), and the most scores of them that are
    #: held at once (`models.recommender.SCORES_AT_ONCE`), four bytes each.
    ranked_together: int = 1_024
    scores_at_once: int = 1 << 25
    user_in_memory_bytes: int = 1_495
    record_bytes: int = 1_000
    event_bytes: int = 125
    list_bytes: int = 1_071

    def applied_us(self, records: float = 1.0) -> float:
        """Return what an event costs a core, Kafka and list apart, with so many records written for each."""
        return self.event_us + self.record_us * records

    def us(self, items: int) -> float:
        """Return what an event costs a core with so many items, when no user comes twice in a batch."""
        return self.kafka_us + self.applied_us() + at(self.blend_us, items)

    def weights_mb(self, items: int) -> float:
        """Return what the weights of so many items take in each worker."""
        projected = self.projected_bytes if items <= self.projected_items else 0
        return self.weights_fixed_mb + items * (self.item_bytes + projected) / 1e6

    def empty_worker_mb(self, items: int) -> float:
        """Return what a worker takes at most while it has no users."""
        held_mb = self.weights_mb(items) + self.scores_mb(items, self.ranked_together)
        return self.worker_mb + self.loops_mb + held_mb

    def scores_mb(self, items: int, lists: int) -> float:
        """Return what is kept for the scores of so many lists that are ranked together."""
        return min(lists * items, self.scores_at_once) * 4 / 1e6


def at(line: Line, items: int) -> float:
    """Return a time between, or beyond, those that were measured."""
    for (few, at_few), (many, at_many) in pairwise(line):
        if items <= many or many == line[-1][0]:
            return at_few + (items - few) * (at_many - at_few) / (many - few)
    raise ValueError("a line needs two points")


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Workers of one group, the memory that each may take, and how often brokers keep each record."""

    name: str
    workers: int
    worker_gb: float
    copies: int
    standbys: int = 0
    #: Share of a core that is planned for; the rest is for bursts, backlogs and a neighbour's partitions.
    load: float = 0.5

    @property
    def partitions(self) -> int:
        """The partitions to make, so that there may be more workers one day, and theirs stay even."""
        return min(self.workers * PARTITIONS_A_WORKER, MOST_PARTITIONS)

    def events_per_s(self, figures: Figures, items: int) -> float:
        """Return the events a second that the workers bear at the load that is planned for."""
        return self.workers * self.load * 1e6 / figures.us(items)

    def users_in_memory(self, figures: Figures, items: int) -> float:
        """Return the users whose states fit, copies of standbys counted."""
        left_mb = self.worker_gb * 1_000 - figures.empty_worker_mb(items)
        return max(0.0, self.workers * left_mb * 1e6 / figures.user_in_memory_bytes / (1 + self.standbys))

    def written_mb_per_s(self, figures: Figures, items: int) -> float:
        """Return what all brokers together write a second, copies counted, with a record for each list."""
        an_event = figures.event_bytes + figures.list_bytes + figures.record_bytes
        return self.events_per_s(figures, items) * an_event * self.copies / 1e6

    def kept_gb(self, figures: Figures, users: float) -> float:
        """Return what the compacted topics hold of so many users once compacted, copies counted."""
        return users * (figures.list_bytes + figures.record_bytes) * self.copies / 1e9


MACHINE: Final = Deployment(name="one machine", workers=3, worker_gb=4, copies=1)
TEN: Final = Deployment(name="ten machines", workers=42, worker_gb=4, copies=3)
CELL: Final = Deployment(name="a cell of fifty machines", workers=252, worker_gb=4, copies=3)
CELLS: Final = 20
