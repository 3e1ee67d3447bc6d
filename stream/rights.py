"""What a broker does not allow, told in one line: the right that is lacking, and on what."""

from typing import Final

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from stream.errors import NotAllowed

_RESOURCES: Final[dict[type[KafkaError], tuple[str, str]]] = {
    TopicAuthorizationFailedError: ("topic", ""),
    GroupAuthorizationFailedError: ("group", "Read"),
    TransactionalIdAuthorizationFailed: ("transactional id", "Write"),
    ClusterAuthorizationFailedError: ("the cluster", ""),
}
"""What each refusal is about, and the one right on it that we ask for; empty where that depends."""


def refusal(error: BaseException, operation: str) -> NotAllowed | None:
    """Say what the broker refused with ``error``; ``None`` for what is no refusal.

    ``operation`` is what was tried on a topic, as Kafka names it.
    """
    if isinstance(error, SaslAuthenticationFailed):
        return NotAllowed(
            "the broker does not let this process log in; check FRESHET_SASL_MECHANISM and the settings of "
            "its login, FRESHET_SASL_USERNAME and its password or FRESHET_SASL_OAUTH_..."
        )
    found = next((_RESOURCES[kind] for kind in _RESOURCES if isinstance(error, kind)), None)
    if found is None:
        return None
    kind, always = found
    return NotAllowed(
        f"the broker refuses {always or operation} on {' '.join([kind, *_names(error)])}; give the user that "
        "this process logs in as the rights of README.md, section Security"
    )


def _names(error: BaseException) -> list[str]:
    """Return the names that the client library puts into a refusal, if it does."""
    what = error.args[0] if error.args else ()
    return [", ".join([what] if isinstance(what, str) else sorted(map(str, what)))] if what else []
