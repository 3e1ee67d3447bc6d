"""The broker of `freshet demo`: a Kafka broker inside this process, with nothing to install.

It is the mock cluster of librdkafka, which comes inside the confluent-kafka wheel, reached
through its C interface. It listens on a port of 127.0.0.1 and speaks the real protocol, so any
client can use it: the demo's worker does not know that it is not talking to a cluster.
"""

import ctypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import confluent_kafka

from stream.errors import FreshetError, TopicError

RETAINED_BYTES = 5 * 1024 * 1024
"""About how much of its newest data a partition keeps; older record batches are dropped."""

_PRODUCER = 0  # RD_KAFKA_PRODUCER
_CONF_OK = 0  # RD_KAFKA_CONF_OK
_MESSAGE_BYTES = 512


class EmbeddedBroker:
    """A broker that lives from the construction to ``close`` or the end of the ``with`` block.

    ``topics`` gives the number of partitions of each topic. Clients cannot create topics on it
    (there is no CreateTopics), so every topic, a changelog included, must be named here or to
    ``create_topics``; a topic a client merely asks about appears with 4 partitions.

    What works, and is tested: producers with ``acks=all`` and with idempotence, plain and gzip
    batches, batches built by hand, consumer groups with committed offsets, the offsets of both
    ends, record headers, checksums.

    What it is not: data lives in memory only and ends with the process; a partition keeps about
    ``RETAINED_BYTES`` of its newest record batches and drops older ones whether or not they have
    been read; compaction never happens; there is one broker and no replication; transactions are
    accepted but promise nothing; a Faust group has room for one worker. A group that was joined
    before keeps its next member waiting for that member's session timeout less one second. The
    timestamp in the acknowledgement of a send is invented (that of the record is kept).
    """

    def __init__(self, topics: Mapping[str, int]) -> None:
        """Start the broker and create ``topics`` (name to number of partitions)."""
        self._library = _library()
        self._client = _client(self._library)
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        if not self._cluster:
            self._library.rd_kafka_destroy(self._client)
            raise FreshetError("the embedded broker could not open a port on 127.0.0.1")
        # A group of one member gains nothing from waiting 3 s for others to join.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        try:
            self.create_topics(topics)
        except TopicError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the broker, which runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the broker; its data is gone."""
        self.close()

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create each topic with its number of partitions; one that exists is an error."""
        if self._cluster is None:
            raise FreshetError("the embedded broker is closed")
        for name, partitions in topics.items():
            if partitions < 1:  # librdkafka would create a topic that no client can use
                raise TopicError(f"topic {name} with {partitions} partitions: it needs at least 1")
            code = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
            if code:
                reason = self._library.rd_kafka_err2str(code).decode()
                raise TopicError(f"topic {name} with {partitions} partitions: {reason}")

    def close(self) -> None:
        """Stop the broker; doing so twice is allowed."""
        if self._cluster is not None:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._client)
            self._cluster = None


def _client(library: ctypes.CDLL) -> int:
    """Return a librdkafka client without brokers: the handle that a mock cluster hangs on."""
    message = ctypes.create_string_buffer(_MESSAGE_BYTES)
    settings = library.rd_kafka_conf_new()
    # Its only news would be that it has no broker to connect to.
    if library.rd_kafka_conf_set(settings, b"log_level", b"0", message, _MESSAGE_BYTES) != _CONF_OK:
        raise FreshetError(f"the embedded broker: {message.value.decode()}")
    client: int | None = library.rd_kafka_new(_PRODUCER, settings, message, _MESSAGE_BYTES)
    if not client:
        raise FreshetError(f"the embedded broker: {message.value.decode()}")
    return client


@cache
def _library() -> ctypes.CDLL:
    """Load the librdkafka that the confluent-kafka wheel bundles and declare what is used of it."""
    package = Path(confluent_kafka.__file__).parent
    # Where the wheels of Linux and Windows, and those of macOS, keep what they bundle.
    folders = (package.parent / "confluent_kafka.libs", package / ".dylibs")
    found = sorted(path for folder in folders for path in folder.glob("librdkafka*"))
    if not found:
        raise FreshetError(
            "the embedded broker needs the confluent-kafka wheel, which bundles librdkafka; "
            "this one was built without it"
        )
    library = ctypes.CDLL(str(found[0]))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    functions = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_err2str": (text, [number]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
    }
    for name, (result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
