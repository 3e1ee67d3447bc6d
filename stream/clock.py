"""The processing time, and how long this process has been running."""

import os
import time
from pathlib import Path

_LOADED_S = time.monotonic()


def now_ms() -> int:
    """Return it in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def process_age_s() -> float:
    """Return the seconds since this process was started.

    On Linux by the kernel, to a hundredth; elsewhere since this module was loaded, which is a little less.
    """
    try:
        told = Path("/proc/self/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return time.monotonic() - _LOADED_S
    # Behind the name, which stands in brackets and may hold anything, begins the third field of proc(5).
    fields = told.rpartition(")")[2].split()
    started_s = int(fields[22 - 3]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_s
