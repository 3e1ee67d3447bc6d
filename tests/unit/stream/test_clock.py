"""How long a process has been running."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.kafka_broker import PROJECT

#: The kernel counts in hundredths of a second.
TICK_S = 0.01
#: Says that it runs, and its age when it is asked.
CHILD = "print('up', flush=True); input(); from stream.clock import process_age_s; print(process_age_s())"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="without /proc the start is not known")
def test_age_counts_from_the_start_and_not_from_the_import():
    """An interpreter takes longer to start than the clock's error."""
    before_s = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT, text=True
    ) as child:
        begun_s = time.monotonic()
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        up_s = time.monotonic()
        child.stdin.write("\n")
        child.stdin.flush()
        age_s = float(child.stdout.readline())
        told_s = time.monotonic()
    assert up_s - begun_s - TICK_S <= age_s <= told_s - before_s + TICK_S
