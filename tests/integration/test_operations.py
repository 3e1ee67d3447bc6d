"""A worker in operation: what it answers, what it refuses to start with, and what it lives through."""

import asyncio
import dataclasses
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import cast

import msgspec
import pytest

from models.artifact import WEIGHTS
from models.fitting import Fitted
from models.recommender import Recommender
from stream.messages import Item, decode_list, encode
from stream.retraining import announce_fitted
from stream.simulation import Simulation
from stream.state import decode_state
from stream.weights import announce, artifact_folder
from tests.support.deployment import PARTITIONS, Deployment, Sent
from tests.support.kafka_broker import KafkaBroker, free_port
from tests.support.offline import same_items
from tests.support.worker_process import WorkerProcess, eventually

AT_MS = 1_511_544_070_123
LIST_INTERVAL_S = 2.0


class Site:
    """A deployment with one worker that most tests share; a test that ends it starts another."""

    def __init__(self, deployment: Deployment, items: list[str]) -> None:
        """Start the worker."""
        self.deployment = deployment
        self.items = items
        self.worker = deployment.start().wait_ready()

    def click(self, user: str, *numbers: int) -> None:
        """Send clicks of a user on items by their number, in order of time, and wait for the lists."""
        events = [(user, self.items[number], AT_MS + 1000 * number) for number in numbers]
        self.deployment.send_events(self.deployment.topics.click, *events)
        self.deployment.wait_served(self.worker)

    def listed(self, user: str) -> list[str]:
        """Return the items of the user's list as the worker answers it; none where it has no list."""
        answer = self.worker.list_of(user)
        return [item.item_id for item in decode_list(answer.body).items] if answer.status == 200 else []


@pytest.fixture(scope="module")
def deployment(
    kafka: KafkaBroker, fitted: Fitted, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Topics and an announced model."""
    with Deployment(kafka, tmp_path_factory.mktemp("operations")) as made:
        made.make_topics()
        asyncio.run(announce_fitted(made.settings, fitted))
        yield made


@pytest.fixture(scope="module")
def site(deployment: Deployment, shop: Simulation) -> Site:
    """A running worker."""
    return Site(deployment, shop.items["item_id"].to_list())


def renamed(fitted: Fitted, version: str) -> Fitted:
    """The same weights as another version."""
    was = fitted.recommender
    recommender = Recommender(
        version=version,
        network=was.network,
        vocabulary=was.vocabulary,
        rule=was.rule,
        popularity=was.popularity,
        trained_at_ms=was.trained_at_ms,
    )
    return dataclasses.replace(fitted, recommender=recommender)


def conditions(worker: WorkerProcess) -> Mapping[str, bool]:
    """Return what `/readyz` says of each condition."""
    answer = cast("dict[str, dict[str, bool]]", worker.get("/readyz").json())
    return answer["conditions"]


# What it answers.


def test_metrics_are_clean(site: Site):
    """`promtool check metrics` has nothing to say about the live endpoint."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: install Debian's package prometheus")
    site.click("for-promtool", 1, 2)
    text = site.worker.get("/metrics").body
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    assert b"freshet_event_to_recommendation_seconds_bucket" in text


def test_health_and_readiness(site: Site):
    """A worker that serves is healthy, and ready by every condition."""
    assert site.worker.get("/healthz").status == 200
    answer = site.worker.get("/readyz")
    assert answer.status == 200
    assert answer.json() == {"ready": True, "conditions": conditions(site.worker)}
    assert conditions(site.worker).keys() == {"broker", "partitions", "state", "weights"}


@pytest.mark.parametrize("path", ["/", "/table", "/table/users/u1", "/recommendations", "/graph"])
def test_nothing_else_answers(site: Site, path: str):
    """What Faust's own web server would show is not there."""
    assert site.worker.get(path).status == 404


def test_list_of_a_user_is_the_one_that_was_sent(site: Site):
    """The answer has the items and the event of the user's last list on the topic."""
    site.click("asks/for it", 3, 4, 5)
    answer = site.worker.list_of("asks/for it")
    assert answer.status == 200
    answered, sent = decode_list(answer.body), site.deployment.lists_of("asks/for it")[-1]
    assert sent is not None
    assert (answered.user_id, answered.kind, answered.model_version, answered.event) == (
        sent.user_id,
        sent.kind,
        sent.model_version,
        sent.event,
    )
    assert same_items(answered.items, sent.items)


def test_list_of_an_unknown_user_is_absent(site: Site):
    """A user who never did anything has no list."""
    assert site.worker.list_of("never-seen").status == 404


# What it does not start with.


def refusal(deployment: Deployment, **settings: object) -> str:
    """Return the one line a worker ends with that cannot start."""
    done = deployment.command("worker", **settings)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    return done.stderr


def test_port_in_use_is_one_line(site: Site):
    """A second worker on the same port says which, and how to choose another."""
    port = site.worker.port
    line = refusal(site.deployment, http_port=port)
    assert f"HTTP port {port}" in line
    assert "FRESHET_HTTP_PORT" in line


def test_absent_broker_is_one_line(deployment: Deployment):
    """Where no broker answers the address is told."""
    address = f"127.0.0.1:{free_port()}"
    line = refusal(deployment, brokers=address)
    assert f"no Kafka broker answers at {address}" in line
    assert "FRESHET_BROKERS" in line


def test_wrong_partition_counts_are_one_line(deployment: Deployment):
    """Settings that differ from the topics would lose users: the worker does not start."""
    line = refusal(deployment, partitions=3)
    assert "wrong partition counts, 3 are needed" in line
    assert f"{deployment.topics.click} has 4" in line
    assert "FRESHET_PARTITIONS=4" in line


def test_missing_topics_are_one_line(deployment: Deployment):
    """Another prefix has no topics yet."""
    line = refusal(deployment, topic_prefix="nobody-made-these.")
    assert "missing topics: nobody-made-these.events.click" in line
    assert "freshet topics" in line


# Weights, items, erasures.


@pytest.mark.parametrize("damage", ["missing", "weights", "manifest"])
def test_bad_artifact_is_refused_and_the_old_weights_go_on(site: Site, fitted: Fitted, damage: str):
    """An announced artifact that is missing or not as it was written changes nothing but a counter."""
    settings = site.deployment.settings
    before = site.worker.metrics().total("freshet_model_swaps_total", outcome="refused")
    manifest = asyncio.run(announce_fitted(settings, renamed(fitted, f"bad-{damage}"), announced=False))
    folder = artifact_folder(settings, manifest.url)
    if damage == "missing":
        shutil.rmtree(folder)
    elif damage == "weights":
        content = bytearray((folder / WEIGHTS).read_bytes())
        content[-1] ^= 1
        (folder / WEIGHTS).write_bytes(content)
    else:
        manifest = msgspec.structs.replace(manifest, sha256="0" * 64)
    asyncio.run(announce(settings, manifest))
    eventually(
        lambda: site.worker.metrics().total("freshet_model_swaps_total", outcome="refused") == before + 1,
        "the refusal is counted",
    )
    site.click(f"under-old-weights-{damage}", 6)
    made = site.deployment.lists_of(f"under-old-weights-{damage}")[-1]
    assert made is not None
    assert made.model_version == fitted.recommender.version
    assert str(folder) in site.worker.errors()


def test_announced_weights_are_in_force_without_a_stop(site: Site, fitted: Fitted):
    """Lists after the announcement name the new version; a state made before is computed anew."""
    site.click("sees-both", 7)
    swapped = asyncio.run(announce_fitted(site.deployment.settings, renamed(fitted, "second")))
    eventually(
        lambda: site.worker.metrics().total("freshet_model_info", version="second") == 1, "it is in force"
    )
    site.click("sees-both", 8)
    versions = [made.model_version for made in site.deployment.lists_of("sees-both") if made is not None]
    assert versions == [fitted.recommender.version, swapped.version]
    assert site.worker.metrics().total("freshet_state_rebuilds_total", cause="weights") >= 1


def test_item_made_unavailable_stands_in_no_later_list(site: Site):
    """Neither in the answer nor in lists sent; made available again it returns."""
    site.click("wants-it", 9, 10)
    wanted = site.listed("wants-it")[0]
    topic, key = site.deployment.topics.items, wanted.encode()
    site.deployment.send([Sent(topic, key, encode(Item(item_id=wanted, available=False)), partition=0)])
    eventually(lambda: wanted not in site.listed("wants-it"), "the item is unavailable")
    earlier = len(site.deployment.lists())
    site.click("wants-it", 11, 12)
    site.click("wants-it-too", 9, 10)
    later = site.deployment.lists_of("wants-it")[2:] + site.deployment.lists_of("wants-it-too")
    assert len(later) == 4
    assert len(site.deployment.lists()) == earlier + 4
    assert all(made is not None and wanted not in {one.item_id for one in made.items} for made in later)
    site.deployment.send([Sent(topic, key, encode(Item(item_id=wanted)), partition=0)])
    eventually(lambda: wanted in site.listed("wants-it-too"), "the item is available again")


def test_forgotten_user_leaves_nothing(site: Site):
    """Record and list are erased on both topics; the user's next event is the first we know of."""
    topics = site.deployment.topics
    site.click("wants-out", 13, 14)
    site.click("stays", 13, 14)
    done = site.deployment.command("forget", "wants-out")
    assert done.returncode == 0, done.stderr
    site.deployment.wait_served(site.worker)
    for topic in (topics.changelog, topics.recommendations):
        newest = {record.key: record.value for record in site.deployment.read(topic)}
        assert newest[b"wants-out"] is None
        assert newest[b"stays"] is not None
    assert site.worker.list_of("wants-out").status == 404
    assert site.worker.list_of("stays").status == 200
    now_ms = time.time_ns() // 1_000_000
    site.deployment.send_events(topics.click, ("wants-out", site.items[15], now_ms))
    site.deployment.wait_served(site.worker)
    assert decode_state(site.deployment.records()[b"wants-out"]).items == [site.items[15]]


def test_list_interval_holds_lists_back(
    deployment: Deployment, kafka: KafkaBroker, shop: Simulation, tmp_path_factory: pytest.TempPathFactory
):
    """Of events in quick succession the first has a list at once, the last one when the interval ends."""
    items = shop.items["item_id"].to_list()
    settings = {"list_interval_s": LIST_INTERVAL_S, "lists": "recent"}
    with Deployment(kafka, tmp_path_factory.mktemp("interval"), **settings) as own:
        own.make_topics()
        worker = own.start().wait_ready()
        own.send_events(own.topics.click, ("u", items[0], AT_MS))
        own.wait_served(worker)
        own.send_events(own.topics.click, *(("u", items[number], AT_MS + number) for number in range(1, 6)))
        own.wait_served(worker)
        eventually(lambda: len(own.lists_of("u")) == 2, "the list that was held back")
        first, held = own.lists_of("u")
        assert worker.events(outcome="applied") == 6
        assert worker.terminate() == 0
    assert first is not None
    assert held is not None
    assert [item.item_id for item in first.items] == [items[0]]
    assert [item.item_id for item in held.items] == [items[number] for number in range(5, -1, -1)]
    assert (first.event.offset, held.event.offset) == (0, 5)
    assert held.generated_at - first.generated_at >= LIST_INTERVAL_S * 1000


# What it lives through.


def identities(deployment: Deployment) -> Counter[tuple[str, int, int]]:
    """Count the lists sent for each event."""
    return Counter(
        (made.event.topic, made.event.partition, made.event.offset)
        for _, made in deployment.lists()
        if made is not None
    )


def applied(deployment: Deployment) -> int:
    """Return how many events stand in the topics; those of these tests are all due a list."""
    return sum(len(deployment.read(topic)) for topic in deployment.topics.events)


def test_clean_restart_repeats_and_loses_nothing(site: Site):
    """Ended in good order under load and started again, it sends one list for each event."""
    users = [f"restart-{number}" for number in range(100)]
    before = applied(site.deployment)
    for part in range(10):
        events = [(user, site.items[part], AT_MS + part) for user in users]
        site.deployment.send_events(site.deployment.topics.click, *events)
        if part == 5:
            assert site.worker.terminate() == 0
            site.worker = site.deployment.start()
    site.worker.wait_ready()
    site.deployment.wait_served(site.worker)
    counted = identities(site.deployment)
    assert set(counted.values()) == {1}
    assert len(counted) == applied(site.deployment) == before + 10 * len(users)
    record = decode_state(site.deployment.records()[b"restart-7"])
    assert record.items == [site.items[part] for part in range(10)]
    assert site.worker.events() < 10 * len(users)
    said = site.worker.errors()
    assert f"partitions are assigned (partitions={PARTITIONS})" in said
    restored = re.search(r"the state is restored \(users=(\d+) changelog_records=\d+\)", said)
    assert restored is not None
    assert int(restored[1]) >= len(users)


def test_second_worker_takes_over_and_gives_back(site: Site):
    """While events keep coming a second worker joins and leaves: none is lost, none is served twice."""
    deployment, done = site.deployment, threading.Event()
    sent = 0

    def keep_sending() -> None:
        nonlocal sent
        while not done.is_set():
            users = [f"passed-on-{number}" for number in range(20)]
            at_ms = AT_MS + sent
            item = site.items[sent % len(site.items)]
            deployment.send_events(deployment.topics.click, *((user, item, at_ms) for user in users))
            sent += len(users)

    before = applied(deployment)
    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        second = deployment.start().wait_ready()
        eventually(lambda: second.events() > 100, "the second worker has work")
        first_had = site.worker.events()
        eventually(lambda: site.worker.events() > first_had, "the first worker still has some")
        assert second.terminate() == 0
        first_had = site.worker.events()
        eventually(lambda: site.worker.events() > first_had + 100, "the first worker goes on")
    finally:
        done.set()
        sender.join()
    deployment.wait_served(site.worker)
    counted = identities(deployment)
    assert len(counted) == applied(deployment) == before + sent
    assert [place for place, times in counted.items() if times > 1] == []
    assert site.worker.rebalances() >= 2


def test_broker_outage_is_told_and_survived(site: Site, kafka: KafkaBroker):
    """Without a broker `/readyz` names it; when it is back all is served, what was under way included."""
    users = [f"outage-{number}" for number in range(200)]
    click = site.deployment.topics.click
    before = applied(site.deployment)
    for part in range(5):
        site.deployment.send_events(click, *((user, site.items[part], AT_MS + part) for user in users))
    kafka.stop()
    eventually(lambda: site.worker.get("/readyz").status == 503, "it is not ready")
    eventually(lambda: not conditions(site.worker)["broker"], "the broker is named")
    assert site.worker.get("/healthz").status == 200
    kafka.start()
    eventually(lambda: site.worker.get("/readyz").status == 200, "it is ready again", within_s=90)
    site.deployment.send_events(click, *((user, site.items[5], AT_MS + 5) for user in users))
    site.deployment.wait_served(site.worker, within_s=90)
    assert site.worker.running
    assert len(identities(site.deployment)) == applied(site.deployment) == before + 6 * len(users)
    records = site.deployment.records()
    assert all(decode_state(records[user.encode()]).items == site.items[:6] for user in users)
    assert site.worker.terminate() == 0
