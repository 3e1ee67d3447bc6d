"""What a process holds in memory, as Linux counts it."""

from pathlib import Path

KILOBYTE = 1024


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process now."""
    return _status(pid, "VmRSS")


def peak_resident_bytes(pid: int) -> int:
    """Return the most resident memory a process ever had."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * KILOBYTE
    raise ValueError(f"process {pid} has no {name}; has it ended?")
