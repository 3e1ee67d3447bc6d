"""The command ``freshet train``: events to a recommender in the model store, announced to the workers."""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stream.cli import console
from stream.cli.options import (
    Assignments,
    Brokers,
    Columns,
    ModelName,
    ModelStore,
    Report,
    Seed,
    TimeUnitOption,
    TopicPrefix,
    load_settings,
    parse_columns,
)
from stream.errors import UsageError

if TYPE_CHECKING:
    from models.fitting import Fitted
    from models.networks import NetworkConfig
    from models.training import Epoch, Progress, TrainingConfig
    from stream.retraining import Source
    from stream.settings import Settings

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]",
        help="Events: Tianchi mobile, Taobao UserBehavior, or any CSV, TSV or Parquet with --columns; "
        "plain, .gz or .xz. Not given: what the event topics hold.",
    ),
]
Items = Annotated[
    Path | None,
    typer.Option("--items", metavar="FILE", help="Items and their categories, such as Tianchi's item table."),
]
Cell = Annotated[Literal["rnn", "lstm", "gru"], typer.Option("--cell", help="The recurrent cell.")]
Units = Annotated[int | None, typer.Option("--units", min=1, help="Units of the hidden state.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="At most this many epochs.")]
Loss = Annotated[
    Literal["auto", "full", "sampled", "bpr_max"] | None,
    typer.Option("--loss", help="Loss; auto: by the size of the catalogue [auto]."),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", metavar="FILE", help="Settings of the cell, as `freshet tune` wrote them; options win."
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Processor threads; not set: one for each core.")
]
Announce = Annotated[
    bool,
    typer.Option("--announce/--no-announce", help="Tell the workers; without it no broker is needed."),
]


def train(
    file: File = None,
    *,
    items: Items = None,
    cell: Cell = "gru",
    units: Units = None,
    epochs: Epochs = None,
    loss: Loss = None,
    settings_file: SettingsFile = None,
    seed: Seed = 1,
    threads: Threads = None,
    announce: Announce = True,
    columns: Columns = None,
    time_unit: TimeUnitOption = None,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    model_store: ModelStore = None,
    model_name: ModelName = None,
    assignments: Assignments = None,
    report: Report = None,
) -> None:
    """Train on a file or on the topics, write the artifact into the model store and announce it.

    Workers take announced weights in force at once. With --no-announce the artifact is only
    written.
    """
    # torch and polars take seconds to load, which `freshet train --help` need not wait for.
    from models.learning import with_settings
    from models.networks import NetworkConfig
    from models.training import TrainingConfig
    from stream.comparison import tuned_settings

    tuned = {} if settings_file is None else tuned_settings(settings_file).get(cell, {})
    settings = load_settings(
        assignments,
        brokers=brokers,
        topic_prefix=topic_prefix,
        model_store=model_store,
        model_name=model_name,
    )
    source = source_of(file, items, columns=columns, time_unit=time_unit)
    run_training(
        settings,
        source,
        network=with_settings(NetworkConfig(cell=cell), tuned | given(units=units)),
        training=with_settings(TrainingConfig(seed=seed), tuned | given(epochs=epochs, loss=loss)),
        threads=threads,
        announced=announce,
        report=report,
    )


def run_training(
    settings: "Settings",
    source: "Source | None",
    *,
    network: "NetworkConfig",
    training: "TrainingConfig",
    threads: int | None,
    announced: bool,
    report: Path | None,
) -> None:
    """Train on ``source`` (None: the topics), store, announce, and tell how it went."""
    from stream.clients import topic_partitions
    from stream.compression import open_data
    from stream.exclusion import Exclusions
    from stream.model_files import model_files
    from stream.retraining import (
        announce_fitted,
        first_origin,
        load_source,
        prepare_source,
        settings_said,
        topics_source,
        train_prepared_source,
    )
    from stream.signature import private_key
    from stream.weights import artifact_folder

    begun_s = time.monotonic()
    # What is wrong here is said before a broker is asked.
    private_key(settings)
    model_files(settings)
    if source is not None:
        with open_data(source.events):
            pass
    if announced:
        # Told before the training, not after it.
        asyncio.run(topic_partitions(settings, settings.topics.models))
    read = (
        asyncio.run(topics_source(settings)) if source is None else load_source(source, Exclusions(settings))
    )
    read_s = time.monotonic()
    with using_threads(threads), telling() as tell:
        prepared = prepare_source(settings, read)
        read = read.used()  # the texts of millions of events are as large as all that training makes of them
        fitted = train_prepared_source(settings, prepared, network=network, training=training, progress=tell)
    trained_s = time.monotonic()
    origin = first_origin(fitted, read, settings=settings_said(settings))
    manifest = asyncio.run(announce_fitted(settings, fitted, announced=announced, origin=origin))
    _print(fitted, train_s=trained_s - read_s)
    artifact = str(artifact_folder(settings, manifest.url))
    console.line(f"artifact {artifact}")
    if announced:
        console.line(f"announced {manifest.version} on {settings.topics.models}")
    figures = {
        "source": read.name,
        "version": manifest.version,
        "artifact": artifact,
        "announced": announced,
        "refused_records": read.refused,
        "offsets": read.offsets,
        "read_duration_s": read_s - begun_s,
        "train_duration_s": trained_s - read_s,
        "network": asdict(network),
        "training": asdict(training),
    }
    console.write_report(report, figures | asdict(fitted.figures))


def source_of(
    file: Path | None, items: Path | None, *, columns: str | None, time_unit: Literal["s", "ms"] | None
) -> "Source | None":
    """Return what the options name; None for the topics."""
    from stream.retraining import Source

    mapping = parse_columns(columns)
    if file is None:
        named = {"--items": items, "--columns": columns, "--time-unit": time_unit}
        for option, value in named.items():
            if value is not None:
                raise UsageError(f"{option} goes with a FILE; without one the topics are read")
        return None
    return Source(file, items, mapping, time_unit)


def given(**options: int | str | None) -> dict[str, Any]:
    """Return the options that were given; the others keep the defaults of their config."""
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Let torch use this many threads for a while; its own choice when ``threads`` is None."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def telling() -> "Iterator[Progress]":
    """Give what tells a person of a training, each part of it by a progress of its own."""
    from models.training import Part

    with ExitStack() as showing:
        shown: console.Progress | None = None
        best: Epoch | None = None

        def tell(so_far: "Part | Epoch") -> None:
            nonlocal shown, best
            if isinstance(so_far, Part):
                showing.close()
                unit = "" if so_far.epochs is None else "epochs"
                opened = console.progress(so_far.title, total=so_far.epochs, unit=unit)
                shown, best = showing.enter_context(opened), None
            elif shown is not None:
                best = so_far if best is None or so_far.mrr > best.mrr else best
                shown.note(_words(so_far, best))
                shown.advance()

        yield tell


def _words(epoch: "Epoch", best: "Epoch") -> str:
    """Say how an epoch went; training ends early where too many after the best are no better."""
    if math.isnan(epoch.mrr):
        return f"loss {epoch.loss:.3f}"
    better = f"; epoch {best.number} was better" if best.number < epoch.number else ""
    return f"loss {epoch.loss:.3f}, recall@20 {epoch.recall:.3f}, MRR@20 {epoch.mrr:.3f}{better}"


def _print(fitted: "Fitted", *, train_s: float) -> None:
    """Print how it went."""
    figures = fitted.figures
    console.line(
        f"trained on {figures.events:,} events of {figures.users:,} users and {figures.items:,} items "
        f"in {train_s:.1f} s ({figures.epochs} epochs); "
        f"{figures.suspicious_users:,} suspicious users left out"
    )
    if not math.isnan(figures.mrr):
        console.line(
            f"next event on the newest targets, held back: "
            f"recall@20 {figures.recall:.3f}, MRR@20 {figures.mrr:.3f}"
        )
