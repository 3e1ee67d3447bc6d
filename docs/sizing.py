"""What a deployment bears and needs: arithmetic over measured figures, for `explanation/sizing.md`.

`python -m docs.sizing` writes the tables into the page, between its marks; a test compares.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parent / "explanation" / "sizing.md"

CATALOGUES: Final = (10_000, 100_000, 1_000_000)
PARTITIONS_A_WORKER: Final = 4
MOST_PARTITIONS: Final = 10_000
"""What `FRESHET_PARTITIONS` allows."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured; the page names the command of each.

    Times are microseconds of one core, sizes bytes but for those that say megabytes.
    """

    #: An event from Kafka to Kafka, with a list that needs no model.
    event_us: float = 1e6 / 53_703
    #: A list with the network alone, state and message included, by the number of items.
    list_us: tuple[tuple[int, float], tuple[int, float]] = ((10_000, 99.6), (100_000, 620.3))
    #: How many times a list of the network alone one of the blend costs.
    blend: float = 1.5
    worker_mb: int = 330
    #: Tables, neighbours and names of an item of the catalogue.
    item_bytes: int = 5_100
    user_in_memory_bytes: int = 1_486
    record_bytes: int = 1_100
    event_bytes: int = 120
    list_bytes: int = 1_071

    def us(self, items: int) -> float:
        """Return what an event costs a core with so many items: a straight line through both measurements."""
        (few, at_few), (many, at_many) = self.list_us
        return self.event_us + self.blend * (at_few + (items - few) * (at_many - at_few) / (many - few))

    def weights_mb(self, items: int) -> float:
        """Return what the weights of so many items take in each worker."""
        return items * self.item_bytes / 1e6


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
        left_mb = self.worker_gb * 1_000 - figures.worker_mb - figures.weights_mb(items)
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


def catalogue_table(figures: Figures) -> str:
    """Make the table of what a core bears, by the catalogue."""
    rows = [
        (
            f"{items:,}",
            f"{figures.us(items):,.0f}",
            f"{1e6 / figures.us(items):,.0f}",
            f"{figures.worker_mb + figures.weights_mb(items):,.0f}",
        )
        for items in CATALOGUES
    ]
    return _table(
        ("items", "microseconds an event", "events/s of a core", "MB of a worker without users"), rows
    )


def deployment_table(figures: Figures) -> str:
    """Make the table of the deployments."""
    columns = [*(_column(one, 1, figures) for one in (MACHINE, TEN, CELL)), _column(CELL, CELLS, figures)]
    names = (
        *(one.name for one in (MACHINE, TEN, CELL)),
        f"a thousand machines: {CELLS} such cells",
    )
    rows = [[title, *values] for title, values in zip(_ROWS, zip(*columns, strict=True), strict=True)]
    return _table(("", *names), rows)


_ROWS = (
    "workers",
    "partitions of the event topics",
    "events/s, 10,000 items",
    "events/s, 100,000 items",
    "users in memory, 100,000 items",
    "brokers write, MB/s, 100,000 items",
    "lists and changelog of these users, GB",
)


def _column(one: Deployment, times: int, figures: Figures) -> list[str]:
    users = one.users_in_memory(figures, 100_000)
    return [
        f"{one.workers * times:,}",
        f"{one.partitions:,}" + (" each" if times > 1 else ""),
        f"{_rounded(one.events_per_s(figures, 10_000) * times)}",
        f"{_rounded(one.events_per_s(figures, 100_000) * times)}",
        f"{_rounded(users * times)}",
        f"{_rounded(one.written_mb_per_s(figures, 100_000) * times)}",
        f"{_rounded(one.kept_gb(figures, users) * times)}",
    ]


def _rounded(figure: float) -> str:
    """Write two digits: the arithmetic knows no more."""
    digits = max(0, len(str(ceil(figure))) - 2)
    return f"{round(figure, -digits):,.0f}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def page(text: str, figures: Figures) -> str:
    """Return the page with its tables made anew. Raises ``ValueError`` where a mark is missing."""
    for name, table in (("catalogue", catalogue_table(figures)), ("deployments", deployment_table(figures))):
        text, found = re.subn(
            rf"(<!-- {name} -->\n)(?:(?!<!-- end).)*(<!-- end -->)",
            rf"\g<1>\n{table}\n\g<2>",
            text,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"the page has {found} tables with the mark {name}")
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), Figures()), encoding="utf-8")
