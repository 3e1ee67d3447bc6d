"""The plot of a soak: memory, what new users account for, speed and lag over the time."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from tests.support.trend import Sample, net_bytes, rates

MEGABYTE = 1_000_000


def draw(path: Path, samples: Sequence[Sample], bytes_per_user: float) -> None:
    """Draw an SVG; a line down marks the first sample after a change of weights."""
    minutes = [sample.at_s / 60 for sample in samples]
    figure = Figure(figsize=(8, 7), layout="constrained")
    memory, users, speed = figure.subplots(3, 1, sharex=True)
    net = net_bytes(samples, bytes_per_user)
    memory.plot(minutes, [sample.resident_bytes / MEGABYTE for sample in samples], label="resident")
    memory.plot(minutes, [one / MEGABYTE for one in net], label=f"less {bytes_per_user:,.0f} bytes a user")
    memory.axvspan((minutes[0] + minutes[-1]) / 2, minutes[-1], color="0.95")
    memory.set_ylabel("MB")
    memory.set_ylim(bottom=0)
    users.plot(minutes, [sample.state_users for sample in samples], label="users held")
    speed.plot(minutes[1:], rates(samples), label="events/s")
    speed.plot(minutes, [sample.lag for sample in samples], label="lag, events")
    speed.set_xlabel("minutes")
    for before, after in pairwise(samples):
        if after.swaps > before.swaps:
            for axes in (memory, users, speed):
                axes.axvline(after.at_s / 60, color="0.7", linewidth=0.6)
    for axes in (memory, users, speed):
        axes.legend(fontsize=8, loc="lower right", frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    users.set_ylim(bottom=0)
    with rc_context({"svg.hashsalt": "freshet", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
