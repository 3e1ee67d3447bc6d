"""Whole deployments over TLS, logins, tokens, client certificates: each process with the README's rights."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from aiokafka import AIOKafkaConsumer

from stream import clients
from stream.cli import main
from stream.settings import Settings
from stream.simulation import Simulation
from tests.support.deployment import Deployment, Sent
from tests.support.rights import rights_of
from tests.support.secured_broker import Right, SecuredBroker
from tests.support.token_endpoint import Issuer, Reply, Request, granted
from tests.support.worker_process import eventually

WORDS = {0: "click", 1: "favorite", 2: "cart", 3: "purchase"}
EVENTS = 600
READ_LIMIT_S = 30.0
SHORT_S = 4
AWAY = "stream.worker: the broker does not answer"
BACK = "stream.worker: the broker answers again"
NO_TOKEN = "stream.worker: no token to log in with: FRESHET_SASL_OAUTH_TOKEN_"
AT_MS = 1_511_544_070_123

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
#: Each way in with one of the guarantees and one of the stores, which all ask for the same rights.
WAYS = {
    "SASL_SSL": ("at_least_once", "rocksdb"),
    "SASL_PLAINTEXT": ("exactly_once", "memory"),
    "SSL": ("at_least_once", "memory"),
    "OAUTHBEARER": ("at_least_once", "memory"),
    "CLIENT_CREDENTIALS": ("exactly_once", "rocksdb"),
}


class Site:
    """A deployment whose processes all come in one way; ``written`` is what they said so far."""

    def __init__(
        self, secured: SecuredBroker, folder: Path, way: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Give every principal its rights."""
        guarantee, store = WAYS[way]
        self.deployment = Deployment(
            secured, folder, partitions=2, processing_guarantee=guarantee, store=store, log_level="debug"
        )
        self.written = ""
        self._secured, self._way, self._capfd = secured, way, capfd
        for process, principal in PROCESSES.items():
            secured.grant(principal, rights_of(process, self.deployment.settings))

    def settings(self, principal: str) -> dict[str, object]:
        """Return the settings that differ from principal to principal."""
        return self._secured.security(self._way, principal)

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

    def told_secrets(self) -> list[str]:
        """Return the secrets that stand in what the processes said or wrote."""
        return [secret for secret in self._secured.secrets if self.holds(secret)]

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
    """A deployment with one way in."""
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
    assert site.told_secrets() == []


def test_wrong_secret_is_one_line_without_it(site: Site):
    """Who is not let in is told what to look at, and neither the right secret nor the wrong one."""
    settings = site.settings("maker")
    for secret in {"sasl_password", "ssl_password", "sasl_oauth_client_secret"} & settings.keys():
        settings[secret] = "wrong.hidden"
    if "sasl_oauth_token_file" in settings:
        Path(str(settings["sasl_oauth_token_file"])).write_text("wrong.hidden")
    told = site.refused(settings, "topics")
    assert told.count("\n") == 1
    assert told.startswith("freshet: ")
    assert not site.holds("hidden")


@pytest.mark.parametrize(
    ("site", "without", "words"),
    [
        ("OAUTHBEARER", {"sasl_oauth_token_file": "/absent"}, "FILE is '/absent': no such file"),
        ("CLIENT_CREDENTIALS", {"sasl_oauth_client_secret": "wrong"}, "it answers 401 (invalid_client); "),
    ],
    indirect=["site"],
)
def test_command_without_a_token_is_one_line_that_says_why(site: Site, without: dict[str, str], words: str):
    """The broker would have answered, so the line is about the token and where it should come from."""
    told = site.refused(site.settings("maker") | without, "topics")
    assert told.count("\n") == 1
    assert told.startswith("freshet: FRESHET_SASL_OAUTH_TOKEN_")
    assert words in told
    assert site.told_secrets() == []


@pytest.mark.parametrize("site", ["OAUTHBEARER"], indirect=True)
@pytest.mark.parametrize("kind", ["ended", "forged"])
def test_token_that_the_broker_refuses_is_one_line_without_it(
    site: Site, secured: SecuredBroker, tmp_path_factory: pytest.TempPathFactory, kind: str
):
    """The broker checks life and signature; the client library tells neither from a broken connection."""
    issuer = secured.issuer if kind == "ended" else Issuer(tmp_path_factory.mktemp("forged"))
    token = issuer.token("maker", life_s=-3600 if kind == "ended" else 3600)
    settings = site.settings("maker")
    Path(str(settings["sasl_oauth_token_file"])).write_text(token)
    told = site.refused(settings, "topics")
    assert told.count("\n") == 1
    assert "or look at the token, which the broker may have refused" in told
    assert site.told_secrets() == []
    assert not site.holds(token[:30])


class Renewed:
    """Tokens of a few seconds for a worker, good or bad as a test says; each ends its connections."""

    def __init__(self, site: Site, secured: SecuredBroker) -> None:
        """Prepare; ``settings`` are the worker's, and ``told`` is what it names where there is no token."""
        self.settings = site.settings("worker")
        self._secured = secured
        self._granting = secured.endpoint.reply
        self._good = True
        file = self.settings.get("sasl_oauth_token_file")
        self._file = None if file is None else Path(str(file))
        self.told = NO_TOKEN + ("URL is 'https:" if file is None else f"FILE is '{file}': the file is empty")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew)

    def __enter__(self) -> Self:
        """Renew the worker's token from now on."""
        self._secured.endpoint.reply = self._reply
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the file alone, and the endpoint as it was."""
        self._ended.set()
        self._thread.join()
        self._secured.endpoint.reply = self._granting

    def turn(self, *, good: bool) -> None:
        """Give good tokens from now on, or none."""
        self._good = good
        self._write()

    def _token(self) -> str:
        return self._secured.issuer.token("worker", life_s=SHORT_S)

    def _reply(self, request: Request) -> Reply:
        return granted(self._token(), expires_in=SHORT_S) if self._good else Reply(503, b"hidden")

    def _renew(self) -> None:
        while not self._ended.wait(1.0):
            self._write()

    def _write(self) -> None:
        if self._file is not None:
            beside = self._file.with_suffix(".new")
            beside.write_text(self._token() if self._good else "")
            beside.replace(self._file)


@pytest.mark.parametrize("site", ["OAUTHBEARER", "CLIENT_CREDENTIALS"], indirect=True)
def test_worker_outlives_its_tokens_and_a_time_without(site: Site, secured: SecuredBroker):
    """Each token ends its connections; without a new one the broker is away, and with one it is back."""
    deployment = site.deployment
    site.run("maker", "topics")
    with Renewed(site, secured) as tokens:
        worker = deployment.start(**tokens.settings, lists="recent").wait_ready()
        until_s = time.monotonic() + 3 * SHORT_S
        sent = 0
        while time.monotonic() < until_s:
            deployment.send_events(deployment.topics.click, ("ada", f"lamp-{sent}", AT_MS + sent))
            sent += 1
            deployment.wait_served(worker)
        assert "stream.worker: the broker" not in worker.errors()
        tokens.turn(good=False)
        eventually(lambda: tokens.told in worker.errors(), "the worker says what is wrong")
        deployment.send_events(deployment.topics.click, ("ada", "sofa", AT_MS + sent))
        eventually(lambda: AWAY in worker.errors(), "the broker is away")
        tokens.turn(good=True)
        eventually(lambda: BACK in worker.errors(), "the broker is back")
        deployment.wait_served(worker)
    assert worker.events(outcome="applied") == sent + 1
    assert worker.terminate() == 0
    site.written += worker.errors()
    assert site.told_secrets() == []
