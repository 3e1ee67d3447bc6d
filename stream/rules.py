"""What a shop asks of its lists, as plain values: the part of the settings that decisions need."""

from dataclasses import dataclass, field

from models.cleaning import CleaningRule
from models.segment import SegmentRule


@dataclass(frozen=True)
class Rules:
    """The rules in force for a worker; every duration in milliseconds.

    ``recent`` makes lists of the user's own last items, with no network; ``list_interval_ms``
    of 0 means a list for every event; ``exclude_bought_ms`` of 0 and ``max_per_category`` of 0
    mean no such rule.
    """

    segment: SegmentRule = field(default_factory=SegmentRule)
    cleaning: CleaningRule = field(default_factory=CleaningRule)
    list_size: int = 20
    exclude_bought_ms: int = 0
    exclude_seen: bool = False
    max_per_category: int = 0
    list_interval_ms: int = 0
    max_future_ms: int = 300_000
    recent: bool = False
