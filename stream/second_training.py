"""The demo's second training: ``freshet train`` in a process of its own, beside the worker that serves.

It learns from the earlier events and those fed so far, and announces what it made; the worker hands over
when it hears of it.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import polars as pl

from models.behavior import Behavior
from stream.errors import FreshetError
from stream.settings import Settings

_WORDS = {int(behavior): behavior.name.lower() for behavior in Behavior}


async def train_again(
    settings: Settings, events: pl.DataFrame, items: pl.DataFrame | None, *, folder: Path, epochs: int
) -> None:
    """Return once weights of these events are announced. Cancelled, it ends the process.

    Raises ``FreshetError`` with the command's own line where it fails.
    """
    arguments = _arguments(settings, events, items, folder=folder, epochs=epochs)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stream.cli.main", "train", *arguments, stdout=PIPE, stderr=PIPE
    )
    try:
        _, told = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        last = told.decode(errors="replace").strip().rpartition("\n")[2]
        raise FreshetError(f"the second training failed: {last.removeprefix('freshet: ')}")


def _arguments(
    settings: Settings, events: pl.DataFrame, items: pl.DataFrame | None, *, folder: Path, epochs: int
) -> list[str]:
    """Write what is trained on as files, and name them and the broker as the command wants it."""
    file = folder / "events.parquet"
    words = pl.col("behavior").replace_strict(_WORDS, return_dtype=pl.String)
    events.with_columns(words).write_parquet(file)
    arguments = [str(file), "--epochs", str(epochs), "--threads", "1"]
    # What the demo sets beside the environment, which the process has as well.
    for name in ("brokers", "group_id", "partitions", "model_store", "security_protocol"):
        arguments += ["--set", f"{name}={getattr(settings, name)}"]
    if items is not None:
        named = folder / "items.parquet"
        items.write_parquet(named)
        arguments += ["--items", str(named)]
    return arguments
