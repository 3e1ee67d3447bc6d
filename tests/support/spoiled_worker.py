"""A worker with a fault put in, so that the checker can be seen to find it: `python -m … FAULT`.

The fault is in this process alone: the product has no switch for it.
"""

import sys
from collections.abc import Callable

from stream import agents
from stream.cli.main import run
from stream.effects import Effects, Record
from stream.messages import Event
from stream.state import UserState
from stream.step import Batch, process

FAULTS = ("none", "lose", "double", "stale")
EVERY = 40
"""Of so many events, or records of users, one is wronged."""


def _nth(offset: int) -> bool:
    """Whether the event at this offset is one of those."""
    return offset % EVERY == EVERY - 1


def _losing(apply: Callable[..., str]) -> Callable[..., str]:
    """Take an event for applied without doing so."""

    def lose(batch: Batch, key: bytes, event: Event, source: int, record: Record) -> str:
        return "applied" if _nth(record.offset) else apply(batch, key, event, source, record)

    return lose


def _doubling(apply: Callable[..., str]) -> Callable[..., str]:
    """Forget that an event was applied, and apply it again."""

    def double(batch: Batch, key: bytes, event: Event, source: int, record: Record) -> str:
        outcome = apply(batch, key, event, source, record)
        state: UserState | None = batch.states[key]
        if outcome == "applied" and state is not None and _nth(record.offset):
            state.offsets[source] = record.offset - 1
            return apply(batch, key, event, source, record)
        return outcome

    return double


def _stale(batch: Batch, *arguments, **more) -> Effects:
    """Write some users' records as they were before the batch, as a worker that slept would."""
    effects = process(batch, *arguments, **more)
    for key in list(effects.states)[::3]:
        old = batch.load(key)
        if old is not None:
            effects.states[key] = old
    return effects


def spoil(fault: str) -> None:
    """Put the fault in."""
    if fault == "lose":
        Batch._apply = _losing(Batch._apply)
    elif fault == "double":
        Batch._apply = _doubling(Batch._apply)
    elif fault == "stale":
        agents.process = _stale
    elif fault not in FAULTS:
        raise ValueError(f"{fault!r} is none of {', '.join(FAULTS)}")


if __name__ == "__main__":
    spoil(sys.argv[1])
    sys.exit(run(["worker"]))
