"""The reference workload through Freshet's worker and its peers, on one real broker, in one run.

Run it as ``python -m tests.bench.bench_streaming`` (``make bench``). The peers take turns, round
after round, so that a slow spell of the machine meets them all; a peer's figure is its median.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.environment import environment
from tests.bench.peer import Measurement, Peer, PeerFailed, measure
from tests.bench.peers import aiokafka_batch, aiokafka_send, kafka_streams, plain_faust, quix, worker
from tests.bench.workload import LIST_ITEMS, PARTITIONS, Workload, WrongAnswer
from tests.support.kafka_broker import BrokerError, KafkaBroker, kafka_home, why_absent

PEERS = {
    "worker": worker.PEER,
    "exactly-once": worker.EXACTLY_ONCE,
    "rocksdb": worker.ON_DISK,
    "plain-faust": plain_faust.PEER,
    "quix": quix.PEER,
    "kafka-streams": kafka_streams.PEER,
    "aiokafka-send": aiokafka_send.PEER,
    "aiokafka-batch": aiokafka_batch.PEER,
}


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench_streaming", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each peer runs")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the events of every peer")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="only these")
    parser.add_argument("--report", type=Path, help="write the figures to this file as JSON")
    return parser.parse_args(arguments)


def run_rounds(
    peers: dict[str, Peer], broker: KafkaBroker, directory: Path, *, rounds: int, scale: float
) -> dict[str, list[Measurement]]:
    """Let the peers take turns and return each one's measurements."""
    results: dict[str, list[Measurement]] = {name: [] for name in peers}
    for number in range(1, rounds + 1):
        for name, peer in peers.items():
            tag = f"bench-{name}-{number}"
            result = measure(peer, broker=broker, tag=tag, directory=directory / tag, scale=scale)
            results[name].append(result)
            print(
                f"round {number}: {peer.name:<20} {result.events_per_s:>10,.0f} events/s"
                f"   ({result.measured_events:,} events in {result.duration_s:.1f} s)",
                flush=True,
            )
    return results


def speed(measurements: Sequence[Measurement]) -> float:
    """Return the median speed of a peer's rounds in events per second."""
    return median(one.events_per_s for one in measurements)


def first_list_s(measurements: Sequence[Measurement]) -> float:
    """Return the median time from the start of a peer's process to its first list in seconds."""
    return median(one.first_list_s for one in measurements)


def table(results: dict[str, list[Measurement]], absent: dict[str, str]) -> str:
    """Return the speeds, how many times each peer the worker is, and the time to the first list."""
    ours = speed(results["worker"]) if results.get("worker") else None
    lines = [f"{'':<20} {'events/s':>10} {'lowest':>10} {'highest':>10} {'worker is':>10} {'first list':>10}"]
    for name, measurements in results.items():
        rates = [one.events_per_s for one in measurements]
        ratio = "" if ours is None else f"{ours / speed(measurements):.2f} x"
        lines.append(
            f"{PEERS[name].name:<20} {speed(measurements):>10,.0f} {min(rates):>10,.0f}"
            f" {max(rates):>10,.0f} {ratio:>10} {first_list_s(measurements):>8.1f} s   {PEERS[name].note}"
        )
    lines += [f"{PEERS[name].name:<20} not run: {reason}" for name, reason in absent.items()]
    return "\n".join(lines)


def report(
    results: dict[str, list[Measurement]], absent: dict[str, str], *, rounds: int, scale: float
) -> dict[str, Any]:
    """Return everything needed to read the figures later: machine, versions, settings, results."""
    workload = Workload(1)
    ours = speed(results["worker"]) if results.get("worker") else None
    return {
        "benchmark": "streaming",
        **environment(),
        "settings": {
            "rounds": rounds,
            "scale": scale,
            "partitions": PARTITIONS,
            "users": workload.users,
            "seed": workload.seed,
            "list_items": LIST_ITEMS,
        },
        "peers": {
            name: {
                "events_per_s": speed(measurements),
                "worker_ratio": None if ours is None else ours / speed(measurements),
                "rounds_events_per_s": [one.events_per_s for one in measurements],
                "rounds_duration_s": [one.duration_s for one in measurements],
                "rounds_first_list_s": [one.first_list_s for one in measurements],
                "events": measurements[0].events,
            }
            for name, measurements in results.items()
        },
        "absent": absent,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when every peer that is here answered rightly."""
    chosen = options(arguments)
    home, reason = kafka_home(), why_absent()
    if home is None or reason is not None:
        print(reason, file=sys.stderr)
        return 1
    absent = {name: why for name in chosen.peers if (why := PEERS[name].why_absent()) is not None}
    peers = {name: PEERS[name] for name in chosen.peers if name not in absent}
    with tempfile.TemporaryDirectory(prefix="freshet-bench-") as folder:
        try:
            with KafkaBroker(home, Path(folder) / "kafka") as broker:
                results = run_rounds(peers, broker, Path(folder), rounds=chosen.rounds, scale=chosen.scale)
        except (BrokerError, PeerFailed, WrongAnswer, subprocess.CalledProcessError) as error:
            print(f"bench_streaming: {error}", file=sys.stderr)
            return 1
    print()
    print(table(results, absent))
    if chosen.report is not None:
        figures = report(results, absent, rounds=chosen.rounds, scale=chosen.scale)
        chosen.report.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
