"""`freshet models`: the artifacts of the model store, and which of them is in force."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli import console
from stream.cli.group import Group
from stream.cli.options import Assignments, Brokers, ModelName, ModelStore, TopicPrefix, load_settings
from stream.errors import UsageError

if TYPE_CHECKING:
    from stream.kept_models import Chooser
    from stream.messages import CanaryTrial
    from stream.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="As `freshet models list` names it.")]

Tried = Annotated[str | None, typer.Argument(metavar="[VERSION]", help="As `freshet models list` names it.")]
Share = Annotated[
    float | None,
    typer.Option(
        "--share",
        min=0.001,
        max=0.5,
        help="Share of the users it serves [FRESHET_CANARY_SHARE; 0.1 for its 0].",
    ),
]
End = Annotated[bool, typer.Option("--end", help="End the trial that is on.")]

TIMES = ("trained_at_ms", "origin.until_ms")

models = typer.Typer(
    cls=Group,
    name="models",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="The artifacts of the model store, and which of them is in force.",
)


@models.callback()
def group() -> None:
    """Look at the artifacts of a model and choose which is in force."""


@models.command("list")
def list_models(
    *,
    as_json: AsJson = False,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    model_store: ModelStore = None,
    model_name: ModelName = None,
    assignments: Assignments = None,
) -> None:
    """List the artifacts, newest first: when and how trained, role, parent, what the gate measured.

    The one that the models topic announces is `in force`, a canary is `on trial`; `refused` is what the
    gate or a trial did not let pass, `earlier` the rest.
    """
    settings = load_settings(
        assignments,
        brokers=brokers,
        topic_prefix=topic_prefix,
        model_store=model_store,
        model_name=model_name,
    )
    from stream.kept_models import kept_models
    from stream.model_store import ModelStore as Store
    from stream.models_topic import ModelsTopic

    store = Store(settings)
    standing = asyncio.run(ModelsTopic(settings).standing())
    in_force = None if standing.in_force is None else standing.in_force.version
    found = kept_models(store, standing)
    if as_json:
        console.json_text([asdict(one) for one in found])
    else:
        console.lines(
            ("version", "trained", "kind", "role", "parent", "gate"),
            [
                (one.version, _time(one.trained_at_ms), one.kind, one.role, one.parent, one.words)
                for one in found
            ],
        )
    if in_force is None:
        console.note(f"nothing is announced for the model {store.name}")
    elif in_force not in {one.version for one in found}:
        console.note(f"{in_force} is announced, and is not in {store.folder}")


@models.command("show")
def show_model(
    version: Version,
    *,
    as_json: AsJson = False,
    model_store: ModelStore = None,
    model_name: ModelName = None,
    assignments: Assignments = None,
) -> None:
    """Show what an artifact's manifest says: data, offsets, settings, seed, figures, parent, code version.

    Needs no broker.
    """
    settings = load_settings(assignments, model_store=model_store, model_name=model_name)
    from stream.kept_models import described
    from stream.model_store import ModelStore as Store

    said = described(Store(settings), version)
    if as_json:
        console.json_text(said)
    else:
        console.lines(("field", "value"), _rows(said))


@models.command("promote")
def promote_model(
    version: Version,
    *,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    model_store: ModelStore = None,
    model_name: ModelName = None,
    assignments: Assignments = None,
) -> None:
    """Announce an artifact again, one that the gate refused too; workers take it in force.

    It is first checked as a worker checks it. What is in force already is not announced again. A trial
    that is on ends.
    """
    settings = load_settings(
        assignments,
        brokers=brokers,
        topic_prefix=topic_prefix,
        model_store=model_store,
        model_name=model_name,
    )
    done = asyncio.run(_chooser(settings).promote(version))
    if done.refused:
        console.note(f"the gate refused {version}: {done.refused}")
    if done.failed:
        console.note(f"{version} was on trial and rolled back: {done.failed}")
    if not done.announced:
        console.line(f"{version} is in force already; nothing was announced")
    else:
        was = f"; {done.replaced} was in force before" if done.replaced else ""
        console.line(f"announced {version} on {settings.topics.models}{was}")
        _tell_ended(done.ended)


@models.command("canary")
def canary_model(
    version: Tried = None,
    *,
    share: Share = None,
    end: End = False,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    model_store: ModelStore = None,
    model_name: ModelName = None,
    assignments: Assignments = None,
) -> None:
    """Put an artifact on trial: a share of the users is served by it beside what is in force.

    It is first checked as a worker checks it. `freshet retrain` compares what its lists are worth with
    those of what is in force, and promotes it or rolls it back; --end ends the trial undecided.
    """
    if (version is None) != end:
        raise UsageError("give VERSION, to put it on trial, or --end, to end the trial that is on")
    settings = load_settings(
        assignments,
        brokers=brokers,
        topic_prefix=topic_prefix,
        model_store=model_store,
        model_name=model_name,
        canary_share=share,
    )
    from stream.model_store import ModelStore as Store
    from stream.models_topic import ModelsTopic
    from stream.trials import Trials

    topic = ModelsTopic(settings)
    trials = Trials(settings, topic)
    if version is None:
        ended = asyncio.run(trials.end())
        _tell_ended(None if ended is None else ended.challenger.version)
        if ended is None:
            console.line("no trial was on")
        return

    Store(settings).require(version)

    async def begun(version: str) -> "CanaryTrial":
        return await trials.begin(await _chooser(settings).checked(version))

    trial = asyncio.run(begun(version))
    console.line(
        f"{version} serves {trial.share:g} of the users, announced on {settings.topics.models}; "
        f"{trial.champion} serves the others"
    )


def _tell_ended(version: str | None) -> None:
    """Say that a trial has ended, if one has."""
    if version is not None:
        console.line(f"the trial of {version} has ended, undecided")


@models.command("rollback")
def roll_back_model(
    *,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    model_store: ModelStore = None,
    model_name: ModelName = None,
    assignments: Assignments = None,
) -> None:
    """Announce what was in force before the present network, or before it was promoted by hand.

    A trial that is on ends.
    """
    roll_back(
        load_settings(
            assignments,
            brokers=brokers,
            topic_prefix=topic_prefix,
            model_store=model_store,
            model_name=model_name,
        )
    )


def roll_back(settings: "Settings") -> None:
    """Go back to the weights before, and tell from which to which."""
    done = asyncio.run(_chooser(settings).roll_back())
    console.line(f"rolled back from {done.replaced}: announced {done.version} on {settings.topics.models}")
    _tell_ended(done.ended)


def _chooser(settings: "Settings") -> "Chooser":
    """What chooses over Kafka."""
    from stream.kept_models import Chooser
    from stream.models_topic import ModelsTopic

    return Chooser(settings, ModelsTopic(settings))


def _rows(said: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, object]]:
    """Each figure with its path, as `--json` has it; lists on one line, times for a person."""
    for name, value in said.items():
        path = f"{within}{name}"
        if isinstance(value, Mapping) and value:
            yield from _rows(value, f"{path}.")
        elif path in TIMES:
            yield path, _time(value)
        elif isinstance(value, list | tuple):
            yield path, " ".join(map(str, value))
        else:
            yield path, "" if value is None or value == {} else value


def _time(time_ms: int | None) -> str:
    """A moment, UTC."""
    return "" if time_ms is None else f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
