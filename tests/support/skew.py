"""Users whose clocks are wrong: what they send, and where the README says each event ends."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from models.fitting import Fitted
from tests.support.checker import Report, check
from tests.support.deployment import Sent, event
from tests.support.faults_run import read_topics
from tests.support.flood import now_ms
from tests.support.kafka_broker import KafkaBroker
from tests.support.limits import lag, outcomes, prepared
from tests.support.worker_process import eventually

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

#: By kind of clock: for each event of a user, between what and what it is off (milliseconds, negative is
#: behind the true time), and its outcome under the default settings: 300 s ahead, segments of 1 to 2 days.
CLOCKS: dict[str, tuple[tuple[int, int, str], ...]] = {
    "true": ((0, 0, "applied"),) * 3,
    "ahead within the limit": ((10_000, 4 * MINUTE_MS, "applied"), (0, 0, "applied")),
    "ahead beyond the limit": ((2 * HOUR_MS, 300 * DAY_MS, "invalid"), (0, 0, "applied")),
    "behind from the first": (
        (-300 * DAY_MS, -299 * DAY_MS, "applied"),
        (-298 * DAY_MS, -2 * DAY_MS, "applied"),
    ),
    "back within the segment": ((0, 0, "applied"), (-23 * HOUR_MS, -MINUTE_MS, "applied"), (0, 0, "applied")),
    "back behind the segment": ((0, 0, "applied"), (-300 * DAY_MS, -3 * DAY_MS, "late"), (0, 0, "applied")),
    "put right, then back": (
        (-300 * DAY_MS, -299 * DAY_MS, "applied"),
        (0, 0, "applied"),
        (-298 * DAY_MS, -3 * DAY_MS, "late"),
    ),
}


class Skewed(NamedTuple):
    """What a worker made of users whose clocks are wrong, beside what it should have."""

    expected: Counter[str]
    outcomes: Counter[str]
    refused_as: Counter[str]
    report: Report


def skewed(items: Sequence[str], topic: str, users: int, seed: int) -> Iterator[tuple[Sent, str]]:
    """Give the records in the order of their production, which has true times, with their outcomes."""
    drawn = random.Random(seed)
    kinds = list(CLOCKS)
    longest = max(map(len, CLOCKS.values()))
    at_ms = now_ms() - longest * users
    for turn in range(longest):
        for user in range(users):
            clock = CLOCKS[kinds[user % len(kinds)]]
            if turn < len(clock):
                lowest, highest, outcome = clock[turn]
                at_ms += 1
                name, item = f"u{user}", drawn.choice(items)
                value = event(name, item, at_ms + drawn.randint(lowest, highest))
                yield Sent(topic, name.encode(), value, timestamp_ms=at_ms), outcome


def clock_skew(
    kafka: KafkaBroker, folder: Path, fitted: Fitted, items: Sequence[str], *, users: int, seed: int = 1
) -> Skewed:
    """Send what users with wrong clocks send; the checker looks at lists, states and dead letters."""
    with prepared(kafka, folder, fitted) as deployment:
        worker = deployment.start().wait_ready()
        sent = list(skewed(items, deployment.topics.click, users, seed))
        deployment.send((record for record, _ in sent), within_s=600)
        deployment.wait_served(worker, within_s=600)
        eventually(lambda: lag(worker) == 0, "the lag gauge is back at 0")
        found = read_topics(deployment)
        rules = deployment.settings.rules
        return Skewed(
            Counter(outcome for _, outcome in sent),
            Counter(outcomes(worker)),
            Counter(dict(letter.headers)["error"].decode() for letter in found.dead_letters),
            check(found, [fitted.recommender], rules, now_ms=now_ms()),
        )
