"""The charts of a report of ``bench_scale``: what an event costs by users, and a list by items.

Run it as ``python -m tests.bench.scale_chart REPORT [FOLDER]``; it writes ``scale-users.svg`` and
``scale-items.svg`` into the folder, by default ``docs``.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from docs.sizing import PAGE


def draw(folder: Path, report: Mapping[str, Any]) -> None:
    """Draw both SVGs into a folder."""
    _drawn(folder / "scale-users.svg", _users, report["users"])
    _drawn(folder / "scale-items.svg", _items, report["items"])


def _drawn(path: Path, panel: Any, found: Sequence[Mapping[str, Any]]) -> None:
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    panel(axes, found)
    axes.set_xscale("log")
    axes.set_ylabel("microseconds of a core")
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with rc_context({"svg.hashsalt": "freshet", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def _users(axes: Axes, found: Sequence[Mapping[str, Any]]) -> None:
    """An event, and of it the record; as much as the least to the most of the rounds."""
    _line(axes, found, "users", "event_us", "an event and its list of last items")
    _line(axes, found, "users", "read_us", "of that, to find and read the user's record")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("users in memory")


def _items(axes: Axes, found: Sequence[Mapping[str, Any]]) -> None:
    """A list with each kind of weights, and the bare loop."""
    network, blend = ([one for one in found if one["weights"] == kind] for kind in ("network", "blend"))
    _line(axes, blend, "items", "list_us", "a list with the blend")
    _line(axes, network, "items", "list_us", "with the network alone")
    _line(axes, network, "items", "bare_us", "the bare loop of the same arithmetic")
    axes.set_yscale("log")
    axes.set_xlabel("items of the catalogue")


def _line(axes: Axes, found: Sequence[Mapping[str, Any]], by: str, name: str, label: str) -> None:
    places = [one[by] for one in found]
    middle = [median(one[name]) for one in found]
    below = [value - min(one[name]) for value, one in zip(middle, found, strict=True)]
    above = [max(one[name]) - value for value, one in zip(middle, found, strict=True)]
    axes.errorbar(places, middle, yerr=(below, above), marker="o", capsize=2, label=label)


if __name__ == "__main__":
    draw(
        Path(sys.argv[2]) if len(sys.argv) > 2 else PAGE.parents[1], json.loads(Path(sys.argv[1]).read_text())
    )
