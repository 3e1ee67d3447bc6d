"""Every decoder of bytes from outside, for a fuzzer: right inputs, how to break them, what may come out.

An input is bytes. Where a record's key matters too, it is the first line; without a line break there is no
key. What was once found, and what is worth beginning from, is kept in ``tests/corpus/<decoder>``.
"""

import functools
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from models.canary import role_of
from stream.dead_letters import DeadLetter
from stream.errors import FreshetError, Rejected, StateError
from stream.messages import (
    ERROR_WORDS,
    dead_letter_headers,
    decode_event,
    decode_forget,
    decode_item,
    decode_list,
    decode_manifest,
    decode_trial,
    encode,
    event_time_ms,
)
from stream.state import decode_state, encode_state, new_state, pack_gaps
from stream.weights import terms_of
from tests.support import file_decoders, mutation
from tests.support.mutation import Mutate

ROOT = Path(__file__).parents[1]
GOLDEN, CORPUS = ROOT / "golden", ROOT / "corpus"
NOW_MS = 1_511_544_070_123
LIMIT_S = 1.0
"""CPU time for one input; the slowest, a file of weights, takes some milliseconds."""
GROWTH_LIMIT_KB = 300_000
"""How much the process may grow while it decodes, whatever it is given."""
SHOWN_BYTES = 2_000


@dataclass(frozen=True)
class Decoder:
    """One decoder. ``share`` is how many of 10,000 inputs are its own.

    ``read`` may raise ``documented`` and nothing else, and its message is one line. What it returns comes
    back the same from what ``write`` makes of it.
    """

    name: str
    share: int
    seeds: tuple[bytes, ...]
    mutate: Mutate
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes] | None
    documented: tuple[type[Exception], ...]

    def check(self, data: bytes) -> str:
        """Decode one input; returns how that ended. Raises AssertionError where it is not as documented."""
        began_s = time.thread_time()
        outcome = self._outcome(data)
        took_s = time.thread_time() - began_s
        assert took_s < LIMIT_S, f"{self.name} took {took_s:.1f} s of CPU time: {shown(data)}"
        return outcome

    def _outcome(self, data: bytes) -> str:
        try:
            value = self.read(data)
        except self.documented as error:
            self._check_words(error, data)
            return error.error if isinstance(error, Rejected) else type(error).__name__
        except BaseException as error:
            raise AssertionError(f"{self.name} raised {error!r}: {shown(data)}") from error
        if self.write is not None:
            try:
                again = self.read(self.write(value))
            except BaseException as error:
                raise AssertionError(f"{self.name} cannot read what it wrote: {shown(data)}") from error
            assert again == value, f"{self.name} reads {again} where it wrote {value}: {shown(data)}"
        return "decoded"

    def _check_words(self, error: Exception, data: bytes) -> None:
        """An error is told in a word of the list and in one line."""
        if isinstance(error, Rejected):
            assert error.error in ERROR_WORDS, f"{self.name} has no word {error.error}: {shown(data)}"
        elif isinstance(error, FreshetError):
            assert "\n" not in str(error), f"{self.name} needs two lines: {shown(data)}"


def shown(data: bytes) -> str:
    """Return an input as a person can copy it into the corpus."""
    return repr(data) if len(data) <= SHOWN_BYTES else f"{data[:SHOWN_BYTES]!r}... ({len(data)} bytes)"


def kept(name: str) -> tuple[bytes, ...]:
    """Return what the corpus has of a decoder, in the order of its names."""
    return tuple(path.read_bytes() for path in sorted((CORPUS / name).glob("*")))


def _key_and_value(data: bytes) -> tuple[bytes | None, bytes]:
    key, mark, value = data.partition(b"\n")
    return (key, value) if mark else (None, data)


def _event(data: bytes) -> object:
    key, value = _key_and_value(data)
    event_time_ms(SimpleNamespace(value=value))
    return decode_event(key, value, now_ms=NOW_MS, max_future_ms=300_000)


def _item(data: bytes) -> object:
    return decode_item(*_key_and_value(data))


def _item_written(read: tuple[str, Any]) -> bytes:
    item_id, item = read
    return f"{item_id}\n".encode() if item is None else encode(item)


Headers = list[tuple[str, bytes | None]]


def _letter(data: bytes) -> DeadLetter:
    """Read headers that stand in the input as name and value in turn, a zero byte between two."""
    parts = data.split(b"\0")
    names = [name.decode(errors="replace") for name in parts[::2]]
    values = [None if value == b"null" else value for value in parts[1::2]]
    headers: Headers = list(zip(names, values, strict=False))
    return DeadLetter.of(SimpleNamespace(headers=headers, key=None, value=b"", timestamp=NOW_MS))


def _letter_written(letter: DeadLetter) -> bytes:
    headers = dead_letter_headers(
        Rejected(letter.error, letter.message),
        topic=letter.source_topic,
        partition=letter.source_partition,
        offset=letter.source_offset,
    )
    return b"\0".join(part for name, value in headers for part in (name.encode(), value))


def _states() -> tuple[bytes, ...]:
    """Records of a new user, and of one with events, purchases and a list held back."""
    full = msgspec.structs.replace(
        new_state(),
        base_ms=NOW_MS,
        newest=1_000,
        item_texts=b"i1\ni2",
        gaps=pack_gaps((0, 1_000)),
        behaviors=b"\x00\x03",
        categories=b"\x01\x00\x00\x00\x00\x00\x00\x00",
        event_keys=bytes(range(12)),
        hidden=bytes(32),
        weights=2**63 + 1,
        bought=["i2"],
        bought_ms=[NOW_MS + 1_000],
        listed=b"\x02\x01\x00\x02\x00",
        listed_for=(0, 1, 2, NOW_MS),
        held=(0, 1, 2, NOW_MS),
        past=bytes(range(8)),
    )
    return encode_state(new_state()), encode_state(full)


def _trial(data: bytes) -> object:
    """Read a trial as a worker does, which then draws by its terms."""
    trial = decode_trial(data)
    role_of("u1", terms_of(trial))
    return trial


def _golden(prefix: str) -> tuple[bytes, ...]:
    return tuple(path.read_bytes().rstrip(b"\n") for path in sorted(GOLDEN.glob(f"{prefix}*")))


def _letters() -> tuple[bytes, ...]:
    rejected = Rejected("not-json", "JSON is malformed")
    whole = dead_letter_headers(rejected, topic="events.click", partition=3, offset=2**40)
    return (b"\0".join(part for name, value in whole for part in (name.encode(), value)), b"trace\0t-1")


@functools.cache
def decoders(folder: Path) -> tuple[Decoder, ...]:
    """Return all of them; those of files write theirs into ``folder``."""
    in_memory = (
        ("event", 3_400, _golden("event."), mutation.of_json, _event, encode, (Rejected,)),
        ("item", 1_500, (*_golden("item."), b"i1\n"), mutation.of_json, _item, _item_written, (Rejected,)),
        ("list", 1_300, _golden("recommendation-list."), mutation.of_json, decode_list, encode, (Rejected,)),
        ("model", 600, _golden("model-manifest."), mutation.of_json, decode_manifest, encode, (Rejected,)),
        ("trial", 400, _golden("canary-trial."), mutation.of_json, _trial, encode, (Rejected,)),
        (
            "forget",
            500,
            (b"u1", "用户一".encode()),
            mutation.of_bytes,
            decode_forget,
            str.encode,
            (Rejected,),
        ),
        ("state", 1_500, _states(), mutation.of_records, decode_state, encode_state, (StateError,)),
        ("dead-letter", 700, _letters(), mutation.of_bytes, _letter, _letter_written, ()),
    )
    made = []
    for name, share, seeds, mutate, read, write, documented in (*in_memory, *file_decoders.table(folder)):
        every = (*seeds, *kept(name))
        made.append(Decoder(name, share, every, mutate(every), read, write, documented))
    return tuple(made)


@dataclass(frozen=True)
class Campaign:
    """A fuzzing run: what became of the inputs of each decoder, how long it took and how much it grew."""

    seed: int
    outcomes: dict[str, Counter[str]]
    took_s: float
    growth_kb: int

    def lines(self) -> Iterator[str]:
        """Tell it, a line a decoder."""
        inputs = sum(found.total() for found in self.outcomes.values())
        grown = f"{self.growth_kb / 1024:.0f} MiB more than before"
        yield f"seed {self.seed}: {inputs:,} inputs in {self.took_s:.0f} s, {grown}"
        for name, found in self.outcomes.items():
            told = ", ".join(f"{word} {count:,}" for word, count in found.most_common())
            yield f"{name}: {told}"


def campaign(every: Sequence[Decoder], *, inputs: int, seed: int) -> Campaign:
    """Give the decoders so many inputs, to each its share; raises AssertionError at the first fault."""
    began_s, before_kb = time.monotonic(), _peak_kb()
    outcomes = {}
    for decoder in every:
        rng = random.Random(f"{seed} {decoder.name}")
        found: Counter[str] = Counter()
        mutate, check = decoder.mutate, decoder.check
        for number in range(max(1, inputs * decoder.share // 10_000)):
            try:
                found[check(mutate(rng))] += 1
            except AssertionError as fault:
                raise AssertionError(f"seed {seed}, input {number} of {fault}") from fault.__cause__
        outcomes[decoder.name] = found
    growth_kb = _peak_kb() - before_kb
    assert growth_kb < GROWTH_LIMIT_KB, f"seed {seed}: the process grew by {growth_kb / 1024:.0f} MiB"
    return Campaign(seed, outcomes, time.monotonic() - began_s, growth_kb)


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
