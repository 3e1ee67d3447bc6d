"""The paper's figure 5 drawn again: its four metrics as bars, one for each system, the paper's own above."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.quality import CATEGORY, ITEM
from models.summary import Run, levels, mean_quality, systems
from stream.errors import FreshetError
from stream.results import PAPER, TABLE_1

WIDTH_IN: Final = 9.0
HEIGHT_IN: Final = 3.2
"""Of one panel."""
GROUP: Final = 0.8
"""Of the room for a metric, what its bars take together."""


def draw(path: Path, runs: Sequence[Run], cutoff: int) -> None:
    """Draw a panel for each level at ``cutoff``, below one of the paper's Table 1; SVG or PNG by the name.

    Raises ``FreshetError`` when the file cannot be written.
    """
    panels: list[tuple[str, Mapping[str, Sequence[float]]]] = [
        ("as the paper prints it, level and N not said", dict(PAPER))
    ]
    shown = {level for level, length in levels(runs) if length == cutoff}
    for level in (level for level in (ITEM, CATEGORY) if level in shown):
        found = {system: mean_quality(runs, system, level, cutoff) for system in systems(runs)}
        of_level = {
            system: tuple(getattr(quality, name) for name, _ in TABLE_1) for system, quality in found.items()
        }
        panels.append((f"{level} level, N = {cutoff}", of_level))
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN * len(panels)), layout="constrained")
    for place, (title, bars) in enumerate(panels, 1):
        _panel(figure.add_subplot(len(panels), 1, place), title, bars)
    try:
        # Ids are drawn without a salt, and no file would be like another; text stays text.
        with rc_context({"svg.hashsalt": "freshet", "svg.fonttype": "none"}):
            figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    except OSError as failure:
        reason = (failure.strerror or str(failure)).lower()
        raise FreshetError(f"cannot write the chart {path}: {reason}; name another with --chart") from None


def _panel(axes: Axes, title: str, bars: Mapping[str, Sequence[float]]) -> None:
    """Draw one panel: the four metrics side by side, a bar for each system in each, its value above it."""
    width = GROUP / max(1, len(bars))
    for place, (system, values) in enumerate(bars.items()):
        left = [metric - GROUP / 2 + (place + 0.5) * width for metric in range(len(values))]
        heights = [value if math.isfinite(value) else 0.0 for value in values]
        drawn = axes.bar(left, heights, width, label=system, color=colormaps["tab20"](place % 20))
        axes.bar_label(drawn, [f"{value:.3f}" for value in values], fontsize=6, rotation=90, padding=2)
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xticks(range(len(TABLE_1)), [name for _, name in TABLE_1], fontsize=8)
    axes.set_ylim(0, 1.15)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
