"""How a system's config comes together."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from models.events import EventLog
from models.learning import Learning
from models.lineup import LINEUP
from models.segment import SegmentRule
from models.space import Choice, Range
from models.vocabulary import Vocabulary

NOTHING = EventLog(*(np.zeros(0, kind) for kind in (np.int32, np.int32, np.int32, np.int8, np.int64)))
LEARNING = Learning(NOTHING, Vocabulary.empty(), SegmentRule(), np.zeros(1, np.float32))


@dataclass(frozen=True)
class Config:
    units: int = 8
    rate: float = 0.5
    seed: int = 0


def test_defaults_stand_where_nothing_was_chosen() -> None:
    """Only the seed is always told."""
    assert LEARNING.configured(Config()) == Config(seed=1)


def test_settings_come_before_defaults_and_choices_before_settings() -> None:
    """What the person at the command line says wins; what the config has no field for is passed over."""
    tuned = replace(LEARNING, settings={"units": 16, "rate": 0.25, "decay": 0.5}, seed=7)
    assert tuned.configured(Config()) == Config(16, 0.25, 7)
    assert replace(tuned, units=4, neighbours=3).configured(Config()) == Config(4, 0.25, 7)


@pytest.mark.parametrize("name", LINEUP)
def test_bounds_of_tuning_are_in_order(name: str) -> None:
    """A range has something in it, an even one by factors begins above zero, and a choice is one."""
    for bounds in LINEUP[name].space.values():
        if isinstance(bounds, Range):
            assert bounds.low < bounds.high
            assert bounds.low > 0 or not bounds.log
        else:
            assert isinstance(bounds, Choice)
            assert len(set(bounds.values)) > 1
