"""What events say of the lists their users had: the observations that a trial is decided by.

A list names its event. So of two lists of a user the later one's event is what the user did with the
earlier one before the eyes, whatever clocks and delays say, and only events that led to a list count:
none that was a duplicate, too late or suspicious. The item of an event stands in its own topic.
"""

from models.canary import Canary, Role, role_of
from stream.errors import Rejected
from stream.messages import (
    MAX_TIMESTAMP_MS,
    CanaryTrial,
    RecommendationList,
    decode_event,
    decode_list,
)
from stream.weights import terms_of

#: Of events that lead to no list, a user's last so many are waited with.
PENDING_KEPT = 64

Place = tuple[str, int]


class Judge:
    """Takes records of the event topics and lists, each partition's in order, and tells the canary.

    A partition's events have to be told before the lists they led to. Of a user who counts no more, or
    is not looked at, nothing is held.
    """

    def __init__(self, trial: CanaryTrial, canary: Canary | None = None) -> None:
        """Begin, or go on with what ``canary`` has observed."""
        self.canary = canary or Canary(terms_of(trial))
        self._versions: dict[Role, str] = {
            "champion": trial.champion,
            "challenger": trial.challenger.version,
        }
        #: The items of each user's events whose list has not come, by topic and offset.
        self._pending: dict[str, dict[Place, str]] = {}
        #: The items of the list each user was last sent, where it counts.
        self._last: dict[str, tuple[str, ...]] = {}
        #: One text for each item, since the same few thousand stand in most lists.
        self._names: dict[str, str] = {}

    def event(self, topic: str, offset: int, key: bytes | None, value: bytes | None) -> None:
        """Take a record of an event topic; one without a key comes again with it."""
        user_id = self._wanted(key)
        if user_id is None:
            return
        try:
            event = decode_event(key, value, now_ms=MAX_TIMESTAMP_MS, max_future_ms=0)
        except Rejected:
            return
        pending = self._pending.setdefault(user_id, {})
        pending[topic, offset] = self._name(event.item_id)
        if len(pending) > PENDING_KEPT:
            del pending[next(iter(pending))]

    def listed(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Take a record of the recommendations topic; without a value its user was erased."""
        user_id = self._wanted(key)
        if user_id is None:
            return
        if value is None:
            self._let_go(user_id)
            return
        try:
            made = decode_list(value)
        except Rejected:
            return
        # A list that is sent a second time finds its event taken.
        item = self._pending.get(user_id, {}).pop((made.event.topic, made.event.offset), None)
        before = self._last.pop(user_id, None)
        if item is not None and before is not None:
            rank = before.index(item) + 1 if item in before else 0
            self.canary.observe(user_id, 1 / rank if rank else 0.0, partition=partition)
        if not self.canary.wants(user_id):
            self._let_go(user_id)
        elif self._counts(user_id, made):
            self._last[user_id] = tuple(self._name(one.item_id) for one in made.items)

    def _wanted(self, key: bytes | None) -> str | None:
        """Name the user of a record, where more of the user is wanted."""
        if key is None:
            return None
        try:
            user_id = key.decode()
        except UnicodeDecodeError:
            return None
        return user_id if self.canary.wants(user_id) else None

    def _counts(self, user_id: str, made: RecommendationList) -> bool:
        """Whether a list is one that the trial is about: personal, and of the user's role."""
        role = role_of(user_id, self.canary.config)
        return made.kind == "personalized" and made.model_version == self._versions[role]

    def _let_go(self, user_id: str) -> None:
        self._pending.pop(user_id, None)
        self._last.pop(user_id, None)

    def _name(self, item_id: str) -> str:
        return self._names.setdefault(item_id, item_id)
