"""The command ``freshet tune``: the best settings of a system, found on the newest training events."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stream.cli import console
from stream.cli.evaluate import PEERS, SYSTEMS
from stream.cli.options import (
    Assignments,
    Columns,
    Seed,
    TimeUnitOption,
    load_settings,
    parse_columns,
)
from stream.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from models.splits import Split
    from stream.settings import Settings
    from stream.tuning import Search, Trial

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]",
        help="Events, cut by time as `freshet evaluate FILE` cuts them; only those before the cut are used.",
    ),
]
Train = Annotated[
    Path | None,
    typer.Option(
        "--train", metavar="FILE", help="Training sequences, as of `freshet evaluate --train FILE`."
    ),
]
Best = Annotated[
    Path, typer.Option("--best", metavar="FILE", help="Write the best settings there; others in it stay.")
]
System = Annotated[str, typer.Option("--system", metavar="NAME", help="What to tune.")]
Trials = Annotated[
    int, typer.Option("--trials", min=1, help="How many trials, those in the journal included.")
]
Journal = Annotated[
    Path | None,
    typer.Option("--journal", metavar="FILE", help="Where the trials stand, to go on from [BEST.journal]."),
]
Figure = Annotated[
    Literal["mrr", "prediction_accuracy", "ndcg"], typer.Option("--figure", help="What is to be highest.")
]
Level = Annotated[Literal["item", "category"], typer.Option("--level", help="At which level.")]
Cutoff = Annotated[int, typer.Option("--cutoff", min=1, max=1000, help="At which length of list N.")]
TrainShare = Annotated[
    float,
    typer.Option("--train-share", help="Share of FILE's events before the cut of `freshet evaluate`."),
]
ValidationShare = Annotated[
    float, typer.Option("--validation-share", help="Share of the training events to measure trials on.")
]
KnownItemsOnly = Annotated[
    bool, typer.Option("--known-items-only", help="Measure on items alone that a trial was trained on.")
]


def tune(
    file: File = None,
    *,
    best: Best,
    train: Train = None,
    system: System = "gru",
    trials: Trials = 20,
    journal: Journal = None,
    figure: Figure = "mrr",
    level: Level = "item",
    cutoff: Cutoff = 20,
    train_share: TrainShare = 0.8,
    validation_share: ValidationShare = 0.1,
    known_items_only: KnownItemsOnly = False,
    seed: Seed = 1,
    columns: Columns = None,
    time_unit: TimeUnitOption = None,
    assignments: Assignments = None,
) -> None:
    """Find the best settings of a system on the newest part of the training events, a line for each trial.

    Stopped and started again with the same journal it goes on. The file that --best names is for
    `freshet train --settings` and `freshet evaluate --settings`.
    """
    if system not in (*SYSTEMS, *PEERS):
        raise UsageError(f"--system is {system!r}; the systems are {', '.join((*SYSTEMS, *PEERS))}")
    if (file is None) == (train is None):
        raise UsageError("give either FILE, which is cut by time, or --train FILE")
    for option, share in (("--train-share", train_share), ("--validation-share", validation_share)):
        if not 0 < share < 1:
            raise UsageError(f"{option} is {share:g}; it must lie between 0 and 1")
    mapping = parse_columns(columns)
    settings = load_settings(assignments)
    _check_installed(system)

    from stream import tuned, tuning
    from stream.datasets import load_events

    if best.exists():
        tuned.read_file(best)  # told before the search, not after it
    frame = load_events(file or train or Path(), columns=mapping, time_unit=time_unit)
    split = _split(
        frame,
        settings,
        train_share=train_share if train is None else None,
        validation_share=validation_share,
        known_items_only=known_items_only,
    )
    data = (
        f"{(file or train or Path()).name}: {split.words}; {len(split.train):,} events learnt from, "
        f"{split.n_targets:,} foretold"
    )
    console.line(data)
    wanted = tuning.Search(system, level, cutoff, figure, trials, seed, settings.segment_rule, data)
    journal = journal or best.with_name(best.name + ".journal")
    for trial in tuning.search(split, wanted, journal):
        _tell(trial, wanted)
    found = tuning.best(journal, wanted)
    tuned.write_settings(best, system, tuning.found_entry(wanted, found, tuning.defaults(journal, wanted)))
    words = "the defaults" if not found.number else f"trial {found.number}: {_words(found)}"
    console.line(f"best: {figure}@{cutoff} {found.value:.4f}, {words}; written to {best}")


def _check_installed(system: str) -> None:
    """Raise ``UsageError`` where Optuna or the peer to be tuned is not there."""
    from importlib.util import find_spec

    from stream.peers.lineup import absence

    if find_spec("optuna") is None:
        raise UsageError("freshet tune needs Optuna; pip install 'freshet[tune]'")
    reason = absence(system) if system in PEERS else None
    if reason is not None:
        raise UsageError(f"{system} is not installed here: {reason}")


def _split(
    frame: "pl.DataFrame",
    settings: "Settings",
    *,
    train_share: float | None,
    validation_share: float,
    known_items_only: bool,
) -> "Split":
    """Cut the training events once more: all of the frame where ``train_share`` is None."""
    from models.splits import split_by_time, split_newest_sequences, training_part

    cleaning = settings.rules.cleaning
    if train_share is None:
        return split_newest_sequences(
            frame, share=validation_share, known_items_only=known_items_only, cleaning=cleaning
        )
    part = training_part(frame, train_share=train_share, cleaning=cleaning)
    return split_by_time(part, train_share=1 - validation_share, known_items_only=known_items_only)


def _tell(trial: "Trial", wanted: "Search") -> None:
    """Print a trial on one line."""
    name = "defaults" if not trial.number else f"trial {trial.number} of {wanted.trials}"
    outcome = (
        f"{wanted.figure}@{wanted.cutoff} {trial.value:.4f}" if not trial.fault else f"failed, {trial.fault}"
    )
    console.line(f"{name}: {outcome} in {trial.duration_s:.1f} s {_words(trial)}".rstrip())


def _words(trial: "Trial") -> str:
    """Write settings as NAME=VALUE."""
    return " ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in trial.settings.items()
    )
