"""What a trial observes: the list before each event, by the list's own word for its event."""

import msgspec
import pytest

from models.canary import Canary, Worth, role_of
from stream.judge import PENDING_KEPT, Judge
from stream.messages import CanaryTrial, EventRef, ListItem, ModelManifest, RecommendationList, encode

CLICK, CART = "events.click", "events.cart"
TRIAL = CanaryTrial(
    challenger=ModelManifest(
        name="shop", version="new", url="shop/new", sha256="0" * 64, trained_at=1, announced_at=2
    ),
    champion="old",
    salt="salt",
    share=0.5,
    level=0.05,
    alarm=0.05,
    events=3,
    most_pairs=100,
    ends_at=3,
    begins={},
)
JUDGE = Judge(TRIAL)
USERS = [f"u{number}" for number in range(30)]
ANNA = next(user for user in USERS if role_of(user, JUDGE.canary.config) == "champion")
BORIS = next(user for user in USERS if role_of(user, JUDGE.canary.config) == "challenger")
OF = {ANNA: "old", BORIS: "new"}


@pytest.fixture
def judge() -> Judge:
    """Nothing told yet."""
    return Judge(TRIAL)


def event(judge: Judge, user: str, offset: int, item: str, *, topic: str = CLICK) -> None:
    """Let a user do something."""
    value = msgspec.json.encode({"user_id": user, "item_id": item, "timestamp": 1000})
    judge.event(topic, offset, user.encode(), value)


def listed(
    judge: Judge,
    user: str,
    offset: int,
    *items: str,
    topic: str = CLICK,
    version: str | None = None,
    kind: str = "personalized",
) -> None:
    """Send a user the list of an event."""
    made = RecommendationList(
        user_id=user,
        items=[ListItem(item, 1.0) for item in items],
        kind=kind,
        model_version=version or OF[user],
        event=EventRef(topic, 0, offset, 1000),
        generated_at=1000,
    )
    judge.listed(0, user.encode(), encode(made))


def seen(canary: Canary) -> tuple[Worth, Worth]:
    """What was observed of each role."""
    return canary.worth["champion"], canary.worth["challenger"]


def test_an_event_is_looked_for_in_the_list_before_it(judge: Judge) -> None:
    """The first has none; the second stands third in that of the first; the third is missed."""
    for offset, item in enumerate(("a", "c", "x")):
        event(judge, ANNA, offset, item)
    listed(judge, ANNA, 0, "b", "d", "c")
    listed(judge, ANNA, 1, "b", "d")
    listed(judge, ANNA, 2, "x")
    assert seen(judge.canary) == (Worth(2, pytest.approx(1 / 3 / 2), 1 / 2), Worth())


def test_which_list_came_before_is_said_by_the_lists_and_no_clock(judge: Judge) -> None:
    """Events of two topics with equal times; the order of the lists is that in which they were applied."""
    event(judge, BORIS, 7, "a", topic=CART)
    event(judge, BORIS, 0, "b")
    listed(judge, BORIS, 0, "a")
    listed(judge, BORIS, 7, "b", topic=CART)
    assert seen(judge.canary) == (Worth(), Worth(1, 1.0, 1.0))


def test_an_event_that_led_to_no_list_counts_for_nothing(judge: Judge) -> None:
    """A duplicate, one that was late, one of a robot."""
    event(judge, ANNA, 0, "a")
    listed(judge, ANNA, 0, "b")
    event(judge, ANNA, 1, "b")
    event(judge, ANNA, 2, "c")
    listed(judge, ANNA, 2, "d")
    assert seen(judge.canary)[0] == Worth(1, 0.0, 0.0)


def test_a_list_that_comes_twice_counts_once(judge: Judge) -> None:
    """A worker was killed before its offsets were committed: the same lists again, and then it goes on."""
    for offset, item in enumerate(("a", "b", "c")):
        event(judge, ANNA, offset, item)
    for offsets in ((0, 1), (0, 1, 2)):
        for offset in offsets:
            listed(judge, ANNA, offset, "b", "c")
    assert seen(judge.canary)[0] == Worth(2, pytest.approx((1 + 1 / 2) / 2), 1.0)


@pytest.mark.parametrize("other", [{"kind": "popular"}, {"version": "older"}, {"version": "new"}])
def test_only_personal_lists_of_the_role_count(judge: Judge, other: dict[str, str]) -> None:
    """Not the fallback, nor what other weights made: as a worker has them that does not follow yet."""
    for offset in range(3):
        event(judge, ANNA, offset, "a")
    listed(judge, ANNA, 0, "a", **other)
    listed(judge, ANNA, 1, "a")
    assert seen(judge.canary)[0] == Worth()
    listed(judge, ANNA, 2, "a")
    assert seen(judge.canary)[0] == Worth(1, 1.0, 1.0)


def test_a_list_of_before_the_trial_is_none_of_it(judge: Judge) -> None:
    """Its event was not read; what comes after it is measured by it all the same where it counts."""
    listed(judge, ANNA, 5, "a")
    event(judge, ANNA, 6, "a")
    listed(judge, ANNA, 6, "b")
    assert seen(judge.canary)[0].events == 1


def test_an_erased_user_has_no_list(judge: Judge) -> None:
    """What comes after is as of somebody new."""
    event(judge, ANNA, 0, "a")
    listed(judge, ANNA, 0, "b")
    judge.listed(0, ANNA.encode(), None)
    event(judge, ANNA, 1, "b")
    listed(judge, ANNA, 1, "c")
    assert seen(judge.canary) == (Worth(), Worth())


def test_of_who_has_counted_nothing_is_held(judge: Judge) -> None:
    """Three events with a list before them are what the terms ask for."""
    for offset in range(9):
        event(judge, ANNA, offset, "a")
        listed(judge, ANNA, offset, "a")
    assert seen(judge.canary)[0] == Worth(3, 1.0, 1.0)
    assert not judge._pending
    assert not judge._last


def test_events_without_lists_are_held_in_bounds(judge: Judge) -> None:
    """A robot's thousands; the newest of them are still known."""
    for offset in range(1000):
        event(judge, ANNA, offset, "a")
    assert len(judge._pending[ANNA]) == PENDING_KEPT
    listed(judge, ANNA, 998, "a")
    listed(judge, ANNA, 999, "a")
    assert seen(judge.canary)[0] == Worth(1, 1.0, 1.0)


@pytest.mark.parametrize("key", [None, b"\xff", b"", ANNA.encode()])
def test_records_that_nobody_can_read_are_passed_over(judge: Judge, key: bytes | None) -> None:
    """As the workers do; they are among the dead letters."""
    for value in (None, b"", b"{", b"\xff", b"{}"):
        judge.event(CLICK, 0, key, value)
        judge.listed(0, key, value)
    assert seen(judge.canary) == (Worth(), Worth())
