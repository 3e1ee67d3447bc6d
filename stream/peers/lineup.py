"""Other projects' systems by the names that tables call them, and whether they are there to be run."""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

from models.learning import Learning, Progress
from models.lineup import Entry, Learner
from models.space import Choice, Range, Space
from models.systems import System

IMPLICIT_SPACE: Final[Space] = {
    "neighbours": Range(20, 1000, log=True),
    "recent": Choice((1, 2, 3, 5, 10, 0)),
}
BM25_SPACE: Final[Space] = {**IMPLICIT_SPACE, "k1": Range(0.1, 100.0, log=True), "b": Range(0.0, 1.0)}
SASREC_SPACE: Final[Space] = {
    "units": Choice((64, 128, 256)),
    "blocks": Range(1, 3),
    "dropout": Range(0.0, 0.5),
    "learning_rate": Range(0.0003, 0.003, log=True),
    "max_events": Choice((20, 50, 100)),
}


def _from(module: str, function: str) -> Learner:
    """A learner whose module is imported when it is first called."""

    def learn(learning: Learning, progress: Progress) -> System:
        found: Callable[[Learning, Progress], System] = getattr(
            import_module(f"stream.peers.{module}"), function
        )
        return found(learning, progress)

    return learn


PEERS: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "implicit-cosine": Entry(_from("implicit_items", "fit_cosine"), space=IMPLICIT_SPACE),
        "implicit-bm25": Entry(_from("implicit_items", "fit_bm25"), space=BM25_SPACE),
        "rectools-sasrec": Entry(_from("rectools_sasrec", "fit_sasrec"), drawn=True, space=SASREC_SPACE),
    }
)

NEEDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "implicit-cosine": "implicit",
        "implicit-bm25": "implicit",
        "rectools-sasrec": "rectools.models.nn.transformers.sasrec",
    }
)
"""The module that each stands on."""


def absence(name: str) -> str | None:
    """Why a peer cannot be run here, in a few words; None when it can."""
    try:
        import_module(NEEDED[name])
    except ImportError as failure:
        return f"{NEEDED[name].partition('.')[0]} cannot be imported ({str(failure).splitlines()[0]})"
    return None
