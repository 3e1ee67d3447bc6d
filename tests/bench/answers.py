"""How the answers of peers are read: the common form, and the bare echo."""

from typing import Any

import msgspec

from tests.bench.peer import Run
from tests.bench.workload import Workload

_decoder: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


def check_item_lists(workload: Workload, run: Run) -> None:
    """Check lists of the form ``{"user_id": …, "items": [oldest, …, newest]}``."""
    workload.check_lists(run.broker.bootstrap, run.sink, lambda value: _decoder.decode(value)["items"])


def check_recommendations(workload: Workload, run: Run) -> None:
    """Check Freshet's own messages: best first, which here is newest first."""
    workload.check_lists(
        run.broker.bootstrap,
        run.sink,
        lambda value: [item["item_id"] for item in reversed(_decoder.decode(value)["items"])],
    )


def check_echo(workload: Workload, run: Run) -> None:
    """Check that every event came through as it was."""
    workload.check_echo(run.broker.bootstrap, run.sink)
