"""`freshet` with a training that is killed (SIGKILL) after its second epoch: arguments as of the command."""

import os
import signal
import sys

from models.training import Epoch, Part
from stream.cli.main import run
from stream.retrain_job import RetrainJob


def _die(job: RetrainJob, so_far: Part | Epoch) -> None:
    if isinstance(so_far, Epoch) and so_far.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    RetrainJob._told = _die  # type: ignore[method-assign]
    sys.exit(run(sys.argv[1:]))
