"""A worker that lacks one of the rights the README lists: it ends with a line that names what it lacks."""

import asyncio
import gc
import logging
from pathlib import Path

import pytest

from stream.errors import FreshetError, NotAllowed, TopicError
from stream.messages import ModelManifest
from stream.model_store import ModelStore
from stream.models_topic import ModelsTopic
from stream.settings import Settings
from stream.trials import Look, Trials
from stream.weights import announce
from stream.worker import Worker
from tests.support.deployment import Deployment, Sent, event, partition_of
from tests.support.rights import rights_of
from tests.support.secured_broker import Right, SecuredBroker

AT_MS = 1_511_544_070_123
PARTITIONS = 2
LIMIT_S = 60.0

#: The four event topics are alike to the worker, so one of them stands for all.
ALIKE = ("events.favorite", "events.cart", "events.purchase")
LISTED = [right for right in rights_of("worker", Settings.load()) if right.name not in ALIKE]
SIGHT = Right("Topic", "items", prefixed=False, operation="Describe")


class Loud(logging.Handler):
    """Hears what is logged as an error while it lasts."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.heard.append(record)

    def __enter__(self) -> "Loud":
        """Begin."""
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *exception: object) -> None:
        """End."""
        logging.getLogger().removeHandler(self)


class Lacking:
    """Workers that each lack one right, in groups of their own over the same topics; they run together."""

    def __init__(self, secured: SecuredBroker, folder: Path) -> None:
        """Make the topics, with a record to be sent on to another partition and one to be refused."""
        self._secured = secured
        self._deployment = Deployment(secured, folder, partitions=PARTITIONS).make_topics()
        click = self._deployment.topics.click
        elsewhere = 1 - partition_of(b"ada", PARTITIONS)
        self._deployment.send(
            [Sent(click, None, event("ada", "lamp", AT_MS), elsewhere), Sent(click, b"ada", b"{")]
        )

    def settings(self, number: int, right: Right) -> Settings:
        """Return the settings of a worker that has every right but one."""
        given = self._deployment.given
        principal = f"without-{number}"
        settings = Settings.load(
            **given
            | self._secured.security("SSL", principal)
            | {
                "group_id": f"{given['group_id']}.{number}",
                "data_dir": self._deployment.folder / principal,
            }
        )
        self._secured.create_topics({settings.topics.changelog: PARTITIONS})
        self._secured.grant(principal, _without(right, settings))
        return settings

    async def ended(self, settings: Settings) -> FreshetError:
        """Run a worker until it ends by itself, and return what it ends with."""
        running = asyncio.create_task(Worker(settings, fetch_wait_ms=20).run())
        await asyncio.wait({running}, timeout=LIMIT_S)
        assert running.done(), f"{settings.data_dir.name} does not end"
        error = running.exception()
        assert isinstance(error, FreshetError)
        return error


def _without(right: Right, settings: Settings) -> list[Right]:
    """Return a worker's rights less one; a topic of which nothing is left can still be seen."""
    if right is SIGHT:
        return [one for one in rights_of("worker", settings) if one.name != settings.topics.items]
    plain = rights_of("worker", Settings.load())
    rights = rights_of("worker", settings)
    lacking = rights.pop(plain.index(right))
    return [*rights, lacking._replace(operation="Describe")] if lacking.kind == "Topic" else rights


@pytest.fixture(scope="module")
def errors(secured: SecuredBroker, tmp_path_factory: pytest.TempPathFactory) -> dict[Right, FreshetError]:
    """What each worker ended with, by the right it lacks."""
    lacking = Lacking(secured, tmp_path_factory.mktemp("rights"))
    rights = [*LISTED, SIGHT]
    settings = [lacking.settings(number, right) for number, right in enumerate(rights)]

    async def run() -> list[FreshetError]:
        return await asyncio.gather(*map(lacking.ended, settings))

    gc.collect()  # what other tests left open is told of before, not while these workers are heard
    with Loud() as loud:
        ends = asyncio.run(run())
    # The client library's own lines are not heard at the usual log level.
    assert [one.getMessage() for one in loud.heard if not one.name.startswith("aiokafka")] == []
    return dict(zip(rights, ends, strict=True))


@pytest.mark.parametrize("right", LISTED, ids=lambda right: f"{right.operation}-{right.name}")
def test_worker_names_the_right_it_lacks(errors: dict[Right, FreshetError], right: Right):
    """With all the others it comes as far as it can, and then says in one line what it may not do."""
    error = errors[right]
    assert isinstance(error, NotAllowed)
    kind = {"TransactionalId": "transactional id"}.get(right.kind, right.kind.lower())
    assert f"refuses {right.operation} on {kind} " in str(error)
    assert right.name.removeprefix("freshet") in str(error)


def test_topic_that_may_not_be_seen_is_named(errors: dict[Right, FreshetError]):
    """The broker does not say whether it exists; the line says both."""
    assert isinstance(errors[SIGHT], TopicError)
    assert "items; make them with `freshet topics`, or let this process see them" in str(errors[SIGHT])


def test_rights_of_a_trial_are_enough_for_it(secured: SecuredBroker, tmp_path: Path):
    """A person with those of `models canary` begins it, the job with those of `retrain` looks at it."""
    deployment = Deployment(secured, tmp_path, partitions=PARTITIONS).make_topics()

    def allowed(principal: str, process: str) -> Settings:
        settings = Settings.load(**deployment.given | secured.security("SSL", principal))
        secured.grant(principal, rights_of(process, settings))
        return settings

    person, job = allowed("who-tries", "models canary"), allowed("who-looks", "retrain")
    now, other = (
        ModelManifest(name="default", version=version, url="-", sha256="0" * 64, trained_at=1, announced_at=2)
        for version in ("now", "other")
    )
    ModelStore(job).folder.mkdir(parents=True)

    async def tried() -> Look | None:
        await announce(job, now)
        await Trials(person, ModelsTopic(person)).begin(other)
        return await Trials(job, ModelsTopic(job)).look()

    look = asyncio.run(tried())
    assert look is not None
    assert (look.outcome, look.trial.challenger.version) == ("on", "other")
