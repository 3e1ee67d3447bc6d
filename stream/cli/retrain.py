"""The command ``freshet retrain``: a new artifact from what the topics hold."""

from typing import Annotated

import typer

from stream.cli.options import (
    Assignments,
    Brokers,
    ModelName,
    ModelStore,
    Report,
    Seed,
    TopicPrefix,
    load_settings,
)
from stream.cli.train import Epochs, Threads, given, run_training
from stream.errors import UsageError

Once = Annotated[bool, typer.Option("--once", help="Train once and end, for a scheduler such as cron.")]


def retrain(
    *,
    once: Once = False,
    epochs: Epochs = None,
    seed: Seed = 1,
    threads: Threads = None,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    model_store: ModelStore = None,
    model_name: ModelName = None,
    assignments: Assignments = None,
    report: Report = None,
) -> None:
    """Train on what the event topics hold, write the artifact and announce it to the workers."""
    if not once:
        raise UsageError("retrain is run by a scheduler such as cron; give --once")
    from models.networks import NetworkConfig
    from models.training import TrainingConfig

    settings = load_settings(
        assignments,
        brokers=brokers,
        topic_prefix=topic_prefix,
        model_store=model_store,
        model_name=model_name,
    )
    run_training(
        settings,
        None,
        network=NetworkConfig(),
        training=TrainingConfig(seed=seed, **given(epochs=epochs)),
        threads=threads,
        announced=True,
        report=report,
    )
