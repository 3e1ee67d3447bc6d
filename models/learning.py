"""What a system is given to learn from, the same for every system that is compared."""

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from models import training
from models.events import EventLog
from models.ranking import Scores
from models.segment import SegmentRule
from models.vocabulary import Vocabulary

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")
Made = TypeVar("Made")
Setting = bool | int | float | str
Progress = training.Progress


class Once(Protocol):
    """How systems come to what several of them need, a trained network for instance."""

    def __call__(self, key: Hashable, make: Callable[[], Made], /) -> Made:
        """What ``make`` makes; it may be what was made before for an equal ``key``."""


def each_time(_: Hashable, make: Callable[[], Made]) -> Made:
    """Nothing is shared: make it."""
    return make()


@dataclass(frozen=True, eq=False)
class Learning:
    """The events to learn from, and the few choices that are made for all systems together.

    ``popularity`` (N,) scores the popular list, which users get of whom a system knows nothing. A choice
    that is None is the system's own: ``neighbours`` is the K of equation 2 and ``window_ms`` the m of
    equation 4 (None: no limit), ``epochs`` and ``units`` are those of networks. ``settings`` are this
    one system's, by the names of the fields of its configs, as tuning found them. Two systems learnt
    from equal events, choices, settings and ``seed`` make equal lists. ``once`` lets systems that need
    the same training of these events have it once.
    """

    train: EventLog
    vocabulary: Vocabulary
    rule: SegmentRule
    popularity: Scores
    seed: int = 1
    neighbours: int | None = None
    window_ms: int | None = None
    epochs: int | None = None
    units: int | None = None
    settings: Mapping[str, Setting] = dataclasses.field(default_factory=dict)
    once: Once = each_time

    def configured(self, default: Config) -> Config:
        """A config with the settings, then the choices made and the seed, as far as it has such fields."""
        choices = ("neighbours", "window_ms", "epochs", "units", "seed")
        made = {name: getattr(self, name) for name in choices if getattr(self, name) is not None}
        return with_settings(default, {**self.settings, **made})


def with_settings(default: Config, settings: Mapping[str, Setting]) -> Config:
    """A config with the settings that it has fields for; the others are for other configs."""
    names = {field.name for field in fields(default)}
    return replace(default, **{name: value for name, value in settings.items() if name in names})
