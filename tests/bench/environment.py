"""Where a benchmark ran: what has to stand beside a figure for it to be compared later."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.kafka_broker import PROJECT

PACKAGES = (
    "faust-streaming",
    "aiokafka",
    "confluent-kafka",
    "faiss-cpu",
    "quixstreams",
    "msgspec",
    "numpy",
    "polars",
    "scipy",
    "torch",
    "cornac",
    "rectools",
    "implicit",
)


def environment() -> dict[str, Any]:
    """Return time, commit, machine and the versions of what matters to speed."""
    return {
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(),
        "versions": _versions(),
    }


def _machine() -> dict[str, Any]:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return {
        "cores": os.cpu_count(),
        "cpu": models[0] if models else platform.processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _versions() -> dict[str, str]:
    installed = {one.metadata["Name"].lower(): one.version for one in importlib.metadata.distributions()}
    return {name: installed[name] for name in PACKAGES if name in installed}


def _commit() -> str | None:
    """Return the commit that was measured, marked when the tree differs from it; None outside git."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
