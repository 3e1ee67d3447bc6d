"""The charts of what retraining is worth: policies over the time, or updates beside trainings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HOURS_TOGETHER = 6


def draw(path: Path, figures: Mapping[str, Any]) -> None:
    """Draw the SVG of a report of *intervals* or *updates*."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    if "policies" in figures:
        _policies(axes, figures["policies"])
    else:
        _updates(axes, figures["updates"])
    axes.set_ylabel("MRR@20")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with rc_context({"svg.hashsalt": "freshet", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def _policies(axes: Axes, policies: Mapping[str, Mapping[str, Any]]) -> None:
    """A line for each policy, some hours together; hours without an event are left out."""
    for name, policy in policies.items():
        ranks, targets = (
            np.add.reduceat(policy[column], np.arange(0, len(policy[column]), HOURS_TOGETHER))
            for column in ("reciprocal_ranks_by_hour", "targets_by_hour")
        )
        hours = HOURS_TOGETHER * (np.arange(len(ranks)) + 0.5)
        some = targets > 0
        axes.plot(hours[some], ranks[some] / targets[some], label=f"{name}: {policy['mrr']:.3f}")
    axes.set_xlabel("hours after the first training")


def _updates(axes: Axes, updates: list[Mapping[str, Any]]) -> None:
    """Warm updates in a row, and a full training beside each."""
    numbers = np.arange(1, len(updates) + 1)
    for kind, name in (("warm", "warm update"), ("full", "full training")):
        mean_s = np.mean([one[f"{kind}_cpu_s"] for one in updates])
        worth = [one[f"{kind}_mrr"] for one in updates]
        axes.plot(numbers, worth, marker="o", label=f"{name}: {mean_s:.1f} s each")
    axes.set_xticks(numbers)
    axes.set_xlabel("update, one an hour")
