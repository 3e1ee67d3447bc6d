"""The terms of a challenger's trial, apart from ``models.canary``, so that settings need no numpy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CanaryConfig:
    """How many users meet the challenger, and how sure a decision is.

    ``share`` of the users are served by it, chosen by a hash of their ids with ``salt``, another for
    each challenger. ``level`` is the most that an equal challenger is promoted with, ``alarm`` the most
    that an equal one is rolled back with as worse. A user counts by the first ``events`` that met a
    list. After ``most_pairs`` without a decision the challenger is rolled back: it is not better by
    as much as could be seen.
    """

    salt: str
    share: float = 0.1
    level: float = 0.05
    alarm: float = 0.05
    events: int = 5
    most_pairs: int = 20_000

    def __post_init__(self) -> None:
        """Refuse a canary that could decide nothing."""
        for name in ("share", "level", "alarm"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        for name in ("events", "most_pairs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
