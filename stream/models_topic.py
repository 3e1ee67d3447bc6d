"""The ``models`` topic as commands and the retraining job use it: what it says, and saying it anew."""

from collections.abc import Callable
from typing import NamedTuple

from aiokafka import TopicPartition

from stream import clients
from stream.errors import FreshetError, Rejected
from stream.messages import CanaryTrial, ModelManifest, decode_manifest, decode_trial, trial_key
from stream.settings import Settings
from stream.weights import announce, announce_trial


class Standing(NamedTuple):
    """What a model's users are served by: the weights in force, and those on trial, if there are any."""

    in_force: ModelManifest | None
    trial: CanaryTrial | None


class ModelsTopic:
    """The topic for the model of the settings; ``mine`` says whether it is this process's turn to write."""

    def __init__(self, settings: Settings, mine: Callable[[], bool] = lambda: True) -> None:
        """Prepare; nothing is read yet."""
        self._settings, self._mine = settings, mine

    async def standing(self) -> Standing:
        """What is announced now.

        Raises ``TopicError`` and ``BrokerUnavailable``, and ``Rejected`` where the weights in force cannot
        be understood. A trial that cannot be is none, as to the workers.
        """
        settings = self._settings
        keys = settings.model_name.encode(), trial_key(settings.model_name)
        found: dict[bytes | None, bytes | None] = {}
        partitions = await clients.topic_partitions(settings, settings.topics.models)
        async with clients.running(clients.consumer(settings), settings) as consumer:
            async for partition, first, end in clients.ranges(consumer, partitions):
                async for record in clients.read_range(consumer, partition, first, end):
                    found[record.key] = record.value
        in_force, trial = (found.get(key) for key in keys)
        return Standing(None if in_force is None else decode_manifest(in_force), _trial(trial))

    async def announce(self, manifest: ModelManifest) -> None:
        """Put weights in force."""
        self._require_turn()
        await announce(self._settings, manifest)

    async def try_out(self, trial: CanaryTrial | None) -> None:
        """Put a challenger on trial; None ends the trial that is on."""
        self._require_turn()
        await announce_trial(self._settings, trial)

    async def ends(self) -> dict[str, list[int]]:
        """Where the lists and the four event topics end now: of each, the offsets by partition."""
        settings = self._settings
        names = (settings.topics.recommendations, *settings.topics.events)
        partitions = {name: await clients.topic_partitions(settings, name) for name in names}
        async with clients.running(clients.consumer(settings), settings) as consumer:
            every: list[TopicPartition] = [one for found in partitions.values() for one in found]
            consumer.assign(every)
            ends = await consumer.end_offsets(every)
        return {name: [ends[one] for one in found] for name, found in partitions.items()}

    def _require_turn(self) -> None:
        if not self._mine():
            raise FreshetError("another process has the turn meanwhile; nothing is announced")


def _trial(value: bytes | None) -> CanaryTrial | None:
    try:
        return None if value is None else decode_trial(value)
    except Rejected:
        return None


async def announced(settings: Settings) -> ModelManifest | None:
    """What is in force for the model of the settings; None for nothing yet. Raises as ``standing`` does."""
    return (await ModelsTopic(settings).standing()).in_force
