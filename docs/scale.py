"""The measurements of `tests.bench.bench_scale`, and how far the model of `docs.capacity` is from them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from docs.capacity import Figures, Line, at

REPORT: Final = Path(__file__).parent / "scale.json"
"""The report that is kept."""
TOLERANCE: Final = 0.25


def kept_report() -> dict[str, Any]:
    """Return the report that the page shows."""
    found: dict[str, Any] = json.loads(REPORT.read_text(encoding="utf-8"))
    return found


@dataclass(frozen=True, kw_only=True)
class Check:
    """A figure of the model beside what was measured."""

    name: str
    unit: str
    model: float
    measured: float

    @property
    def near(self) -> bool:
        """Whether the model is within the tolerance of what was measured."""
        return abs(self.model / self.measured - 1) <= TOLERANCE

    def __str__(self) -> str:
        """One line for a person."""
        words = "" if self.near else f", more than {TOLERANCE:.0%}"
        return (
            f"{self.name}: {self.measured:,.1f} {self.unit}, model {self.model:,.1f} ({self.off:+.0%}){words}"
        )

    @property
    def off(self) -> float:
        """How far the model is above what was measured, as a share of that."""
        return self.model / self.measured - 1


def checks(figures: Figures, report: Mapping[str, Any]) -> list[Check]:
    """Hold the model against what a report has; its times are carried over by the report's own calibration.

    A time of events by the plain loop, one of lists by the arithmetic: where the loop took a tenth longer
    than where the model's times were measured, so does what the model says.
    """
    return [
        *(one for found in report.get("users", ()) for one in _of_users(figures, found)),
        *(one for found in report.get("items", ()) for one in _of_items(figures, found)),
        *(_of_serving(figures, report["workers"]["serving"]) if "workers" in report else ()),
        *(_of_layout(figures, found) for found in report.get("workers", {}).get("layouts", ())),
    ]


def _applied(figures: Figures, found: Mapping[str, Any]) -> float:
    return figures.applied_us(found["records_an_event"]) * found["plain_us"] / figures.plain_us


def _carried(figures: Figures, found: Mapping[str, Any]) -> float:
    return _applied(figures, found) + figures.kafka_us * found["plain_us"] / figures.plain_us


def _listed(figures: Figures, found: Mapping[str, Any], line: Line) -> float:
    return at(line, found["items"]) * found["arithmetic_us"] / figures.arithmetic_us


def _of_users(figures: Figures, found: Mapping[str, Any]) -> Iterator[Check]:
    name, model = f"{found['users']:,} users", _applied(figures, found)
    yield Check(name=f"event, {name}", unit="us", model=model, measured=median(found["event_us"]))
    if "bytes_a_user" in found:
        measured, model = found["bytes_a_user"], figures.user_in_memory_bytes
        yield Check(name=f"user in memory, {name}", unit="bytes", model=model, measured=measured)


def _of_items(figures: Figures, found: Mapping[str, Any]) -> Iterator[Check]:
    blend = found["weights"] == "blend"
    name = f"{found['weights']}, {found['items']:,} items"
    model = _listed(figures, found, figures.blend_us if blend else figures.network_us)
    yield Check(name=f"list, {name}", unit="us", model=model, measured=median(found["list_us"]))
    if blend:
        items, measured = found["items"], found["weights_bytes"] / 1e6
        model = figures.weights_mb(items) + figures.scores_mb(items, found["lists_together"])
        yield Check(name=f"weights, {name}", unit="MB", model=model, measured=measured)


def _of_serving(figures: Figures, found: Mapping[str, Any]) -> Iterator[Check]:
    model = _carried(figures, found) + _listed(figures, found, figures.blend_us)
    name = f"{found['items']:,} items, on a broker"
    yield Check(name=f"event and list, {name}", unit="us", model=model, measured=median(found["worker_us"]))
    model = figures.empty_worker_mb(found["items"])
    model += found["users"] * figures.user_in_memory_bytes / 1e6
    yield Check(name=f"worker, {name}", unit="MB", model=model, measured=found["resident_bytes"] / 1e6)
    for what in ("event", "list", "record"):
        model, measured = getattr(figures, f"{what}_bytes"), found[f"{what}_bytes"]
        yield Check(name=f"{what} on the broker's disk", unit="bytes", model=model, measured=measured)


def _of_layout(figures: Figures, found: Mapping[str, Any]) -> Check:
    return Check(
        name=f"event, {_workers(found)} on {found['partitions']} partitions",
        unit="us",
        model=_carried(figures, found),
        measured=median(found["worker_us"]),
    )


def _workers(found: Mapping[str, Any]) -> str:
    return f"{found['workers']} worker{'' if found['workers'] == 1 else 's'}"
