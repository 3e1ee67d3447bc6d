"""What scales with what: workers and partitions, users, items; measured, and held against the sizing model.

Run it as ``make bench-scale``, or with the names of parts (``BENCH=users``):
``workers`` (needs a real broker), ``users`` and ``items`` (do not). Every answer is checked. Each figure
stands beside what ``docs.capacity`` says of it, its times carried to this machine by the calibration taken in
turns with it; one that is more than 25 % off is an error. ``tests.bench.scale_chart`` draws a report.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeVar

from docs.capacity import Figures
from docs.scale import checks
from tests.bench import scale_items, scale_users, scale_workers
from tests.bench.environment import environment
from tests.bench.threads import on_one_thread
from tests.bench.workload import WrongAnswer
from tests.support.kafka_broker import BrokerError, KafkaBroker, kafka_home, why_absent

T = TypeVar("T")


def alone(measure: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Return what a function gives in a process of its own, which begins without anybody's memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, *arguments, **named).result()


def measure_users(rounds: int) -> list[dict[str, Any]]:
    """Measure events and memory for each number of users."""
    found = []
    for users in scale_users.SIZES:
        one = alone(scale_users.measure, users, rounds=rounds)
        if users >= scale_users.LEAST_RESIDENT:
            one["bytes_a_user"] = alone(scale_users.bytes_a_user, users)
        found.append(_told("users", one))
    return found


def measure_items(rounds: int) -> list[dict[str, Any]]:
    """Measure lists and weights for each number of items, with the network alone and with the blend."""
    return [
        _told("items", alone(scale_items.measure, items, blend=blend, rounds=rounds))
        for items in scale_items.SIZES
        for blend in (False, True)
    ]


def measure_workers(rounds: int) -> dict[str, Any]:
    """Measure every layout, and one worker with the blend, on one real broker."""
    home, reason = kafka_home(), why_absent()
    if home is None or reason is not None:
        raise BrokerError(reason)
    with tempfile.TemporaryDirectory(prefix="freshet-scale-") as folder:
        place = Path(folder)
        with KafkaBroker(home, place / "kafka") as broker:
            serving = scale_workers.measure_serving(broker, place / "serving", rounds=rounds)
            _told("serving", serving)
            layouts = [
                _told(
                    "workers",
                    scale_workers.measure_layout(
                        broker,
                        place / f"{workers}-{partitions}",
                        workers=workers,
                        partitions=partitions,
                        rounds=rounds,
                    ),
                )
                for workers, partitions in scale_workers.LAYOUTS
            ]
    return {"serving": serving, "layouts": layouts}


PARTS: Final[dict[str, Callable[[int], Any]]] = {
    "users": measure_users,
    "items": measure_items,
    "workers": measure_workers,
}


def _told(part: str, found: dict[str, Any]) -> dict[str, Any]:
    print(part, json.dumps(found), file=sys.stderr, flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; 0 when every answer was right and every figure is near the model's."""
    parser = argparse.ArgumentParser(prog="bench_scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"only these of: {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=Path, help="write the figures to this file as JSON")
    chosen = parser.parse_args(arguments)
    on_one_thread(parser)
    if unknown := set(chosen.parts) - PARTS.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    parts = [name for name in PARTS if name in chosen.parts or not chosen.parts]
    try:
        found = {name: PARTS[name](chosen.rounds) for name in parts}
    except (BrokerError, WrongAnswer, AssertionError, subprocess.CalledProcessError) as error:
        print(f"bench_scale: {error}", file=sys.stderr)
        return 1
    report = {"benchmark": "scale", **environment(), "settings": {"rounds": chosen.rounds}, **found}
    if chosen.report is not None:
        chosen.report.write_text(json.dumps(report, indent=1) + "\n")
    made = checks(Figures(), report)
    print("\n".join(str(one) for one in made))
    return 0 if all(one.near for one in made) else 1


if __name__ == "__main__":
    sys.exit(main())
