"""A shell that takes one line after the other, as a person would type them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

LINE_LIMIT_S = 240.0
LOOK_S = 0.05
#: Kafka's own consumer reads on for ever.
UNTIL_INTERRUPTED = "timeout -s INT 12 "
INTERRUPTED = 124


class Said(NamedTuple):
    """What a line ended with and printed; what runs in the background may print in between."""

    status: int
    output: str


class Shell:
    """A bash in a folder; in a ``with`` block what it started ends with it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Start it; its output goes to a file in ``folder``."""
        self._output = folder / "shell.log"
        self._statuses = folder / "shell.statuses"
        self._statuses.touch()
        self._lines = 0
        with self._output.open("wb") as log:
            self._bash = subprocess.Popen(
                ["bash", "--norc"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything it started."""
        os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait()

    def run(self, line: str) -> Said:
        """Run a line to its end; one that ends in ``&`` goes on behind it."""
        begun = self.output()
        assert self._bash.stdin is not None
        # In braces, so that an export stays; without input, which would be the lines that follow.
        typed = f"{{ {line}\n}} </dev/null; echo $? >> {self._statuses}\n"
        self._bash.stdin.write(typed.encode())
        self._bash.stdin.flush()
        self._lines += 1
        status = int(self._status(line))
        return Said(status, self.output()[len(begun) :])

    def wait_said(self, text: str, *, times: int = 1) -> None:
        """Return once ``text`` was printed so often."""
        deadline_s = time.monotonic() + LINE_LIMIT_S
        while self.output().count(text) < times:
            assert time.monotonic() < deadline_s, f"nobody said {text!r}:\n{self.output()}"
            time.sleep(LOOK_S)

    def output(self) -> str:
        """Return everything printed so far."""
        return self._output.read_text(errors="replace")

    def _status(self, line: str) -> str:
        deadline_s = time.monotonic() + LINE_LIMIT_S
        while len(statuses := self._statuses.read_text().split()) < self._lines:
            assert time.monotonic() < deadline_s, f"`{line}` does not end:\n{self.output()}"
            time.sleep(LOOK_S)
        return statuses[-1]


class Typist:
    """Types what a page says, with names of its own for the page's."""

    def __init__(self, shell: Shell, names: Mapping[str, str]) -> None:
        """Take what stands for what; more can be added to ``names`` later."""
        self.shell = shell
        self.names = dict(names)

    def type(self, line: str) -> Said:
        """Run a line; it must end as it should."""
        for ours, theirs in self.names.items():
            line = line.replace(ours, theirs)
        said = self.shell.run(line)
        expected = INTERRUPTED if UNTIL_INTERRUPTED in line else 0
        assert said.status == expected, f"{line}\n{said.output}"
        return said

    def type_all(self, lines: Iterable[str]) -> list[Said]:
        """Run lines one after the other."""
        return [self.type(line) for line in lines]
