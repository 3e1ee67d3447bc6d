"""Faults at random to the brokers and the workers of a deployment, while events keep coming."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from confluent_kafka import KafkaException

from tests.support.deployment import Deployment
from tests.support.kafka_cluster import KafkaCluster
from tests.support.worker_process import WorkerProcess, eventually

WORKERS = 3
MOST_WORKERS = 4
OUTAGE_S = 4.0
SERVED_LIMIT_S = 600.0
#: Exit statuses in good order: asked to end, or ended by what it found, with one line that says what.
#: One that is asked before it has begun, or when it has all but ended, does not know the signal.
EXPECTED_STATUS = (0, 1, -signal.SIGTERM)


class Campaign:
    """Does harm to one deployment and puts it right; ``done`` counts the faults by kind."""

    def __init__(
        self,
        cluster: KafkaCluster,
        deployment: Deployment,
        drawn: random.Random,
        announce: Callable[[], None],
    ) -> None:
        """Start the workers; ``announce`` makes new weights known."""
        self.cluster = cluster
        self.deployment = deployment
        self.drawn = drawn
        self.done: Counter[str] = Counter()
        #: The last lines of workers that ended by themselves.
        self.ended: list[str] = []
        self._announce = announce
        self._workers = [deployment.start() for _ in range(WORKERS)]
        for worker in self._workers:
            worker.wait_ready()
        self._waiting: list[str] = []

    @property
    def kinds(self) -> dict[str, Callable[[], None]]:
        """The faults by name."""
        return {
            "worker killed": self._kill,
            "worker terminated": self._terminate,
            "worker paused": self._pause,
            "worker joined": self._join,
            "worker left": self._leave,
            "broker killed": self._kill_broker,
            "all brokers restarted": self._restart_brokers,
            "controller killed": self._kill_controller,
            "network cut": self._cut,
            "weights announced": self._announce,
        }

    def harm(self) -> str:
        """Do one fault and put it right; returns its name. Each kind comes once before any comes again."""
        if not self._waiting:
            self._waiting = list(self.kinds)
            self.drawn.shuffle(self._waiting)
        kind = self._waiting.pop()
        self.kinds[kind]()
        self.done[kind] += 1
        self._replace()
        return kind

    def wait_working(self) -> None:
        """Return once a worker is in the middle of what waits, or nothing waits any more."""
        before = self._counted()
        further = self.drawn.randrange(50, 500)

        def working() -> bool:
            # One may end after the fault was put right; who is left may be the one that was given nothing.
            self._replace()
            now = self._counted()
            return (
                any(count >= before.get(name, 0) + further for name, count in now.items()) or self._served()
            )

        eventually(working, "a worker is in the middle", within_s=SERVED_LIMIT_S)

    def _counted(self) -> dict[str, int]:
        """Return how many events each worker that answers has counted."""
        counted = {}
        for worker in self._workers:
            with suppress(OSError):
                if worker.running and worker.said_ready:
                    counted[worker.name] = worker.wait_ready().events()
        return counted

    def finish(self) -> None:
        """Return when everything is served and every worker has ended in good order."""
        deadline_s = time.monotonic() + SERVED_LIMIT_S
        while not self._served():
            assert time.monotonic() < deadline_s, f"not served within {SERVED_LIMIT_S:.0f} s: {self.ended}"
            self._replace()
            time.sleep(0.5)
        for worker in self._workers:
            if worker.running:
                worker.terminate()
            self._check(worker)

    def _served(self) -> bool:
        # While a coordinator moves there is nobody to ask.
        with suppress(KafkaException):
            return self.deployment.backlog() == 0
        return False

    def _replace(self) -> None:
        """Start a worker for each that is gone, until there are as many as there should be."""
        for worker in [worker for worker in self._workers if not worker.running]:
            self._workers.remove(worker)
            last = (worker.errors().splitlines() or [""])[-1]
            self.ended.append(f"{worker.name}: {worker.status}: {last}")
            self._check(worker)
        while len(self._workers) < WORKERS:
            self._workers.append(self.deployment.start())

    @staticmethod
    def _check(worker: WorkerProcess) -> None:
        """Fail where a worker ended otherwise than it should."""
        assert worker.status in EXPECTED_STATUS, f"{worker.name}: {worker.status}\n{worker.errors()}"

    def _victim(self) -> WorkerProcess:
        return self.drawn.choice([worker for worker in self._workers if worker.running] or self._workers)

    def _gone(self, victim: WorkerProcess, end: Callable[[], object]) -> None:
        self._workers.remove(victim)
        if victim.running:
            end()

    # Workers.

    def _kill(self) -> None:
        victim = self._victim()
        self._gone(victim, victim.kill)

    def _terminate(self) -> None:
        victim = self._victim()
        self._gone(victim, victim.terminate)
        self._check(victim)

    def _pause(self) -> None:
        victim = self._victim()
        if victim.running:
            victim.pause()
            time.sleep(self.deployment.settings.session_timeout_s + self.drawn.uniform(2, 6))
            victim.resume()

    def _join(self) -> None:
        if len(self._workers) < MOST_WORKERS:
            self._workers.append(self.deployment.start())

    def _leave(self) -> None:
        self._terminate()

    # Brokers.

    def _kill_broker(self) -> None:
        self._outage(self.drawn.sample(self.cluster.brokers, 1))

    def _kill_controller(self) -> None:
        self._outage([self.cluster.controller()])

    def _outage(self, brokers: Sequence) -> None:
        for broker in brokers:
            broker.kill()
        time.sleep(OUTAGE_S)
        self.cluster.start()

    def _restart_brokers(self) -> None:
        for broker in self.cluster.brokers:
            broker.kill()
        self.cluster.start()

    def _cut(self) -> None:
        proxy = self.drawn.choice(self.cluster.proxies)
        proxy.cut()
        time.sleep(self.drawn.uniform(2, 2 * self.deployment.settings.session_timeout_s))
        proxy.mend()
