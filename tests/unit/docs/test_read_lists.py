"""The example that reads lists counts each once, whatever comes again."""

import json

from docs.clients.read_lists import Newest, take


def record(topic: str, offset: int, *items: str) -> bytes:
    """A list as it stands in the topic."""
    event = {"topic": topic, "partition": 0, "offset": offset}
    return json.dumps(
        {"user_id": "ada", "items": [{"item_id": item} for item in items], "event": event}
    ).encode()


def test_lists_that_come_again_are_dropped(capsys):
    """The last three of a user, in their order, and then what is new; another user's are another's."""
    newest: Newest = {}
    first = [record("click", 4, "a"), record("cart", 9, "b"), record("click", 5, "c")]
    assert [take(newest, b"ada", one) for one in (*first, *first)] == [True] * 3 + [False] * 3
    assert take(newest, b"ada", record("cart", 10, "d"))
    assert take(newest, b"bob", first[0])
    assert capsys.readouterr().out.split() == [
        "ada:",
        "a",
        "ada:",
        "b",
        "ada:",
        "c",
        "ada:",
        "d",
        "ada:",
        "a",
    ]


def test_an_erasure_is_told_and_no_list(capsys):
    """Afterwards the user begins anew."""
    newest: Newest = {}
    assert take(newest, b"ada", record("click", 4, "a"))
    assert not take(newest, b"ada", None)
    assert newest == {}
    assert capsys.readouterr().out == "ada: a\nada: erased\n"
