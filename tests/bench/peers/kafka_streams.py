"""Kafka Streams: the class StatefulEcho beside the project, one thread, in-memory store.

Its folder is looked for in FRESHET_PEERS and in ``../shared/peers``.
"""

import os
import shutil
from pathlib import Path

from tests.bench.answers import check_item_lists
from tests.bench.peer import Peer, Run
from tests.support.kafka_broker import PROJECT

# It ends itself after that many events without waiting for its last lists to be written, so it is
# told a number that never comes, and is stopped from outside.
NEVER = 10**12


def folder() -> Path:
    """Return where the class and its jar ought to be."""
    return Path(os.environ.get("FRESHET_PEERS", PROJECT.parent / "shared" / "peers")) / "kafka_streams"


def why_absent() -> str | None:
    """Return the reason for which Kafka Streams cannot run here, or None."""
    if shutil.which("java") is None:
        return "no java on the path"
    if not (folder() / "StatefulEcho.class").is_file():
        return "set FRESHET_PEERS to the folder that holds kafka_streams/StatefulEcho.class"
    return None


def command(run: Run) -> list[str]:
    """Return the command line of the Java process."""
    classes = f"{folder()}:{folder()}/*:{run.broker.home}/libs/*"
    options = ["-Xmx2g", f"-Djava.io.tmpdir={run.directory}"]
    return [
        "java",
        *options,
        "-cp",
        classes,
        "StatefulEcho",
        run.broker.bootstrap,
        run.source,
        run.sink,
        str(NEVER),
    ]


PEER = Peer(
    name="Kafka Streams",
    note="Java, one thread, in-memory store",
    events=400_000,
    command=command,
    check=check_item_lists,
    why_absent=why_absent,
)
