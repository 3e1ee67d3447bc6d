"""Workers that hold their users on disk, on a real broker: what becomes of the copy and of the disk."""

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from stream.state import decode_state
from tests.support.deployment import PARTITIONS, Deployment, Sent, event
from tests.support.kafka_broker import KafkaBroker
from tests.support.users_on_disk import partitions_on_disk, users_on_disk
from tests.support.worker_process import WorkerProcess, eventually

USERS = 400
AT_MS = 1_511_544_070_123
#: No robot's: a user's clicks are far enough apart.
VISIT_MS = 10_000
LIST_SIZE = 20
FILE_BYTES = 300_000
ROOM_LIMIT_S = 120.0


class Shop:
    """Events for a worker that keeps its users in a folder, which can be started again and again."""

    def __init__(self, deployment: Deployment, data_dir: Path) -> None:
        """Make the topics."""
        self.deployment = deployment.make_topics()
        self.data_dir = data_dir
        self.sent = 0

    def start(self) -> WorkerProcess:
        """Start a worker on the folder."""
        return self.deployment.start(data_dir=self.data_dir)

    def send(self, users: int = USERS) -> None:
        """Let users click on one more item each."""
        self.sent += 1
        self.deployment.send(
            Sent(
                self.deployment.topics.click,
                b"user-%04d" % number,
                event(f"user-{number:04d}", f"item-{self.sent}", AT_MS + self.sent * VISIT_MS),
            )
            for number in range(users)
        )

    def served(self, worker: WorkerProcess) -> None:
        """Send events and wait until they are done with."""
        self.send()
        self.deployment.wait_served(worker)

    def check(self) -> None:
        """The copy is the changelog's, and each user has an event of each time."""
        users = self.deployment.records()
        assert len(users) == USERS
        assert users_on_disk(self.data_dir) == users
        expected = [f"item-{number}" for number in range(self.sent, 0, -1)][:LIST_SIZE]
        last = self.deployment.last_lists()
        assert len(last) == USERS
        for made in last.values():
            assert [item.item_id for item in made.items] == expected


@pytest.fixture
def shop(kafka: KafkaBroker, tmp_path: Path) -> Iterator[Shop]:
    """A deployment whose lists are a user's own last items."""
    settings = {"store": "rocksdb", "store_cache_mb": 8, "lists": "recent"}
    with Deployment(kafka, tmp_path, **settings) as deployment:
        yield Shop(deployment, tmp_path / "data")


def restored(worker: WorkerProcess) -> int:
    """How many records of the changelog a worker has read."""
    return sum(read for _, read in worker.restored())


def test_worker_goes_on_from_its_disk_and_reads_next_to_nothing(shop: Shop):
    """After a stop in good order: the record at which each partition stood, and no more."""
    worker = shop.start().wait_ready()
    shop.served(worker)
    assert worker.terminate() == 0
    again = shop.start().wait_ready()
    assert restored(again) <= PARTITIONS
    # The gauge is set once a second.
    eventually(lambda: again.metrics().total("freshet_state_users") == USERS, "all users are held")
    assert again.list_of("user-0007").status == 200
    shop.served(again)
    assert again.terminate() == 0
    shop.check()


def test_a_wiped_disk_is_filled_from_the_changelog(shop: Shop):
    """Nothing but the time to read it is lost."""
    worker = shop.start().wait_ready()
    shop.served(worker)
    worker.kill()
    shutil.rmtree(shop.data_dir)
    again = shop.start().wait_ready()
    assert restored(again) >= USERS
    shop.served(again)
    assert again.terminate() == 0
    shop.check()


def test_a_damaged_copy_is_filled_from_the_changelog(shop: Shop):
    """Of the partition that is damaged alone, and a line says so."""
    worker = shop.start().wait_ready()
    shop.served(worker)
    assert worker.terminate() == 0
    damaged = partitions_on_disk(shop.data_dir)[1]
    for table in damaged.glob("*.sst"):
        os.truncate(table, 100)
    again = shop.start().wait_ready()
    shop.served(again)
    assert again.terminate() == 0
    lines = [line for line in again.errors().splitlines() if "thrown away" in line]
    assert len(lines) == 1
    assert f"place={damaged}" in lines[0]
    shop.check()


def test_a_changelog_that_was_made_anew_is_told_from_the_one_before(shop: Shop):
    """Under the same name, and longer than the one before: no user of the old one is left."""
    worker = shop.start().wait_ready()
    shop.served(worker)
    assert worker.terminate() == 0
    changelog = shop.deployment.topics.changelog
    admin = AdminClient({"bootstrap.servers": shop.deployment.kafka.bootstrap})
    admin.delete_topics([changelog])[changelog].result()
    eventually(lambda: changelog not in admin.list_topics(timeout=5).topics, "the topic is gone")
    shop.deployment.make_topics()
    others = {b"other-%d" % number: b"?" for number in range(PARTITIONS)}
    shop.deployment.send(
        Sent(changelog, key, value, partition=number)
        for number, (key, value) in enumerate(others.items())
        for _ in range(2 * USERS)
    )
    again = shop.start().wait_ready()
    assert again.errors().count("they are a copy of another changelog") == PARTITIONS
    assert again.terminate() == 0
    assert users_on_disk(shop.data_dir) == others


def test_a_partition_that_comes_back_is_caught_up_from_its_own_offset(shop: Shop):
    """A second worker joins and leaves; the first reads what that one wrote, and not what it had."""
    first = shop.start().wait_ready()
    shop.served(first)
    before = restored(first)
    second = shop.deployment.start(data_dir=shop.data_dir.parent / "other").wait_ready()
    eventually(lambda: second.metrics().total("freshet_state_users") > 0, "users move")
    moved = int(second.metrics().total("freshet_state_users"))
    eventually(lambda: first.metrics().total("freshet_state_users") == USERS - moved, "and are let go")
    shop.send()
    shop.deployment.wait_served(first, second)
    assert second.terminate() == 0
    eventually(lambda: restored(first) - before >= moved, "users come back")
    assert restored(first) - before <= moved + 2 * PARTITIONS
    shop.served(first)
    assert first.terminate() == 0
    shop.check()


def test_an_erased_user_is_gone_from_the_disk(shop: Shop):
    """The record, the list, and the count."""
    worker = shop.start().wait_ready()
    shop.served(worker)
    assert shop.deployment.command("forget", "user-0007").returncode == 0
    shop.deployment.wait_served(worker)
    assert worker.list_of("user-0007").status == 404
    eventually(lambda: worker.metrics().total("freshet_state_users") == USERS - 1, "one is less")
    worker.kill()
    assert b"user-0007" not in users_on_disk(shop.data_dir)
    again = shop.start().wait_ready()
    assert again.list_of("user-0007").status == 404
    assert again.list_of("user-0008").status == 200


def test_a_second_worker_on_the_same_folder_is_told_so(shop: Shop):
    """In one line, with status 1; the first goes on."""
    first = shop.start().wait_ready()
    second = shop.start()
    assert eventually(lambda: second.status, "it ends") == 1
    (line,) = second.errors().splitlines()
    assert line.startswith("freshet: another worker keeps its users in ")
    assert "FRESHET_DATA_DIR" in line
    shop.served(first)


# A disk that is full.


def ends_for_want_of_room(shop: Shop, worker: WorkerProcess, reason: str) -> None:
    """Send events until the worker ends, which it does in good order."""
    deadline_s = time.monotonic() + ROOM_LIMIT_S
    while worker.running and time.monotonic() < deadline_s:
        shop.send()
    assert eventually(lambda: worker.status, "the worker ends") == 1
    line = worker.errors().splitlines()[-1]
    assert line.startswith(f"freshet: the users in {shop.data_dir}")
    assert reason in line
    assert "make room" in line
    assert "Traceback" not in worker.errors()


def check_commits(shop: Shop) -> None:
    """What is committed is on the disk, for each event; there is more that is not."""
    clicks = shop.deployment.topics.click
    committed = shop.deployment.committed()
    newest = {user: decode_state(value).offsets[0] for user, value in users_on_disk(shop.data_dir).items()}
    done = 0
    for record in shop.deployment.read(clicks):
        if record.offset < committed[clicks, record.partition]:
            done += 1
            assert newest[record.key or b""] >= record.offset
    assert USERS <= done < shop.sent * USERS


def goes_on(shop: Shop) -> None:
    """A worker that is started again does what was not done, once."""
    again = shop.start().wait_ready()
    shop.deployment.wait_served(again)
    assert again.terminate() == 0
    shop.check()


def test_a_worker_whose_files_may_not_grow_ends(shop: Shop):
    """Nothing is acknowledged that was not stored; without the limit the next one goes on."""
    worker = shop.start().wait_ready()
    shop.served(worker)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    ends_for_want_of_room(shop, worker, "File too large")
    check_commits(shop)
    goes_on(shop)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB, which only root can make."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system of its own: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_worker_whose_disk_is_full_ends(shop: Shop, small_disk: Path):
    """It does not start on the full disk either; with room again the next one goes on."""
    shop.data_dir = small_disk / "data"
    worker = shop.start().wait_ready()
    shop.served(worker)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    ends_for_want_of_room(shop, worker, "No space left on device")
    second = shop.start()
    assert eventually(lambda: second.status, "it ends too") == 1
    assert "No space left on device" in second.errors().splitlines()[-1]
    ballast.unlink()
    check_commits(shop)
    goes_on(shop)
