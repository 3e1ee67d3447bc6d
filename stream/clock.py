"""The processing time."""

import time


def now_ms() -> int:
    """Return it in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
