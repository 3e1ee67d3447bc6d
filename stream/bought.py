"""What a user bought lately, which lists may leave out."""

from models.behavior import Behavior
from stream.messages import Event
from stream.state import UserState

BOUGHT_KEPT = 256
_PURCHASE = int(Behavior.PURCHASE)


def remember_bought(state: UserState, event: Event, source: int, keep_ms: int) -> None:
    """Keep what was bought within ``keep_ms`` before the user's newest event, for lists to leave out."""
    if source == _PURCHASE:
        state.bought.append(event.item_id)
        state.bought_ms.append(event.timestamp)
    oldest = state.base_ms + state.newest - keep_ms
    bought = zip(state.bought, state.bought_ms, strict=True)
    kept = [(item, bought_ms) for item, bought_ms in bought if bought_ms > oldest][-BOUGHT_KEPT:]
    state.bought = [item for item, _ in kept]
    state.bought_ms = [bought_ms for _, bought_ms in kept]
