"""Every system that can be compared, by the name that tables and reports call it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from models.item_cf import ITEM_CF_SPACE, fit_item_cf
from models.learning import Learning, Progress
from models.recurrent import RECURRENT_SPACE, fit_gru, fit_lstm, fit_rnn
from models.space import Space
from models.systems import System, fit_popularity

Learner = Callable[[Learning, Progress], System]


class Entry(NamedTuple):
    """How a system is learnt, and what of it can be tuned.

    ``drawn``: something of it is random, so that another seed gives another one.
    """

    learn: Learner
    drawn: bool = False
    space: Space = MappingProxyType({})


LINEUP: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "popularity": Entry(fit_popularity),
        "item-cf": Entry(fit_item_cf, space=ITEM_CF_SPACE),
        "gru": Entry(fit_gru, drawn=True, space=RECURRENT_SPACE),
        "lstm": Entry(fit_lstm, drawn=True, space=RECURRENT_SPACE),
        "rnn": Entry(fit_rnn, drawn=True, space=RECURRENT_SPACE),
    }
)
"""In the order of the tables."""
