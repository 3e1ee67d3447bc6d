"""What the consumer has fetched: records as the client's parser made them, and where one is damaged."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from faust.types import TP


class Fetched(OrderedDict[TP, Any]):
    """What a consumer has fetched, handing on records as the client's parser made them.

    aiokafka would make a ConsumerRecord of each, half of what a fetched record costs; topic and
    partition are known from where it was fetched.
    """

    def __init__(self, fetched: Mapping[TP, Any]) -> None:
        """Take over what has been fetched so far."""
        super().__init__()
        for tp, result in fetched.items():
            self[tp] = result

    def __setitem__(self, tp: TP, result: Any) -> None:
        """Keep a fetch, or the error it ended in."""
        if isinstance(result, FetchResult):
            result._partition_records._consumer_record = _as_parsed
        super().__setitem__(tp, result)

    def broken_off(self) -> str:
        """Say where reading the records of a fetch has ended in an error."""
        for tp, result in self.items():
            parts = result._partition_records if isinstance(result, FetchResult) else None
            if parts is not None and _ended_in_error(parts):
                place = f"topic {tp.topic}, partition {tp.partition}"
                return f"{place}: the record batch at offset {parts.next_fetch_offset}"
        return "a record batch"


def _as_parsed(tp: TP, record: Any) -> Any:
    return record


def _ended_in_error(parts: PartitionRecords) -> bool:
    """Whether reading them has; the client lets go of an iterator that came to its end."""
    iterator = parts._records_iterator
    return iterator is not None and iterator.gi_frame is None
