"""The command ``freshet evaluate``: quality figures of several systems over a file, side by side."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli import console
from stream.cli.options import (
    Assignments,
    Columns,
    Report,
    Seed,
    TimeUnitOption,
    load_settings,
    parse_columns,
)
from stream.errors import UsageError

if TYPE_CHECKING:
    from models.evaluation import Quality
    from stream.comparison import Measured

SYSTEMS = ("popularity", "item-cf", "gru", "lstm", "rnn")
"""The names of `models.lineup`, whose import takes seconds that `--help` need not wait for."""

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]",
        help="Events, cut by time: Tianchi mobile, Taobao UserBehavior, or any CSV, TSV or Parquet with "
        "--columns; plain, .gz or .xz.",
    ),
]
Train = Annotated[
    Path | None, typer.Option("--train", metavar="FILE", help="With --test: what is learnt from.")
]
Test = Annotated[
    Path | None,
    typer.Option("--test", metavar="FILE", help="With --train: sequences whose next events are foretold."),
]
KnownItemsOnly = Annotated[
    bool, typer.Option("--known-items-only", help="Drop test events of items never trained on.")
]
TrainShare = Annotated[
    float, typer.Option("--train-share", help="Share of FILE's events before the cut in time.")
]
Systems = Annotated[
    str, typer.Option("--systems", metavar="NAME,...", help=f"What to compare: {', '.join(SYSTEMS)}; or all.")
]
Cutoffs = Annotated[
    list[int] | None, typer.Option("--cutoff", min=1, max=1000, help="List length N [20]; can be repeated.")
]
Neighbours = Annotated[
    int | None, typer.Option("--neighbours", min=1, help="K of item CF: similar items kept of each item.")
]
WindowS = Annotated[
    int | None,
    typer.Option("--window-s", min=1, help="Item CF counts only items had within so many seconds."),
]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Most epochs of a network's training.")]
Units = Annotated[int | None, typer.Option("--units", min=1, help="Units of a network.")]


def evaluate(
    file: File = None,
    *,
    train: Train = None,
    test: Test = None,
    known_items_only: KnownItemsOnly = False,
    train_share: TrainShare = 0.8,
    systems: Systems = "popularity,item-cf,gru",
    cutoff: Cutoffs = None,
    neighbours: Neighbours = None,
    window_s: WindowS = None,
    epochs: Epochs = None,
    units: Units = None,
    seed: Seed = 1,
    columns: Columns = None,
    time_unit: TimeUnitOption = None,
    assignments: Assignments = None,
    report: Report = None,
) -> None:
    """Compare systems on FILE, cut by time, or on a split as given with --train and --test."""
    names = system_names(systems)
    files = _files(file, train, test)
    if not 0 < train_share < 1:
        raise UsageError(f"--train-share is {train_share:g}; it must lie between 0 and 1")
    mapping = parse_columns(columns)
    settings = load_settings(assignments)

    from stream import comparison
    from stream.datasets import load_events

    plan = comparison.Plan(
        names,
        tuple(sorted(set(cutoff or [20]))),
        settings.segment_rule,
        seed=seed,
        neighbours=neighbours,
        window_ms=None if window_s is None else window_s * 1000,
        epochs=epochs,
        units=units,
    )
    split = comparison.make_split(
        [load_events(path, columns=mapping, time_unit=time_unit) for path in files],
        train_share=train_share,
        known_items_only=known_items_only,
        cleaning=settings.rules.cleaning,
    )
    for text in comparison.conditions(split, plan):
        console.line(text)
    measured = list(comparison.compare(split, plan, _watch))
    console.table(HEADINGS, rows(measured), title="Table 1 and beside it")
    for text in chart(measured):
        console.line(text)
    console.write_report(report, comparison.report(files, split, plan, measured))


def system_names(text: str) -> tuple[str, ...]:
    """Read ``--systems``, where "all" is every one; raises ``UsageError`` naming one that there is not."""
    if text.strip() == "all":
        return SYSTEMS
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in SYSTEMS:
            raise UsageError(f"--systems names {name!r}; the systems are {', '.join(SYSTEMS)}, or all")
    return names


def _files(file: Path | None, train: Path | None, test: Path | None) -> list[Path]:
    """Return the one file to cut or the two of a split as given."""
    if file is not None and train is None and test is None:
        return [file]
    if file is None and train is not None and test is not None:
        return [train, test]
    raise UsageError("give either FILE, which is cut by time, or both --train FILE and --test FILE")


def _watch(title: str, total: int | None) -> AbstractContextManager[console.Progress]:
    """Show how far a part of the work is."""
    return console.progress(title, total=total, unit="epochs" if total is None else "lists")


FIGURES: tuple[tuple[str, "Callable[[Quality], float]"], ...] = (
    ("prediction accuracy", lambda quality: quality.prediction_accuracy),
    ("accuracy", lambda quality: quality.accuracy),
    ("recall", lambda quality: quality.recall),
    ("user coverage", lambda quality: quality.user_coverage),
    ("MRR@N", lambda quality: quality.mrr),
    ("NDCG@N", lambda quality: quality.ndcg),
    ("catalogue coverage", lambda quality: quality.catalogue_coverage),
)
CHARTED = FIGURES[:4]
"""The four metrics of the paper's Table 1, which its figure 5 draws."""

HEADINGS = ("system", "level", "N", *(title for title, _ in FIGURES), "learning s", "lists s")


def rows(measured: "Sequence[Measured]") -> Iterator[tuple[str, ...]]:
    """Lay the figures out: a row for each system, level and cut-off."""
    for one in measured:
        times = (f"{one.fit_s:.1f}", f"{one.lists_s:.1f}")
        for quality in one.qualities:
            numbers = (f"{figure(quality):.4f}" for _, figure in FIGURES)
            yield (one.system, quality.level, str(quality.cutoff), *numbers, *times)


def chart(measured: "Sequence[Measured]", width: int = 50) -> Iterator[str]:
    """Draw the paper's figure 5 at the longest lists: a bar for each system and metric; full width is 1."""
    name_width = max((len(one.system) for one in measured), default=0)
    cutoff = max((quality.cutoff for one in measured for quality in one.qualities), default=0)
    found = [
        (one.system, quality) for one in measured for quality in one.qualities if quality.cutoff == cutoff
    ]
    for level in dict.fromkeys(quality.level for _, quality in found):
        for title, figure in CHARTED:
            yield f"{title}, {level} level, N = {cutoff}"
            for system, quality in found:
                if quality.level == level:
                    value = figure(quality)
                    bar = "" if math.isnan(value) else "█" * round(value * width)
                    yield f"  {system:<{name_width}} {bar} {value:.3f}"
