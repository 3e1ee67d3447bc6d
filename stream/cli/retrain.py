"""The command ``freshet retrain``: new weights from what the topics hold, announced where they are better."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stream.cli import console
from stream.cli.options import (
    Assignments,
    Brokers,
    Columns,
    HttpPort,
    ModelName,
    ModelStore,
    Report,
    Seed,
    TimeUnitOption,
    TopicPrefix,
    load_settings,
)
from stream.cli.train import Epochs, Items, Threads, given, source_of, telling, using_threads
from stream.errors import UsageError

if TYPE_CHECKING:
    from models.training import Progress
    from stream.retrain_job import Kind, RetrainJob, Run, Ties
    from stream.retraining import Source
    from stream.settings import Settings

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]",
        help="Events, as `freshet train` reads them. Not given: what the event topics hold.",
    ),
]
Once = Annotated[bool, typer.Option("--once", help="Run once and end, for a scheduler such as cron.")]
Work = Annotated[
    Literal["auto", "full", "warm", "light"],
    typer.Option(
        "--kind",
        help="full: from nothing; warm: on from the model in force; light: count anew, train nothing; "
        "auto: full or warm by FRESHET_RETRAIN_FULL_EVERY. With --once.",
    ),
]
Rollback = Annotated[bool, typer.Option("--rollback", help="The same as `freshet models rollback`.")]


def retrain(
    file: File = None,
    *,
    once: Once = False,
    kind: Work = "auto",
    rollback: Rollback = False,
    items: Items = None,
    epochs: Epochs = None,
    seed: Seed = 1,
    threads: Threads = None,
    columns: Columns = None,
    time_unit: TimeUnitOption = None,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    model_store: ModelStore = None,
    model_name: ModelName = None,
    http_port: HttpPort = None,
    assignments: Assignments = None,
    report: Report = None,
) -> None:
    """Train a challenger, compare it with the model in force on the newest events, announce a better one.

    Where the settings have a canary, a better one first serves a share of the users and is announced once
    it is better there too; meanwhile nothing is trained, and --once looks how that goes.

    Runs on and on, at the intervals of the settings, with metrics over HTTP; or --once. Of several
    such processes one works and the others wait.
    """
    if kind != "auto" and not once:
        raise UsageError(f"--kind {kind} goes with --once; without it the settings say when which is due")
    if report is not None and not once:
        raise UsageError("--report goes with --once")
    if rollback and once:
        raise UsageError("--rollback and --once are two things; give one of them")
    settings = load_settings(
        assignments,
        brokers=brokers,
        topic_prefix=topic_prefix,
        model_store=model_store,
        model_name=model_name,
        http_port=http_port,
    )
    if rollback:
        from stream.cli.models import roll_back

        roll_back(settings)
        return
    source = source_of(file, items, columns=columns, time_unit=time_unit)
    training = {"seed": seed, **given(epochs=epochs)}
    with using_threads(threads):
        if once:
            _once(settings, source, training, None if kind == "auto" else kind, report)
        else:
            from stream.logs import configure

            configure(settings.log_level)
            asyncio.run(_serve(settings, source, training))


def _job(
    settings: "Settings",
    source: "Source | None",
    training: dict[str, Any],
    *,
    progress: "Progress | None" = None,
    mine: Callable[[], bool] = lambda: True,
) -> "RetrainJob":
    """Tie the job to Kafka, or its events to a file."""
    from prometheus_client import CollectorRegistry

    from models.training import TrainingConfig, untold
    from stream.retrain_job import RetrainJob, succession_config
    from stream.telemetry import RetrainTelemetry

    return RetrainJob(
        settings,
        _ties(settings, source, mine),
        config=succession_config(settings, TrainingConfig(**training)),
        telemetry=RetrainTelemetry(CollectorRegistry()),
        progress=progress or untold,
    )


def _ties(settings: "Settings", source: "Source | None", mine: Callable[[], bool]) -> "Ties":
    """Read and announce by Kafka; ``mine`` says whether it is this process's turn to announce."""
    from stream.exclusion import Exclusions
    from stream.history import HistoryReader
    from stream.models_topic import ModelsTopic
    from stream.retrain_job import Ties
    from stream.retraining import Material, load_source

    reader = HistoryReader(
        settings,
        horizon_ms=settings.retrain_horizon_s * 1000,
        max_events=settings.retrain_max_events,
    )

    async def read() -> Material:
        if source is not None:
            return await asyncio.to_thread(load_source, source, Exclusions(settings))
        held = await reader.read()
        return Material("topics", held.events, held.items, held.refused, held.offsets)

    return Ties(read, ModelsTopic(settings, mine))


def _once(
    settings: "Settings",
    source: "Source | None",
    training: dict[str, Any],
    kind: "Kind | None",
    report: Path | None,
) -> None:
    """Run once, and tell how it went."""
    begun_s = time.monotonic()
    with telling() as tell:
        job = _job(settings, source, training, progress=tell)
        done = asyncio.run(job.run(kind))
    told = f": announced {done.version} on {settings.topics.models}" if done.version else ""
    if done.outcome == "trial":
        told = f": {done.trial} is on trial; the next run looks at it"
    if done.refused:
        told = f": kept as {done.refused}, which `freshet models promote` can announce"
    console.line(f"{done.outcome} ({done.kind}): {done.reason}{told}")
    console.write_report(report, _figures(done, time.monotonic() - begun_s))


def _figures(done: "Run", took_s: float) -> dict[str, Any]:
    """The report of a run."""
    told = {
        "outcome": done.outcome,
        "kind": done.kind,
        "reason": done.reason,
        "version": done.version,
        "champion_version": done.champion,
        "refused_version": done.refused,
        "trial_version": done.trial,
        "trial": done.live,
        "duration_s": took_s,
        "gate": None if done.verdict is None else done.verdict.as_report(),
    }
    return told | done.figures


async def _serve(settings: "Settings", source: "Source | None", training: dict[str, Any]) -> None:
    """Run on until stopped (Ctrl-C or TERM)."""
    from stream.retrain_clock import Clock, run_on
    from stream.turn import Turn
    from stream.web import Answers, WebServer

    turn = Turn(settings)
    job = _job(settings, source, training, mine=turn.mine)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with turn:
        answers = Answers(
            registry=job.registry,
            healthy=lambda: True,
            readiness=lambda: {"turn": turn.mine()},
            find_list=lambda _: None,
        )
        async with WebServer.of(settings, answers) as web:
            console.line(f"ready: {web.url}")

            async def work() -> None:
                # A training that is due before the group has given anybody the turn would be passed over.
                await turn.told.wait()
                await run_on(job, Clock(settings, now_s=time.monotonic()), stopping, turn.mine)

            working = asyncio.create_task(work())
            stopped = asyncio.create_task(stopping.wait())
            await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            # A training under way is given up: nothing of it has been announced.
            job.stop()
            if not working.done():
                working.cancel()
            await asyncio.gather(working, stopped, return_exceptions=True)
            if not working.cancelled() and (error := working.exception()) is not None:
                raise error
