"""What of a system can be tuned, and within which bounds."""

from collections.abc import Mapping
from typing import NamedTuple


class Range(NamedTuple):
    """Numbers from ``low`` to ``high``, both included: whole ones where both are, by factors with ``log``."""

    low: float
    high: float
    log: bool = False


class Choice(NamedTuple):
    """One of a few values."""

    values: tuple[bool | int | float | str, ...]


Space = Mapping[str, Range | Choice]
"""By the names of the fields of a system's configs."""
