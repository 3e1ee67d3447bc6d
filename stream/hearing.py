"""Reads what a trial is decided by from Kafka, and goes on where it stopped, after a kill too.

What was observed is written down in the model store beside the offsets it was read up to. The topics
alone would not do: ``recommendations`` is compacted, so what a later reader finds of a trial's beginning
is less than there was, and who counted then would count again. Where that file is lost the reading begins
anew from the offsets of the trial's announcement. It names users by their lots alone.
"""

import json
from collections.abc import Callable
from logging import getLogger
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from models.canary import Canary
from stream import clients
from stream.errors import FreshetError
from stream.judge import Judge
from stream.messages import CanaryTrial
from stream.model_files import reaching, write_whole
from stream.model_store import ModelStore
from stream.settings import Settings
from stream.weights import terms_of

log = getLogger(__name__)

NOTES: Final = ".trial.json"
"""In the model's folder; hidden, as it is no artifact."""


def forget(settings: Settings) -> None:
    """Delete what was written down of a trial, which has ended."""
    file = ModelStore(settings).folder / NOTES
    with reaching(file):
        file.unlink(missing_ok=True)


Take = Callable[["ConsumerRecord[bytes, bytes]"], None]


class Hearing:
    """One trial's reader."""

    def __init__(self, settings: Settings, trial: CanaryTrial) -> None:
        """Go on from what was written down of this trial, or begin."""
        self._settings, self.trial = settings, trial
        self._file = ModelStore(settings).folder / NOTES
        self._written_ns = 0
        self._begin()

    def _begin(self) -> None:
        self._positions = {topic: list(offsets) for topic, offsets in self.trial.begins.items()}
        self._judge = Judge(self.trial)

    async def look(self) -> Canary:
        """Read up to the topics' ends and return what was observed of the trial so far.

        Raises ``BrokerUnavailable``, and ``FreshetError`` where it cannot be written down.
        """
        if self._age_ns() != self._written_ns:
            self._resume()
        lists = self._settings.topics.recommendations
        every = [
            TopicPartition(topic, number)
            for topic, ends in self._positions.items()
            for number in range(len(ends))
        ]
        async with clients.running(clients.consumer(self._settings), self._settings) as consumer:
            consumer.assign(every)
            firsts = await consumer.beginning_offsets(every)
            # The lists' ends first: the events behind them then stand before the others' ends.
            ends = await consumer.end_offsets([one for one in every if one.topic == lists])
            ends |= await consumer.end_offsets([one for one in every if one.topic != lists])
            consumer.pause(*every)
            for partition in sorted(every, key=lambda one: (one.partition, one.topic == lists)):
                take = self._take_list if partition.topic == lists else self._take_event
                await self._read(consumer, partition, firsts[partition], ends[partition], take)
        self._write()
        return self._judge.canary

    async def _read(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, first: int, end: int, take: Take
    ) -> None:
        """Read one partition on to ``end``; the position moves along, so that nothing is taken twice."""
        offsets, number = self._positions[partition.topic], partition.partition
        offsets[number] = max(first, offsets[number])
        consumer.resume(partition)
        async for record in clients.read_range(consumer, partition, offsets[number], end):
            take(record)
            offsets[number] = record.offset + 1
        consumer.pause(partition)
        offsets[number] = max(end, offsets[number])

    def _take_event(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        self._judge.event(record.topic, record.offset, record.key, record.value)

    def _take_list(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        self._judge.listed(record.partition, record.key, record.value)

    # What is written down.

    def _age_ns(self) -> int:
        """When the file was last written, by whomever; 0 where there is none."""
        try:
            with reaching(self._file):
                return self._file.stat().st_mtime_ns
        except OSError:
            return 0

    def _resume(self) -> None:
        """Go on from the file: this process has just begun, or another has had the turn meanwhile."""
        try:
            with reaching(self._file):
                said = json.loads(self._file.read_bytes())
            if said["salt"] != self.trial.salt:
                return
            canary = Canary.of(terms_of(self.trial), said["canary"])
            positions = {topic: [int(one) for one in said["positions"][topic]] for topic in self.trial.begins}
        except FileNotFoundError:
            self._begin()
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("what was observed of the trial cannot be read: %s; it is read anew", error)
            self._begin()
        else:
            self._positions, self._judge = positions, Judge(self.trial, canary)

    def _write(self) -> None:
        """Write down what was observed; the file appears whole."""
        said: dict[str, Any] = {
            "salt": self.trial.salt,
            "positions": self._positions,
            "canary": self._judge.canary.as_mapping(),
        }
        try:
            with reaching(self._file):
                write_whole(self._file, json.dumps(said).encode())
        except OSError as error:
            raise FreshetError(
                f"cannot write down what was observed of the trial in {self._file}: "
                f"{error.strerror or error}; set FRESHET_MODEL_STORE to where this process may write"
            ) from error
        self._written_ns = self._age_ns()
