"""Believable shop events from a seed: for the demo and the tests, where no real data may be shipped.

A shop has items in categories, a few of them much more wanted than the rest. Users come in
sessions, more in the evening than at night, some of them far more often than others. In a
session a user goes from item to item: mostly to one of the few items that go with the one
just looked at (a similar one, or after a cart or a purchase a complement from another
category), sometimes to something popular in a category the user likes. Each look is a click,
and may go on to a favourite, a cart, a purchase.

So the next event follows from the last one and its behaviour, and hardly from popularity. At
the defaults no recommender can have the next event in a list of 20 more often than about .91,
which is what the true probabilities give; the 20 most popular items have .09, and counting
which item followed which in the first 40,000 events has .75 (a test measures all three).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from models.behavior import Behavior
from stream.columns import EVENT_SCHEMA, ITEM_SCHEMA

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# Sessions begun in each hour of the day, relative to each other: quiet at night, most after dinner.
HOUR_WEIGHTS = (5, 3, 2, 1, 1, 1, 2, 4, 6, 8, 10, 10, 11, 10, 9, 9, 9, 9, 10, 12, 15, 17, 14, 9)
# No session of a user begins sooner after the one before.
PAUSE_MS = 10 * 60_000
# The busiest users, relative to the median one.
MOST_ACTIVITY = 6.0


@dataclass(frozen=True)
class SimulationConfig:
    """What the shop and its users are like.

    ``successors`` items go with each item as similar ones and as many as complements, the
    first far more often than the last; a user follows them with probability ``follow``. A
    session has ``session_items`` items on average. Of the items looked at, the shares
    ``favorite`` and ``cart`` become one, and ``purchase_of_cart`` of the carts are bought.
    ``skew`` is the exponent of the popularity within a category (0: all items alike), and
    ``activity_spread`` the standard deviation of the logarithm of the users' activity.
    """

    events: int = 50_000
    users: int = 1_000
    items: int = 1_000
    categories: int = 40
    days: int = 7
    start_ms: int = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1000
    seed: int = 1
    successors: int = 4
    follow: float = 0.8
    session_items: float = 8.0
    favorite: float = 0.04
    cart: float = 0.08
    purchase_of_cart: float = 0.4
    skew: float = 0.9
    activity_spread: float = 1.0

    def __post_init__(self) -> None:
        """Refuse sizes from which no shop can be made."""
        for name in ("events", "users", "days", "successors"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.categories < 2:
            raise ValueError(f"categories is {self.categories}; complements need at least 2")
        if self.items // self.categories <= self.successors:
            raise ValueError(
                f"items is {self.items}; {self.categories} categories whose items have {self.successors} "
                f"similar ones need at least {self.categories * (self.successors + 1)}"
            )
        if self.session_items < 1:
            raise ValueError(f"session_items is {self.session_items}; it must be at least 1")
        for name in ("follow", "favorite", "cart", "purchase_of_cart"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")


class Simulation(NamedTuple):
    """Events of ``EVENT_SCHEMA`` in event-time order, and the shop's items of ``ITEM_SCHEMA``."""

    events: pl.DataFrame
    items: pl.DataFrame


@dataclass(frozen=True)
class Shop:
    """The truth behind the events, in rows: N items, C categories, U users, S successors.

    Items are in rows category by category; ``number`` (N,) is what stands in their ids, drawn so
    that an id tells nothing about its item. ``similar`` and ``complements`` (N, S) are in
    falling order of ``successor_weights`` (S,); ``popularity`` (N,) sums to 1 in each category;
    ``likes`` (U, 3) are each user's categories in falling order of ``LIKE_WEIGHTS``.
    """

    number: Ints
    category: Ints
    popularity: Floats
    similar: Ints
    complements: Ints
    successor_weights: Floats
    likes: Ints


LIKE_WEIGHTS = (0.6, 0.25, 0.15)


def simulate(config: SimulationConfig) -> Simulation:
    """Exactly ``config.events`` events; the same configuration gives the same events."""
    rng = np.random.default_rng(config.seed)
    shop = open_shop(config, rng)
    # Capped: a user a hundred times as busy as the rest would have to live day and night in the shop.
    activity = rng.lognormal(sigma=config.activity_spread, size=config.users).clip(max=MOST_ACTIVITY)
    n_sessions = int(1.2 * config.events / config.session_items) + 100
    looks = Looks(*(np.empty(0, np.int64) for _ in range(4)))
    while looks.session.size < config.events:  # one round, unless the sessions drawn are very short
        users = rng.choice(config.users, size=n_sessions, p=activity / activity.sum())
        looks = _walk(shop, users, config, rng)
        n_sessions *= 2
    looks = Looks(*(values[: config.events] for values in looks))
    starts_ms = _starts(users, looks, config, rng)
    return Simulation(_events(shop, users, starts_ms, looks), _items(shop))


def open_shop(config: SimulationConfig, rng: np.random.Generator) -> Shop:
    """Draw the shop: which items go together, which are wanted, what the users like."""
    category = np.sort(np.arange(config.items) % config.categories)
    first, size = _spans(category)
    rank = np.arange(config.items) - first[category]
    wish = (rank + 1.0) ** -config.skew
    popularity = wish / np.bincount(category, wish)[category]
    distance = rng.integers(1, config.categories, size=config.categories)  # never a category itself
    partner = (np.arange(config.categories) + distance) % config.categories
    similar, complements = (np.empty((config.items, config.successors), np.int64) for _ in range(2))
    for item in range(config.items):
        own, other = category[item], partner[category[item]]
        near = rng.choice(size[own] - 1, size=config.successors, replace=False)
        similar[item] = first[own] + near + (near >= rank[item])  # never the item itself
        complements[item] = first[other] + rng.choice(size[other], size=config.successors, replace=False)
    weights = 0.5 ** np.arange(config.successors)
    wanted = (np.arange(config.categories) + 1.0) ** -0.5
    likes = rng.choice(config.categories, size=(config.users, len(LIKE_WEIGHTS)), p=wanted / wanted.sum())
    number = rng.permutation(config.items)
    return Shop(number, category, popularity, similar, complements, weights / weights.sum(), likes)


class Looks(NamedTuple):
    """Events of the sessions, session by session: four arrays of one length.

    ``after_ms`` is the time since the session's start.
    """

    session: Ints
    item: Ints
    behavior: Ints
    after_ms: Ints


def _walk(shop: Shop, users: Ints, config: SimulationConfig, rng: np.random.Generator) -> Looks:
    """Let all sessions go from item to item, one step of every session that goes on at a time."""
    session = np.arange(users.size)
    now_ms = np.zeros(users.size, np.int64)
    item = _jump(shop, users, rng)
    steps: list[Looks] = []
    while session.size:
        funnel, now_ms, carted = _funnel(session, item, now_ms, config, rng)
        steps.extend(funnel)
        goes_on = rng.random(session.size) >= 1 / config.session_items
        session, item, now_ms, carted = session[goes_on], item[goes_on], now_ms[goes_on], carted[goes_on]
        rank = rng.choice(config.successors, size=session.size, p=shop.successor_weights)
        followed = np.where(carted, shop.complements[item, rank], shop.similar[item, rank])
        follows = rng.random(session.size) < config.follow
        item = np.where(follows, followed, _jump(shop, users[session], rng))
        now_ms = now_ms + _pause(session.size, median_s=25, rng=rng)
    looks = Looks(*(np.concatenate(values) for values in zip(*steps, strict=True)))
    order = np.lexsort((looks.behavior, looks.after_ms, looks.session))
    return Looks(*(values[order] for values in looks))


def _funnel(
    session: Ints, item: Ints, now_ms: Ints, config: SimulationConfig, rng: np.random.Generator
) -> tuple[list[Looks], Ints, npt.NDArray[np.bool_]]:
    """Give every session the click on its item and what may come of it.

    Returns the events, the sessions' time after them, and which have the item in the cart.
    """
    events = [Looks(session, item, np.full(session.size, int(Behavior.CLICK)), now_ms)]
    carted = rng.random(session.size) < config.cart
    chosen = {
        Behavior.FAVORITE: rng.random(session.size) < config.favorite,
        Behavior.CART: carted,
        Behavior.PURCHASE: carted & (rng.random(session.size) < config.purchase_of_cart),
    }
    for behavior, does in chosen.items():
        now_ms = now_ms + np.where(does, _pause(session.size, median_s=8, rng=rng), 0)
        events.append(Looks(session[does], item[does], np.full(int(does.sum()), int(behavior)), now_ms[does]))
    return events, now_ms, carted


def _jump(shop: Shop, users: Ints, rng: np.random.Generator) -> Ints:
    """For each user an item that is popular in a category the user likes."""
    like = rng.choice(len(LIKE_WEIGHTS), size=users.size, p=LIKE_WEIGHTS)
    category = shop.likes[users, like]
    first, size = _spans(shop.category)
    # Each category's popularity sums to 1, so category c takes the span (c, c + 1] of the sums.
    sums = np.cumsum(shop.popularity)
    drawn = np.searchsorted(sums, category + rng.random(users.size), side="right")
    return np.clip(drawn, first[category], first[category] + size[category] - 1)


def _pause(size: int, *, median_s: float, rng: np.random.Generator) -> Ints:
    """Times between two events: most near the median, a few many times longer; at least 1 ms."""
    return np.asarray(median_s * 1000 * rng.lognormal(sigma=0.8, size=size), np.int64) + 1


def _starts(users: Ints, looks: Looks, config: SimulationConfig, rng: np.random.Generator) -> Ints:
    """When each session starts (S,): by the hour's weight, and after the user's session before it."""
    weights = np.array(HOUR_WEIGHTS) / sum(HOUR_WEIGHTS)
    day = rng.integers(config.days, size=users.size)
    hour = rng.choice(24, size=users.size, p=weights)
    within_ms = rng.integers(HOUR_MS, size=users.size)
    starts_ms = config.start_ms + day * DAY_MS + hour * HOUR_MS + within_ms
    length_ms = np.zeros(users.size, np.int64)
    np.maximum.at(length_ms, looks.session, looks.after_ms)
    free_ms: dict[int, int] = {}
    for session in np.argsort(starts_ms, kind="stable").tolist():
        user = int(users[session])
        starts_ms[session] = max(int(starts_ms[session]), free_ms.get(user, 0))
        free_ms[user] = int(starts_ms[session] + length_ms[session]) + PAUSE_MS
    return starts_ms


def _events(shop: Shop, users: Ints, starts_ms: Ints, looks: Looks) -> pl.DataFrame:
    columns = {
        "user_id": _names("u", users[looks.session]),
        "item_id": _names("i", shop.number[looks.item]),
        "category_id": _names("c", shop.category[looks.item]),
        "behavior": looks.behavior,
        "timestamp": starts_ms[looks.session] + looks.after_ms,
    }
    return pl.DataFrame(columns).cast(dict(EVENT_SCHEMA)).sort("timestamp", "user_id", "behavior")  # type: ignore[arg-type]


def _items(shop: Shop) -> pl.DataFrame:
    columns = {"item_id": _names("i", shop.number), "category_id": _names("c", shop.category)}
    return pl.DataFrame(columns, schema=ITEM_SCHEMA).sort("item_id")


def _names(letter: str, rows: Ints) -> pl.Series:
    return letter + pl.Series(rows).cast(pl.String).str.zfill(5)


def _spans(category: Ints) -> tuple[Ints, Ints]:
    """Where each category begins among the items, and how many it has: two arrays (C,)."""
    size = np.bincount(category)
    return np.cumsum(size) - size, size
