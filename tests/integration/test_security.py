"""Whole deployments over TLS, logins and client certificates, each process with the README's rights alone."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from stream import clients
from stream.cli import main
from stream.settings import Settings
from stream.simulation import Simulation
from tests.support.deployment import Deployment, Sent
from tests.support.rights import rights_of
from tests.support.secured_broker import PRINCIPALS, Right, SecuredBroker, secret_of

WORDS = {0: "click", 1: "favorite", 2: "cart", 3: "purchase"}
EVENTS = 600
READ_LIMIT_S = 30.0

#: Which principal each of the README's processes comes in as.
PROCESSES = {
    "topics": "maker",
    "worker": "worker",
    "train": "trainer",
    "replay": "shop",
    "recommend": "reader",
    "forget": "operator",
    "dead-letters list": "operator",
    "dead-letters redrive": "operator",
}
#: Each protocol with one of the two guarantees, which ask for the same rights.
WAYS = {"SASL_SSL": "at_least_once", "SASL_PLAINTEXT": "exactly_once", "SSL": "at_least_once"}


class Site:
    """A deployment whose processes all come in over one protocol; ``written`` is what they said so far."""

    def __init__(
        self, secured: SecuredBroker, folder: Path, protocol: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Give every principal its rights."""
        self.deployment = Deployment(
            secured, folder, partitions=2, processing_guarantee=WAYS[protocol], log_level="debug"
        )
        self.written = ""
        self._secured, self._protocol, self._capfd = secured, protocol, capfd
        for process, principal in PROCESSES.items():
            secured.grant(principal, rights_of(process, self.deployment.settings))

    def settings(self, principal: str) -> dict[str, object]:
        """Return the settings that differ from principal to principal."""
        return self._secured.security(self._protocol, principal)

    def run(self, principal: str, *arguments: str) -> str:
        """Run a command in this process as a principal; returns what it printed."""
        status, out, err = self._run(self.settings(principal), *arguments)
        assert status == 0, err
        return out

    def refused(self, settings: dict[str, object], *arguments: str) -> str:
        """Run a command that fails; returns what it said on standard error."""
        status, out, err = self._run(settings, *arguments)
        assert status != 0
        assert out == ""
        return err

    def holds(self, text: str) -> bool:
        """Whether a text stands in anything the processes said or wrote."""
        files = [path.read_bytes() for path in self.deployment.folder.rglob("*") if path.is_file()]
        return any(text.encode() in content for content in [self.written.encode(), *files])

    def _run(self, settings: dict[str, object], *arguments: str) -> tuple[int, str, str]:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("FRESHET_")]:
                patch.delenv(name)
            for name, value in self.deployment.environment(**settings).items():
                patch.setenv(name, value)
            status = main.run(list(arguments))
        out, err = self._capfd.readouterr()
        self.written += out + err
        return status, out, err

    def consumed(self, principal: str) -> dict[bytes, bytes]:
        """Read the lists as a consumer of a group of its own; returns each user's last."""
        group = f"{self.deployment.settings.group_id}.shop"
        self._secured.grant(principal, [Right("Group", group, prefixed=False, operation="Read")])
        settings = Settings.load(**self.deployment.given | self.settings(principal))
        return asyncio.run(asyncio.wait_for(_lists(settings, group), READ_LIMIT_S))


async def _lists(settings: Settings, group: str) -> dict[bytes, bytes]:
    consumer = clients.consumer(settings, group_id=group, auto_offset_reset="earliest")
    consumer.subscribe([settings.topics.recommendations])
    async with clients.running(consumer, settings):
        found: dict[bytes, bytes] = {}
        while not found or await _more(consumer):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found |= {record.key: record.value for record in records}
        await consumer.commit()
        return found


async def _more(consumer: AIOKafkaConsumer) -> bool:
    """Whether a consumer has not read its partitions to their ends."""
    ends = await consumer.end_offsets(consumer.assignment())
    return any([await consumer.position(place) < end for place, end in ends.items()])


@pytest.fixture(scope="module")
def events(shop: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a shop's first events."""
    file = tmp_path_factory.mktemp("shop") / "shop.csv"
    rows = shop.events.sort("timestamp").head(EVENTS)
    rows.with_columns(behavior=rows["behavior"].replace_strict(WORDS)).write_csv(file)
    return file


@pytest.fixture(params=WAYS)
def site(
    request: pytest.FixtureRequest,
    secured: SecuredBroker,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Site]:
    """A deployment over one protocol."""
    made = Site(secured, tmp_path, request.param, capfd)
    with made.deployment:
        yield made


def test_whole_deployment_works_and_tells_no_secret(site: Site, events: Path):
    """Topics, events, training, lists, letters, erasure: with the listed rights, and silent on secrets."""
    deployment = site.deployment
    site.run("maker", "topics")
    site.run("shop", "replay", str(events), "--speed", "0")
    worker = deployment.start(**site.settings("worker"))
    site.run("trainer", "train", "--epochs", "1", "--units", "8", "--threads", "1")
    worker.wait_ready()
    deployment.send([Sent(deployment.topics.click, b"bad", b"{")])
    deployment.wait_served(worker)
    user, value = next(iter(site.consumed("reader").items()))
    assert site.run("reader", "recommend", user.decode(), "--json").encode().strip() == value
    assert "not-json" in site.run("operator", "dead-letters", "list")
    assert "sent again: 1" in site.run("operator", "dead-letters", "redrive")
    site.run("operator", "forget", user.decode())
    site.run("trainer", "retrain", "--once", "--kind", "light")
    deployment.wait_served(worker)
    assert worker.list_of(user.decode()).status == 404
    assert worker.metrics().total("freshet_model_swaps_total", outcome="swapped") >= 1
    assert worker.terminate() == 0
    assert "aiokafka" in worker.errors()  # the client's own account is among what is looked through
    assert [name for name in PRINCIPALS if site.holds(secret_of(name))] == []


def test_wrong_secret_is_one_line_without_it(site: Site):
    """Who is not let in is told what to look at, and neither the right secret nor the wrong one."""
    settings = site.settings("maker")
    for secret in {"sasl_password", "ssl_password"} & settings.keys():
        settings[secret] = "wrong.hidden"
    told = site.refused(settings, "topics")
    assert told.count("\n") == 1
    assert told.startswith("freshet: ")
    assert not site.holds("hidden")
