"""Every system that can be compared, by the name that tables and reports call it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from models.category_popularity import CATEGORY_POPULARITY_SPACE, fit_category_popularity
from models.context import TEMPORAL_SPACE, fit_temporal
from models.dynamic_training import DYNAMIC_SPACE, fit_dynamic
from models.item_cf import ITEM_CF_SPACE, WINDOWED_ITEM_CF_SPACE, fit_item_cf, fit_windowed_item_cf
from models.learning import Learning, Progress
from models.recomputed import CONVOLUTION_SPACE, TRANSFORMER_SPACE, fit_convolution, fit_transformer
from models.recurrent import RECURRENT_SPACE, fit_blended, fit_gru, fit_lstm, fit_memoryless, fit_rnn
from models.sequential import TRANSITIONS_SPACE, fit_transitions
from models.session_knn import SESSION_KNN_SPACE, fit_session_knn
from models.space import Space
from models.systems import RECENT_POPULARITY_SPACE, System, fit_popularity, fit_recent_popularity
from models.user_cf import USER_CF_SPACE, fit_user_cf_adjusted, fit_user_cf_cosine, fit_user_cf_pearson

Learner = Callable[[Learning, Progress], System]


class Entry(NamedTuple):
    """How a system is learnt, and what of it can be tuned.

    ``drawn``: something of it is random, so that another seed gives another one. ``network``: the
    system whose network it has too, so that the two of them need one training.
    """

    learn: Learner
    drawn: bool = False
    space: Space = MappingProxyType({})
    network: str | None = None


LINEUP: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "popularity": Entry(fit_popularity),
        "recent-popularity": Entry(fit_recent_popularity, space=RECENT_POPULARITY_SPACE),
        "category-popularity": Entry(fit_category_popularity, space=CATEGORY_POPULARITY_SPACE),
        "item-cf": Entry(fit_item_cf, space=ITEM_CF_SPACE),
        "item-cf-windowed": Entry(fit_windowed_item_cf, space=WINDOWED_ITEM_CF_SPACE),
        "user-cf-cosine": Entry(fit_user_cf_cosine, space=USER_CF_SPACE),
        "user-cf-pearson": Entry(fit_user_cf_pearson, space=USER_CF_SPACE),
        "user-cf-adjusted-cosine": Entry(fit_user_cf_adjusted, space=USER_CF_SPACE),
        "session-knn": Entry(fit_session_knn, space=SESSION_KNN_SPACE),
        "transitions": Entry(fit_transitions, space=TRANSITIONS_SPACE),
        "temporal": Entry(fit_temporal, space=TEMPORAL_SPACE),
        "dynamic": Entry(fit_dynamic, drawn=True, space=DYNAMIC_SPACE),
        "gru": Entry(fit_gru, drawn=True, space=RECURRENT_SPACE),
        "lstm": Entry(fit_lstm, drawn=True, space=RECURRENT_SPACE),
        "rnn": Entry(fit_rnn, drawn=True, space=RECURRENT_SPACE),
        "memoryless": Entry(fit_memoryless, drawn=True, space=RECURRENT_SPACE),
        "transformer": Entry(fit_transformer, drawn=True, space=TRANSFORMER_SPACE),
        "cnn-gru": Entry(fit_convolution, drawn=True, space=CONVOLUTION_SPACE),
        "blend": Entry(fit_blended, drawn=True, space=RECURRENT_SPACE, network="gru"),
    }
)
"""In the order of the tables."""
