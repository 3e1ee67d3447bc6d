"""Freshet's own worker with the network off: the list is the user's last items, newest first."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from tests.bench.answers import check_recommendations
from tests.bench.peer import Look, Peer, Run, committed, sink_ends
from tests.bench.workload import LIST_ITEMS, PARTITIONS
from tests.support.kafka_broker import free_port


def topics(tag: str) -> tuple[str, str]:
    """Return the worker's own topic names under the run's prefix."""
    return f"{tag}-events.click", f"{tag}-recommendations"


def group(run: Run) -> str:
    """Return the worker's group for this run."""
    return run.source.replace("events.click", "worker")


def environment(run: Run) -> Mapping[str, str]:
    """Return the settings of the worker for this run."""
    return {
        "FRESHET_BROKERS": run.broker.bootstrap,
        "FRESHET_GROUP_ID": group(run),
        "FRESHET_TOPIC_PREFIX": run.source.removesuffix("events.click"),
        "FRESHET_PARTITIONS": str(PARTITIONS),
        "FRESHET_LISTS": "recent",
        "FRESHET_LIST_SIZE": str(LIST_ITEMS),
        "FRESHET_DATA_DIR": str(run.directory / "data"),
        "FRESHET_MODEL_STORE": str(run.directory / "models"),
        "FRESHET_HTTP_PORT": str(free_port()),
    }


def prepare(run: Run) -> None:
    """Let the command itself make its topics."""
    subprocess.run(
        freshet("topics"), env={**os.environ, **environment(run)}, check=True, stdout=subprocess.DEVNULL
    )


def exactly_once(run: Run) -> Mapping[str, str]:
    """Return the settings of the worker that makes a transaction of each batch."""
    return {**environment(run), "FRESHET_PROCESSING_GUARANTEE": "exactly_once"}


def on_disk(run: Run) -> Mapping[str, str]:
    """Return the settings of the worker that keeps users in RocksDB."""
    return {**environment(run), "FRESHET_STORE": "rocksdb"}


def watch_commits(run: Run) -> AbstractContextManager[Look]:
    """Look at what the worker has committed."""
    return committed(run, group=group(run))


def freshet(*arguments: str) -> list[str]:
    """Return the command line of `freshet` in this environment, installed or not."""
    return [sys.executable, "-c", "from stream.cli.main import main; main()", *arguments]


PEER = Peer(
    name="freshet worker",
    note="FRESHET_LISTS=recent",
    events=600_000,
    command=lambda _run: freshet("worker"),
    environment=environment,
    prepare=prepare,
    topics=topics,
    check=check_recommendations,
    # A claim on a partition ends two empty transactions over it (stream.fence).
    watch=partial(sink_ends, markers=2 * PARTITIONS),
)

EXACTLY_ONCE = replace(
    PEER,
    name="freshet worker, tx",
    note="FRESHET_LISTS=recent, FRESHET_PROCESSING_GUARANTEE=exactly_once",
    environment=exactly_once,
    watch=watch_commits,
)

ON_DISK = replace(
    PEER,
    name="freshet worker, disk",
    note="FRESHET_LISTS=recent, FRESHET_STORE=rocksdb",
    environment=on_disk,
)
