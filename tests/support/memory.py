"""What a process takes of memory and processor, as Linux counts it."""

import os
from pathlib import Path

KILOBYTE = 1024


def resident_bytes(pid: int | str) -> int:
    """Return the resident memory of a process now; "self" is this one."""
    return _status(pid, "VmRSS")


def peak_resident_bytes(pid: int | str) -> int:
    """Return the most resident memory a process ever had."""
    return _status(pid, "VmHWM")


def _status(pid: int | str, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KILOBYTE
    raise ValueError(f"process {pid} has no {name}; has it ended?")


def cpu_s(pid: int) -> float:
    """Return the processor time a process has taken so far, in seconds: its own and the kernel's for it."""
    # The name of the program stands in parentheses and may hold spaces; the fields after it do not.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
