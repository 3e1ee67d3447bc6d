"""The command ``freshet evaluate``: quality figures of several systems over a file, side by side."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli import console
from stream.cli.options import (
    Assignments,
    Columns,
    Report,
    TimeUnitOption,
    load_settings,
    parse_columns,
)
from stream.errors import UsageError

if TYPE_CHECKING:
    from models.summary import Run
    from stream.comparison import Plan

SYSTEMS = (
    "popularity",
    "recent-popularity",
    "category-popularity",
    "item-cf",
    "item-cf-windowed",
    "user-cf-cosine",
    "user-cf-pearson",
    "user-cf-adjusted-cosine",
    "session-knn",
    "transitions",
    "temporal",
    "dynamic",
    "gru",
    "lstm",
    "rnn",
    "memoryless",
    "transformer",
    "cnn-gru",
    "blend",
)
"""The names of `models.lineup`, whose import takes seconds that `--help` need not wait for."""

PEERS = ("implicit-cosine", "implicit-bm25", "rectools-sasrec")
"""The names of `stream.peers.lineup`, likewise."""

CHARTS = (".svg", ".png")
"""The kinds of chart there are, by the endings of their names."""

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
    str,
    typer.Option(
        "--systems",
        metavar="NAME,...",
        help=f"What to compare: {', '.join(SYSTEMS)}, or all of these; and, where they are installed, "
        f"{', '.join(PEERS)}, or all of these as peers.",
    ),
]
Cutoffs = Annotated[
    list[int] | None,
    typer.Option("--cutoff", min=1, max=1000, help="List length N [5, 10 and 20]; can be repeated."),
]
Seeds = Annotated[
    str,
    typer.Option("--seeds", metavar="SEED,...", help="Learn what is drawn once with each; means are shown."),
]
Reference = Annotated[
    str | None,
    typer.Option("--reference", metavar="NAME", help="Compare the others with this one [the best of them]."),
]
Windows = Annotated[
    int | None,
    typer.Option(
        "--windows",
        min=1,
        help="Cut FILE into so many parts and one; foretell each but the first from those before it.",
    ),
]
Users = Annotated[
    int | None,
    typer.Option(
        "--users", min=1, help="Foretell at most so many users, drawn at random; every item is ranked."
    ),
]
Items = Annotated[
    Path | None,
    typer.Option("--items", metavar="FILE", help="A catalogue whose items can be listed, trained on or not."),
]
Announced = Annotated[
    bool,
    typer.Option(
        "--announced",
        help="Let the items of the later events be listed too, as if announced before with their category; "
        "flatters what lists new items, since those alone are announced that will be asked for.",
    ),
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
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="Processes that learn and measure side by side, each on one core [as many as there are cores].",
    ),
]

SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", metavar="FILE", help="Settings of the systems, as `freshet tune` wrote them."),
]
Markdown = Annotated[
    Path | None, typer.Option("--markdown", metavar="FILE", help="Write the tables there as Markdown.")
]
Chart = Annotated[
    Path | None,
    typer.Option("--chart", metavar="FILE", help="Draw the paper's figure 5 there; .svg or .png."),
]


def evaluate(
    file: File = None,
    *,
    train: Train = None,
    test: Test = None,
    known_items_only: KnownItemsOnly = False,
    train_share: TrainShare = 0.8,
    windows: Windows = None,
    users: Users = None,
    items: Items = None,
    announced: Announced = False,
    systems: Systems = "popularity,item-cf,gru,blend",
    cutoff: Cutoffs = None,
    seeds: Seeds = "1",
    reference: Reference = None,
    neighbours: Neighbours = None,
    window_s: WindowS = None,
    epochs: Epochs = None,
    units: Units = None,
    jobs: Jobs = None,
    settings_file: SettingsFile = None,
    columns: Columns = None,
    time_unit: TimeUnitOption = None,
    assignments: Assignments = None,
    report: Report = None,
    markdown: Markdown = None,
    chart: Chart = None,
) -> None:
    """Compare systems on FILE, cut by time, or on a split as given with --train and --test."""
    # Read by numpy and torch when they are imported, and so by the processes of --jobs: on one thread
    # the figures do not depend on how many cores there are.
    os.environ["OMP_NUM_THREADS"] = "1"
    names = system_names(systems)
    files = _files(file, train, test)
    if windows is not None and file is None:
        raise UsageError("--windows cuts a FILE by time; it does not go with --train and --test")
    if not 0 < train_share < 1:
        raise UsageError(f"--train-share is {train_share:g}; it must lie between 0 and 1")
    if reference is not None and reference not in names:
        raise UsageError(f"--reference is {reference!r}, which is not among --systems {','.join(names)}")
    if chart is not None and chart.suffix.lower() not in CHARTS:
        raise UsageError(f"--chart is {chart}; its name must end in {' or '.join(CHARTS)}")
    drawn = seed_numbers(seeds)
    mapping = parse_columns(columns)
    settings = load_settings(assignments)
    names, absent = _there(names)

    from models.splits import Candidates
    from stream import comparison, results
    from stream.cli.runs import cores, made
    from stream.datasets import load_events, read_items

    cut = comparison.Cut(
        train_share,
        windows,
        users,
        known_items_only,
        settings.rules.cleaning,
        Candidates(None if items is None else read_items(items), announced),
    )
    plan = comparison.Plan(
        names,
        tuple(sorted(set(cutoff or [5, 10, 20]))),
        settings.segment_rule,
        seeds=drawn,
        reference=reference,
        neighbours=neighbours,
        window_ms=None if window_s is None else window_s * 1000,
        epochs=epochs,
        units=units,
        settings={} if settings_file is None else comparison.tuned_settings(settings_file),
    )
    frames = [load_events(path, columns=mapping, time_unit=time_unit) for path in files]
    splits = comparison.make_splits(frames, cut)
    conditions = list(comparison.conditions(splits, plan, cut))
    for text in conditions:
        console.line(text)
    runs = made(splits, plan, jobs or cores())
    _show(runs, plan, conditions, markdown=markdown, chart=chart)
    console.write_report(report, results.report(files, splits, plan, cut, runs) | {"absent": absent})


def _show(
    runs: "Sequence[Run]",
    plan: "Plan",
    conditions: "Sequence[str]",
    *,
    markdown: Path | None,
    chart: Path | None,
) -> None:
    """Print the tables; write the page and draw the chart where they were asked for."""
    from stream import markdown as pages
    from stream.results import tables

    laid_out = list(tables(runs, plan))
    for table in laid_out:
        console.line("")
        console.table(table.columns, table.rows, title=table.title)
    if chart is not None:
        from stream.chart import draw

        draw(chart, runs, max(plan.cutoffs))
    if markdown is not None:
        beside = None if chart is None else Path(os.path.relpath(chart, markdown.parent))
        pages.write(markdown, pages.page(command_line(), conditions, laid_out, beside))


def command_line() -> str:
    """Return the command as it was given, files by their names alone: where they lay says nothing."""
    words = [Path(word).name if Path(word).parent.is_dir() else word for word in sys.argv[1:]]
    return shlex.join(["freshet", *words])


def seed_numbers(text: str) -> tuple[int, ...]:
    """Read ``--seeds``; raises ``UsageError`` naming what is no seed."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdigit() and int(word) < 1 << 32):
            raise UsageError(f"--seeds has {word!r}; a seed is a whole number from 0 to {(1 << 32) - 1}")
    return tuple(dict.fromkeys(map(int, words)))


def system_names(text: str) -> tuple[str, ...]:
    """Read ``--systems``, where "all" is each of ours and "peers" each of the others'.

    Raises ``UsageError`` naming one that there is not.
    """
    many = {"all": SYSTEMS, "peers": PEERS}
    words = [word.strip() for word in text.split(",")]
    names = tuple(dict.fromkeys(name for word in words for name in many.get(word, (word,))))
    for name in names:
        if name not in (*SYSTEMS, *PEERS):
            raise UsageError(
                f"--systems names {name!r}; the systems are {', '.join((*SYSTEMS, *PEERS))}, all and peers"
            )
    return names


def _there(names: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return which systems can be run here, and why the others cannot."""
    from stream.peers.lineup import absence

    reasons = {name: absence(name) for name in names if name in PEERS}
    absent = {name: reason for name, reason in reasons.items() if reason is not None}
    for name, reason in absent.items():
        console.line(f"left out: {name}: {reason}")
    there = tuple(name for name in names if name not in absent)
    if not there:
        raise UsageError("--systems names only what is not installed here; see docs/results.md")
    return there, absent


def _files(file: Path | None, train: Path | None, test: Path | None) -> list[Path]:
    """Return the one file to cut or the two of a split as given."""
    if file is not None and train is None and test is None:
        return [file]
    if file is None and train is not None and test is not None:
        return [train, test]
    raise UsageError("give either FILE, which is cut by time, or both --train FILE and --test FILE")
