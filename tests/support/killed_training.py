"""`freshet` with a training that is killed (SIGKILL) after its second epoch: arguments as of the command."""

import os
import signal
import sys

from models.training import Epoch
from stream.cli.main import run
from stream.retrain_job import RetrainJob


def _die(job: RetrainJob, epoch: Epoch) -> None:
    if epoch.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    RetrainJob._epoch = _die  # type: ignore[method-assign]
    sys.exit(run(sys.argv[1:]))
