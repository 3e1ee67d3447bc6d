"""Suspicious users: the paper's cleaning, as a fold over one user's events.

The paper removes users "with an abnormal amount of operations". Read here as robots, which show
in two ways: very many clicks in a day with hardly a purchase, and bursts of clicks that no hand
can make. The same fold runs over files and over the live stream.

Only clicks raise suspicion: one shop invoice holds hundreds of purchases of one minute. Clicks
stamped at a whole minute never count as a burst, because clocks are often coarse (the Tianchi
times are whole hours), and then equal times say nothing about speed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.behavior import Behavior
from models.events import EventLog

DAY_MS = 24 * 3_600_000
MINUTE_MS = 60_000


@dataclass(frozen=True)
class CleaningRule:
    """Where a person ends and a robot begins.

    The busiest person of the data sets this was chosen on (README) clicks 174 times in a day and
    14 times in a minute; the thresholds lie several times above.

    ``max_clicks_per_day`` clicks in one day (UTC) are suspicious when there was less than a
    purchase for each ``clicks_per_purchase`` of them. More than ``max_burst_clicks`` clicks
    within ``burst_ms`` of the first of them are suspicious whatever else happens. A user stays
    suspicious until ``quarantine_ms`` after the last sign of it. A maximum of 0 turns its half
    of the rule off.
    """

    max_clicks_per_day: int = 1000
    clicks_per_purchase: int = 500
    max_burst_clicks: int = 100
    burst_ms: int = MINUTE_MS
    quarantine_ms: int = 7 * DAY_MS

    def __post_init__(self) -> None:
        """Refuse thresholds that mean nothing."""
        least = {"max_clicks_per_day": 0, "clicks_per_purchase": 1, "max_burst_clicks": 0, "burst_ms": 1}
        for name, lowest in (least | {"quarantine_ms": 0}).items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {lowest}")


Activity = tuple[int, int, int, int, int, int]
"""What the rule remembers of a user: a day since the epoch and its clicks and purchases; when the
current burst began in milliseconds, and its clicks; until when the user is suspect (0: never was)."""

NEW: Activity = (0, 0, 0, 0, 0, 0)

_CLICK = int(Behavior.CLICK)
_PURCHASE = int(Behavior.PURCHASE)


def observe(activity: Activity, behavior: int, time_ms: int, rule: CleaningRule) -> tuple[Activity, bool]:
    """Take one event in; whether the user is suspicious with it.

    Events come in the order in which they are applied. A late one counts towards the day and the
    burst under way, which can only be stricter by the few that are late.
    """
    day, clicks, purchases, burst_start_ms, burst_clicks, suspect_until_ms = activity
    if time_ms // DAY_MS > day:
        day, clicks, purchases = time_ms // DAY_MS, 0, 0
    if behavior == _CLICK:
        clicks += 1
        if time_ms % MINUTE_MS:
            if time_ms - burst_start_ms > rule.burst_ms:
                burst_start_ms, burst_clicks = time_ms, 0
            burst_clicks += 1
        # A burst, or a great many clicks in a day and hardly a purchase.
        if 0 < rule.max_burst_clicks < burst_clicks or (
            0 < rule.max_clicks_per_day < clicks and clicks > purchases * rule.clicks_per_purchase
        ):
            suspect_until_ms = max(suspect_until_ms, time_ms + rule.quarantine_ms + 1)
    elif behavior == _PURCHASE:
        purchases += 1
    after = (day, clicks, purchases, burst_start_ms, burst_clicks, suspect_until_ms)
    return after, time_ms < suspect_until_ms


def suspicious_users(log: EventLog, rule: CleaningRule) -> NDArray[np.int64]:
    """The codes, ascending, of the users that were suspicious at any of their events."""
    starts = log.starts
    # Only a user with more clicks than one of the thresholds can be suspicious; few are.
    maxima = [most for most in (rule.max_clicks_per_day, rule.max_burst_clicks) if most]
    clicks = np.concatenate(([0], np.cumsum(log.behavior == Behavior.CLICK)))
    possible = np.flatnonzero(clicks[starts[1:]] - clicks[starts[:-1]] > min(maxima, default=len(log)))
    users = (log[starts[user] : starts[user + 1]] for user in possible.tolist())
    return np.asarray([int(events.user[0]) for events in users if _ever_suspicious(events, rule)], np.int64)


def _ever_suspicious(events: EventLog, rule: CleaningRule) -> bool:
    """Whether one user's events make the user suspicious at any point."""
    activity = NEW
    for behavior, time_ms in zip(events.behavior.tolist(), events.time_ms.tolist(), strict=True):
        activity, suspicious = observe(activity, behavior, time_ms, rule)
        if suspicious:
            return True
    return False
