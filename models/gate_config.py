"""What a challenger must show, and by which events; apart from the gate, since settings need no network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GateConfig:
    """What a challenger must show.

    ``level`` is the share of equal challengers that would pass; ``least_gain`` is asked for on top, as
    a share of the champion's MRR. ``least_users`` must have a held-back event; at most about
    ``targets`` events are looked at, of users drawn with ``seed``. ``least_coverage`` is a share of the
    champion's catalogue coverage: lists that have fallen to what is popular cover next to nothing,
    but where news goes out of date better ones can well cover half. Of the items listed at most
    ``most_unseen`` may be such that nobody has had, unless the champion lists more of them: a model says
    least of these. A list may take ``most_time`` times the champion's processor time. Lists are
    ``cutoff`` long.

    The newest ``hold_back`` events are what it is judged by, at most half of those the champion has not
    learnt from. Fewer than ``least_events`` of those are no reason to train at all.
    """

    hold_back: int = 5000
    least_events: int = 200
    level: float = 0.05
    least_gain: float = 0.0
    least_users: int = 50
    least_coverage: float = 0.25
    most_unseen: float = 0.5
    most_time: float = 3.0
    targets: int = 20_000
    cutoff: int = 20
    resamples: int = 2000
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse a test that could not fail, or not pass."""
        if not 0 < self.level < 0.5:
            raise ValueError(f"level is {self.level}; it must lie between 0 and 0.5")
        if not self.least_gain >= 0:
            raise ValueError(f"least_gain is {self.least_gain}; it must be at least 0")
        if self.least_users < 2:
            raise ValueError(f"least_users is {self.least_users}; it must be at least 2")
