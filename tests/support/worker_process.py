"""One `freshet worker` as its own process, the way a user starts it."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import RemoteDisconnected
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from prometheus_client.parser import text_string_to_metric_families

FRESHET = (sys.executable, "-m", "stream.cli.main")
READY = "ready: "
RESTORED = re.compile(r"the state is restored \(users=(\d+) changelog_records=(\d+)\)")
READY_LIMIT_S = 60.0
END_LIMIT_S = 60.0
EVENTUALLY_S = 60.0
LOOK_S = 0.05

T = TypeVar("T")


class Answer(NamedTuple):
    """What the worker's HTTP port answered."""

    status: int
    body: bytes

    def json(self) -> object:
        """Return the body, which is JSON."""
        return json.loads(self.body)


class Metrics(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """The samples of `/metrics` by name and labels."""

    def total(self, name: str, **labels: str) -> float:
        """Sum the samples of a name that have these labels among theirs."""
        wanted = labels.items()
        return sum(value for (one, has), value in self.items() if one == name and wanted <= has)


def read_metrics(text: str) -> Metrics:
    """Read what `/metrics` answered."""
    return Metrics(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


def eventually(look: Callable[[], T], what: str, *, within_s: float = EVENTUALLY_S) -> T:
    """Return what ``look`` gives as soon as it is true; after ``within_s`` the test fails.

    A look that raises AssertionError or ConnectionError has not seen it yet.
    """
    deadline_s = time.monotonic() + within_s
    seen: object = None
    while True:
        try:
            if found := look():
                return found
            seen = found
        except (AssertionError, ConnectionError) as error:
            seen = error
        if time.monotonic() > deadline_s:
            raise AssertionError(f"within {within_s:g} s: {what}; last seen: {seen!r}")
        time.sleep(LOOK_S)


class WorkerProcess:
    """A worker from its start to its end; ``wait_ready`` gives its address."""

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        name: str,
        command: Sequence[str] = (*FRESHET, "worker"),
    ) -> None:
        """Start it; its output goes to files of ``folder``."""
        self.name = name
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        self.url = ""
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                command, env=dict(environment), stdout=out, stderr=err, start_new_session=True
            )

    def wait_ready(self) -> "WorkerProcess":
        """Return once its line `ready:` has come; fails where the worker ends before."""

        def ready_line() -> str | None:
            text = self._out.read_text()
            if not text.endswith("\n"):
                assert self.running, f"{self.name} ended with {self.status}:\n{self.errors()}"
                return None
            return next((line for line in text.splitlines() if line.startswith(READY)), None)

        try:
            line = eventually(ready_line, f"{self.name} is ready", within_s=READY_LIMIT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.errors()}") from error
        self.url = line.removeprefix(READY)
        return self

    @property
    def port(self) -> int:
        """The HTTP port it took."""
        return int(self.url.rsplit(":", 1)[1])

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    @property
    def said_ready(self) -> bool:
        """Whether its line `ready:` has come."""
        return READY in self.output()

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs, negative for a signal."""
        return self._process.poll()

    def output(self) -> str:
        """Return its standard output so far."""
        return self._out.read_text()

    def errors(self) -> str:
        """Return its standard error so far."""
        return self._err.read_text()

    def restored(self) -> list[tuple[int, int]]:
        """Of each recovery so far, how many users it led to and how many changelog records it read."""
        return [(int(users), int(read)) for users, read in RESTORED.findall(self.errors())]

    def get(self, path: str) -> Answer:
        """Ask its HTTP port; raises ConnectionError where nobody listens."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read())
        except RemoteDisconnected as error:
            raise ConnectionError(str(error)) from error
        except urllib.error.URLError as error:
            raise ConnectionError(f"{self.name}: {error.reason}\n{self.errors()}") from error

    def list_of(self, user_id: str) -> Answer:
        """Ask for a user's list."""
        return self.get(f"/recommendations/{quote(user_id, safe='')}")

    def metrics(self) -> Metrics:
        """Return what `/metrics` says now."""
        return read_metrics(self.get("/metrics").body.decode())

    def events(self, **labels: str) -> int:
        """Return how many events it has counted, of some outcome or behaviour or in all."""
        return int(self.metrics().total("freshet_events_total", **labels))

    def rebalances(self) -> int:
        """Return how often the worker has seen the partitions shared out."""
        return int(self.metrics().total("freshet_rebalances_total"))

    def partitions(self) -> set[str]:
        """Return the partitions that the worker tells the lag of."""
        lags = (dict(labels) for name, labels in self.metrics() if name == "freshet_consumer_lag")
        return {labels["partition"] for labels in lags}

    def terminate(self) -> int:
        """Ask it to end in good order and return its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, with nothing finished."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it stand still, as a machine that sleeps does."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on where it stood still."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it at once if it still runs."""
        if self.running:
            self.kill()

    def _end(self, how: signal.Signals) -> int:
        self._process.send_signal(how)
        try:
            return self._process.wait(timeout=END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(
                f"{self.name} did not end within {END_LIMIT_S:g} s of {how.name}:\n{self.errors()}"
            ) from None
