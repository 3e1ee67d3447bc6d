"""Peak memory of the whole ``freshet train`` process on a large Parquet file of generated events.

Run it as ``python -m tests.bench.bench_training_memory`` (``make bench-training-memory``); ten million
events take a quarter of an hour of one core and more. No broker is needed. A shop's month is drawn with
a fixed seed and written in row groups: visits of some events, users and items of very different
popularity, four behaviours, a category for each item. The command then trains the network of its
defaults on it in a process of its own, for ``--epochs`` of each of its two trainings, and its
artifact is read back. It fails above 4 GB.

The peak is the child's ``VmHWM``, which begins anew with the program that is started. The one in the usage
that a parent is told of a child that has ended does not: it counts the parent's memory, from which
the child was split off, as well.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models import artifact
from models.behavior import Behavior
from models.features import DAY_MS
from tests.bench.environment import environment
from tests.bench.workload import FIRST_MS
from tests.support.memory import peak_resident_bytes
from tests.support.worker_process import FRESHET

LIMIT_BYTES = 4_000_000_000
SPAN_MS = 30 * DAY_MS
GROUP_EVENTS = 100_000  # of a row group
VISIT_EVENTS = 6
GAP_MS = 45_000
ITEMS_PER_CATEGORY = 100
OWN_CATEGORY_SHARE = 0.6  # of the events are of the category that the visit began with
BEHAVIORS = {Behavior.CLICK: 0.9, Behavior.FAVORITE: 0.03, Behavior.CART: 0.05, Behavior.PURCHASE: 0.02}
LOOK_S = 0.05
REPORTED = ("events", "users", "items", "targets", "epochs", "peak_bytes")
REPORTED += ("read_duration_s", "train_duration_s", "duration_s")
LONGEST_S = 6 * 3600.0

Places = NDArray[np.int64]


class Shop:
    """Users and items, each with how often they are met."""

    def __init__(self, users: int, items: int) -> None:
        """Draw them; places are shuffled so that ids say nothing of popularity."""
        self.rng = np.random.default_rng(1)
        activity = self.rng.lognormal(0.0, 1.2, users)
        popularity = 1.0 / (10.0 + self.rng.permutation(items))
        self._activity, self._popularity = np.cumsum(activity), np.cumsum(popularity)
        self.items = items

    def groups(self, events: int) -> Iterator[pl.DataFrame]:
        """The events in order of their visits, a frame for each row group."""
        for begin in range(0, events, GROUP_EVENTS):
            count = min(GROUP_EVENTS, events - begin)
            yield self._group(count, begin / events, count / events)

    def _group(self, count: int, since: float, share: float) -> pl.DataFrame:
        """``count`` events of the visits that begin within a share of the month."""
        length = self.rng.geometric(1 / VISIT_EVENTS, count)
        length = length[: 1 + int(np.searchsorted(np.cumsum(length), count))]
        visit = np.repeat(np.arange(len(length)), length)[:count]
        first = np.concatenate(([0], np.cumsum(length)[:-1]))[visit]
        begun_ms = FIRST_MS + ((since + share * self.rng.random(len(length))) * SPAN_MS).astype(np.int64)
        passed_ms = np.cumsum(self.rng.exponential(GAP_MS, count)).astype(np.int64)
        time_ms = begun_ms[visit] + passed_ms - passed_ms[first]
        item = self._items(first)
        kinds = self.rng.choice([int(kind) for kind in BEHAVIORS], count, p=list(BEHAVIORS.values()))
        user = _drawn(self._activity, self.rng.random(len(length)))[visit]
        return (
            pl.DataFrame(
                {
                    "user_id": user,
                    "item_id": item,
                    "category_id": item // ITEMS_PER_CATEGORY,
                    "behavior": np.array([kind.name.lower() for kind in BEHAVIORS])[kinds],
                    "timestamp": time_ms,
                }
            )
            .with_columns(
                pl.format("customer-{}", pl.col("user_id").cast(pl.String).str.zfill(8)).alias("user_id"),
                pl.format("product-{}", pl.col("item_id").cast(pl.String).str.zfill(7)).alias("item_id"),
                pl.format("category-{}", pl.col("category_id")).alias("category_id"),
            )
            .sort("timestamp")
        )

    def _items(self, first: Places) -> Places:
        """The items of events whose visits begin at the events ``first``."""
        free = _drawn(self._popularity, self.rng.random(len(first)))
        home = free[first] // ITEMS_PER_CATEGORY
        # Within a category as within the catalogue: some are met often, most of them hardly.
        near = home * ITEMS_PER_CATEGORY + (ITEMS_PER_CATEGORY * self.rng.random(len(first)) ** 2).astype(int)
        stays = self.rng.random(len(first)) < OWN_CATEGORY_SHARE
        return np.where(stays, np.minimum(near, self.items - 1), free)


def _drawn(cumulative: NDArray[np.float64], uniform: NDArray[np.float64]) -> Places:
    """Places drawn in proportion to what was summed up."""
    return np.searchsorted(cumulative, uniform * cumulative[-1], side="right").astype(np.int64)


def write_events(path: Path, *, events: int, users: int, items: int) -> None:
    """Write the month to a Parquet file, of which never more than some row groups are in memory."""
    parts = []
    for number, group in enumerate(Shop(users, items).groups(events)):
        parts.append(path.with_name(f"{path.stem}-{number:05d}.part"))
        group.write_parquet(parts[-1])
    whole = pl.concat([pl.scan_parquet(part) for part in parts])
    whole.sink_parquet(path, row_group_size=GROUP_EVENTS, maintain_order=True)
    for part in parts:
        part.unlink()


def trained(events: Path, folder: Path, options: Sequence[str]) -> dict[str, Any]:
    """Run the command on the file; its report, with its peak and the time it took."""
    report = folder / "report.json"
    command = [*FRESHET, "train", str(events), "--no-announce", "--model-store", str(folder / "store")]
    begun_s = time.monotonic()
    with subprocess.Popen([*command, "--report", str(report), *options]) as process:
        peak_bytes = 0
        while process.poll() is None:
            try:
                peak_bytes = max(peak_bytes, peak_resident_bytes(process.pid))
                process.wait(LOOK_S)
            except ValueError:  # it has ended, and its memory is given back
                process.wait()
            except subprocess.TimeoutExpired:
                if time.monotonic() - begun_s > LONGEST_S:
                    process.kill()
                    raise
    if process.returncode:
        raise SystemExit(f"bench_training_memory: freshet train ended with status {process.returncode}")
    duration_s = time.monotonic() - begun_s
    return {**json.loads(report.read_text()), "peak_bytes": peak_bytes, "duration_s": duration_s}


def checked(found: dict[str, Any], events: int) -> None:
    """Stop where the artifact is not that of these events."""
    recommender = artifact.load(Path(found["artifact"]))
    if found["events"] != events or recommender.vocabulary.n_items != found["items"] + 1:
        raise SystemExit("bench_training_memory: the artifact is not of all the events and items")
    if recommender.blend is None or not np.isfinite(found["mrr"]):
        raise SystemExit("bench_training_memory: nothing was held back, so not all of it was measured")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when the process never took more than the limit."""
    parser = argparse.ArgumentParser(
        prog="bench_training_memory", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=500_000, help="to draw from; some are never drawn")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--report", type=Path, help="write the figures to this file as JSON")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="freshet-training-memory-") as name:
        folder = Path(name)
        file = folder / "events.parquet"
        write_events(file, events=chosen.events, users=chosen.users, items=chosen.items)
        file_bytes = file.stat().st_size
        print(f"{chosen.events:,} events in {file_bytes / 1e6:,.0f} MB of Parquet", flush=True)
        found = trained(file, folder, ["--epochs", str(chosen.epochs)])
        checked(found, chosen.events)
    figures = {name: found[name] for name in REPORTED}
    figures |= {"file_bytes": file_bytes, "events_per_s": found["events"] / found["duration_s"]}
    print(
        f"peak {figures['peak_bytes']:,} bytes, {figures['peak_bytes'] / 1e9:.2f} GB "
        f"(at most {LIMIT_BYTES / 1e9:g} GB), in {figures['duration_s']:,.0f} s, "
        f"{figures['events_per_s']:,.0f} events/s: {found['events']:,} events of {found['users']:,} users "
        f"and {found['items']:,} items, epochs: {found['epochs']} on the older events, as many on all"
    )
    if chosen.report is not None:
        report = {"benchmark": "training-memory", **environment(), "limit_bytes": LIMIT_BYTES}
        chosen.report.write_text(json.dumps(report | {"results": figures}, indent=2) + "\n")
    return 0 if figures["peak_bytes"] <= LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
