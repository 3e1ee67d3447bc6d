"""Everything that can go wrong and is not a bug.

    FreshetError                  one line that says what failed and what to do; exit status 1
    ├── UsageError                the command was used wrongly; exit status 2
    │   └── SettingsError         a setting is wrong: its name, its value, what is allowed
    ├── BrokerUnavailable         no Kafka broker answers (retriable)
    ├── NotAllowed                a broker refuses a login or a right
    ├── TopicError                a topic is missing or has the wrong shape
    ├── UnreadableBatch           what a broker holds of a partition cannot be unpacked
    ├── DatasetError              a file of events or items cannot be read
    ├── PortInUse                 the HTTP port is taken
    ├── PartitionLost             another worker has taken over a partition of this one
    ├── StoreError                the users' records on disk cannot be kept or read
    │   └── StoreInUse            another worker keeps its users in the same folder
    ├── StoreUnreachable          the object store that holds the models does not answer (retriable)
    ├── StateError                a user's record cannot be read
    ├── ArtifactRefused           an announced artifact does not fit this worker
    └── Rejected                  a record that goes to the dead letters, with a fixed word

The command line prints the message of each on standard error, as one line, and never a
traceback. ``retriable`` says whether trying the same thing again can help; a worker goes on
trying, a command gives up. Errors of the recommender itself are in ``models.errors``.
"""


class FreshetError(Exception):
    """Root of the tree; the text is one line for a person, naming the thing and the remedy."""

    retriable = False
    exit_status = 1


class UsageError(FreshetError):
    """The command was used wrongly: an argument or option is wrong."""

    exit_status = 2


class SettingsError(UsageError):
    """A setting is wrong; the text names it, its value and what is allowed."""


class BrokerUnavailable(FreshetError):
    """No broker answers at the address of the settings."""

    retriable = True


class NotAllowed(FreshetError):
    """The broker knows who asks and refuses; the text names the right and on what."""


class TopicError(FreshetError):
    """A topic is missing or has another partition count than it must have."""


class UnreadableBatch(FreshetError):
    """A record batch as the broker holds it is damaged or packed in a way nobody knows."""


class DatasetError(FreshetError):
    """A file of events or items is missing, damaged or of a form that cannot be read."""


class PortInUse(FreshetError):
    """Another process listens on the HTTP port."""


class PartitionLost(FreshetError):
    """Another worker has claimed a partition that this one thought was its own."""


class StoreError(FreshetError):
    """The users' records on disk cannot be kept or read: a full disk, a right, damaged files."""


class StoreInUse(StoreError):
    """Another worker keeps its users' records in the same folder."""


class StoreUnreachable(FreshetError):
    """The object store that holds the models does not answer, or lets nobody in."""

    retriable = True


class StateError(FreshetError):
    """A user's record is damaged or was written by a freshet this one does not know."""


class ArtifactRefused(FreshetError):
    """An announced artifact does not fit this worker's settings; the weights in force go on."""


class Rejected(FreshetError):
    """A record that is refused and goes to the dead letters.

    ``error`` is a word of ``stream.messages.ERROR_WORDS``; ``message`` says more to a person
    and holds no user or item id that is longer than what was sent.
    """

    def __init__(self, error: str, message: str) -> None:
        """Keep the two headers of the dead letter."""
        super().__init__(f"{error}: {message}")
        self.error = error
        self.message = message
