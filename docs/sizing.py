"""The tables of `explanation/sizing.md`: what a deployment bears, and what was measured.

`python -m docs.sizing` writes them into the page, between its marks; a test compares.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any, Final

from docs.capacity import CELL, CELLS, MACHINE, TEN, Deployment, Figures
from docs.scale import Check, checks, kept_report

PAGE: Final = Path(__file__).parent / "explanation" / "sizing.md"
CATALOGUES: Final = (1_000, 10_000, 100_000, 1_000_000)


def catalogue_table(figures: Figures) -> str:
    """Make the table of what a core bears, by the catalogue."""
    rows = [
        (
            f"{items:,}",
            f"{figures.us(items):,.0f}",
            f"{1e6 / figures.us(items):,.0f}",
            f"{figures.empty_worker_mb(items):,.0f}",
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


def check_table(made: Iterable[Check]) -> str:
    """Make the table of the model beside what was measured."""
    columns = ("", "measured", "model", "off")
    rows = (
        (one.name, f"{one.measured:,.1f} {one.unit}", f"{one.model:,.1f}", f"{one.off:+.0%}") for one in made
    )
    return _table(columns, rows)


def layout_table(report: Mapping[str, Any]) -> str:
    """Make the table of workers and partitions."""
    columns = (
        "workers",
        "partitions",
        "events/s seen",
        "worker, us an event",
        "broker, us an event",
        "records an event",
    )
    rows = (
        (
            str(one["workers"]),
            str(one["partitions"]),
            f"{median(one['events_per_s']):,.0f}",
            f"{median(one['worker_us']):.1f}",
            f"{median(one['broker_us']):.1f}",
            f"{one['records_an_event']:.2f}",
        )
        for one in report["workers"]["layouts"]
    )
    return _table(columns, rows)


def users_table(report: Mapping[str, Any]) -> str:
    """Make the table of users."""
    columns = ("users", "us an event", "us to find and read a record", "records an event")
    rows = (
        (
            f"{one['users']:,}",
            f"{median(one['event_us']):.1f}",
            f"{median(one['read_us']):.1f}",
            f"{one['records_an_event']:.2f}",
        )
        for one in report["users"]
    )
    return _table(columns, rows)


def items_table(report: Mapping[str, Any]) -> str:
    """Make the table of items: a list, and where its time goes."""
    columns = (
        "items",
        "us a list, network alone",
        "with the blend",
        "bare loop",
        "ns an item: product",
        "into kept room",
        "best 20",
    )
    network, blend = (
        [one for one in report["items"] if one["weights"] == weights] for weights in ("network", "blend")
    )
    rows = (
        (
            f"{alone['items']:,}",
            *(f"{median(us):,.0f}" for us in (alone["list_us"], blended["list_us"], alone["bare_us"])),
            *(f"{alone[name]:.1f}" for name in ("product_ns", "product_into_kept_ns", "top_n_ns")),
        )
        for alone, blended in zip(network, blend, strict=True)
    )
    return _table(columns, rows)


def page(text: str, figures: Figures, report: Mapping[str, Any]) -> str:
    """Return the page with its tables made anew. Raises ``ValueError`` where a mark is missing."""
    tables = {
        "catalogue": catalogue_table(figures),
        "layouts": layout_table(report),
        "users": users_table(report),
        "items": items_table(report),
        "checks": check_table(checks(figures, report)),
        "deployments": deployment_table(figures),
    }
    for name, table in tables.items():
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
    made = page(PAGE.read_text(encoding="utf-8"), Figures(), kept_report())
    PAGE.write_text(made, encoding="utf-8")
