"""The runs of a comparison spread over processes: `freshet evaluate --jobs`.

Each process is a new interpreter that is given the splits once and then one run after another, which
it makes on one thread. Ctrl-C reaches only the process that asks; whatever ends that one ends them.
"""

import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any, Literal, NamedTuple

import torch

from models.lineup import LINEUP
from models.splits import Split
from models.summary import Run
from stream.comparison import Bench, Plan, Task, Watch, Watcher, bundles, tasks
from stream.errors import FreshetError
from stream.peers.lineup import PEERS


def spread(splits: Sequence[Split], plan: Plan, watch: Watcher, jobs: int) -> Iterator[Run]:
    """Make the runs of `compare` in ``jobs`` processes, the longest first, and give each as it is done.

    What a run raises is raised here and ends the others. Raises FreshetError when a process dies.
    """
    waiting = longest_first(bundles(tasks(splits, plan)))
    with ExitStack() as ending:
        members = []
        with _no_interrupt():
            for _ in range(min(jobs, len(waiting))):
                members.append(_Member(watch))
                ending.callback(members[-1].end)
        for member in members:
            member.tell((splits, plan))
            member.go_on(waiting)
        yield from _made(members, waiting)
        for member in members:
            member.process.join()


def longest_first(every: Sequence[list[Task]]) -> list[list[Task]]:
    """The bundles so that the last are short: systems from the end of the lineup, latest windows first."""
    names = [*LINEUP, *PEERS]
    return sorted(every, key=lambda bundle: min((-names.index(one.system), -one.window) for one in bundle))


def _made(members: "Sequence[_Member]", waiting: list[list[Task]]) -> Iterator[Run]:
    """Each run as it is done; its process goes on with the next one, or is told that there is none."""
    busy: dict[Any, _Member] = {member.pipe: member for member in members}
    while busy:
        for pipe in wait(list(busy)):
            run = busy[pipe].heard()
            if run is None:
                continue
            busy[pipe].go_on(waiting)
            if busy[pipe].task is None:
                del busy[pipe]
            yield run


class _Told(NamedTuple):
    """What a process says of its progress, as `Watch` has it; "begin" and "end" are a watch's own."""

    what: Literal["begin", "advance", "note", "end"]
    value: Any = None


class _Member:
    """One of the processes, the run it has in hand, and what is shown of that."""

    def __init__(self, watch: Watcher) -> None:
        """Start the process."""
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # so that its end is the end of the pipe
        self.task: Task | None = None
        self._bundle: list[Task] = []
        self._watch = watch
        self._showing = ExitStack()
        self._shown: Watch | None = None

    def go_on(self, waiting: list[list[Task]]) -> None:
        """Let it make the next run of its bundle, or of the next that waits; without any it may end."""
        if not self._bundle and waiting:
            self._bundle = waiting.pop(0)
        self.task = self._bundle.pop(0) if self._bundle else None
        self.tell(self.task)

    def tell(self, what: Any) -> None:
        """Send it something. Raises FreshetError when it is dead."""
        try:
            self.pipe.send(what)
        except OSError:
            raise self._dead() from None

    def heard(self) -> Run | None:
        """Take what it says: a run that is done, or None and some progress. Raises what the run raised."""
        try:
            said = self.pipe.recv()
        except (EOFError, OSError):
            raise self._dead() from None
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Run):
            return said
        self._show(said)
        return None

    def _dead(self) -> FreshetError:
        """What to say of a process that ended by itself."""
        self.process.join()
        name = "a system" if self.task is None else self.task.system
        return FreshetError(
            f"the process that measured {name} ended with status {self.process.exitcode}; "
            "where memory is short, give fewer --jobs"
        )

    def _show(self, told: _Told) -> None:
        """Pass progress on."""
        if told.what == "begin":
            self._shown = self._showing.enter_context(self._watch(*told.value))
        elif told.what == "end":
            self._showing.close()
        else:
            getattr(self._shown, told.what)(told.value)

    def end(self) -> None:
        """End the process, whatever it does."""
        self._showing.close()
        self.process.terminate()
        self.process.join()
        self.pipe.close()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Hold Ctrl-C back for a moment; what is started meanwhile never gets it."""
    resource_tracker.ensure_running()  # starting it, as the first process would, lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: "Connection[Any, Any]") -> None:
    """Be such a process: make runs until there are no more."""
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    bench = Bench(*pipe.recv())
    watch = _Teller(pipe).watch
    while (task := pipe.recv()) is not None:
        try:
            said: Run | Exception = bench.run(task, watch)
        except Exception as failure:  # noqa: BLE001 - it goes to the process that asked, which ends
            failure.add_note(traceback.format_exc())
            said = failure
        pipe.send(said)


def _end_with_parent() -> None:
    """End this process when the one that asked is gone, killed for instance."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Teller:
    """Sends progress through the pipe."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self._pipe = pipe

    @contextmanager
    def watch(self, title: str, total: int | None) -> Iterator[Watch]:
        """Tell of a part of the work."""
        self._pipe.send(_Told("begin", (title, total)))
        yield self
        self._pipe.send(_Told("end"))

    def advance(self, count: int = 1) -> None:
        """Count some more as done."""
        self._pipe.send(_Told("advance", count))

    def note(self, text: str) -> None:
        """Show a few words beside it."""
        self._pipe.send(_Told("note", text))
