"""`freshet recommend USER`: the user's list as it stands."""

import asyncio
import ssl
from typing import TYPE_CHECKING, Annotated
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import typer

from stream.cli import console
from stream.cli.options import Assignments, Brokers, TopicPrefix, load_settings
from stream.errors import FreshetError, UsageError

if TYPE_CHECKING:
    from stream.messages import RecommendationList
    from stream.settings import Settings

URL_LIMIT_S = 10.0


def recommend(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    *,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Ask the worker there, such as http://127.0.0.1:6066, and not Kafka."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the message as it was sent.")] = False,
    brokers: Brokers = None,
    topic_prefix: TopicPrefix = None,
    assignments: Assignments = None,
) -> None:
    """Show the user's list as it stands, from the recommendations topic or from a worker."""
    settings = load_settings(assignments, brokers=brokers, topic_prefix=topic_prefix)
    if url is not None:
        found = _from_worker(settings, url, user)
    else:
        from stream.lookup import newest_list

        found = asyncio.run(newest_list(settings, user))
    if found is None:
        raise FreshetError(f"there is no list for user {user!r}; one is sent after the user's next event")
    if as_json:
        console.line(found.decode())
        return
    from stream.messages import decode_list

    _show(decode_list(found))


def _from_worker(settings: "Settings", url: str, user: str) -> bytes | None:
    """Ask a worker, with its token; ``None`` where it holds no list for the user."""
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--url {url!r} must begin with http:// or https://")
    address = f"{url.rstrip('/')}/recommendations/{quote(user, safe='')}"
    try:
        asked = Request(address)  # noqa: S310 - http(s), checked above
        if token := settings.http_token.get_secret_value():
            asked.add_unredirected_header("Authorization", f"Bearer {token}")
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
        with urlopen(asked, timeout=URL_LIMIT_S, context=context) as response:  # noqa: S310
            return bytes(response.read())
    except HTTPError as error:
        if error.code == 404:
            return None
        hint = "; set FRESHET_HTTP_TOKEN to its token" if error.code == 401 else ""
        raise FreshetError(f"the worker at {url} answered {error.code} {error.reason}{hint}") from None
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise FreshetError(f"no worker answers at {url}: {reason}; is it running?") from None


def _show(found: "RecommendationList") -> None:
    """Print a list, best first, and what it knows of."""
    from datetime import UTC, datetime

    made = datetime.fromtimestamp(found.generated_at / 1000, UTC).isoformat(timespec="milliseconds")
    event = found.event
    console.table(
        ("place", "item", "score"),
        [(place, item.item_id, f"{item.score:.4f}") for place, item in enumerate(found.items, start=1)],
    )
    console.note(
        f"{found.kind}, model {found.model_version}, made {made} "
        f"after {event.topic} partition {event.partition} offset {event.offset}"
    )
