"""The rights that the README lists for each process, for the names of one deployment."""

import re

from stream.settings import Settings
from tests.support.kafka_broker import PROJECT
from tests.support.secured_broker import Right

_ROW = re.compile(r"^\| (`[^|]+) \| (Topic|Group|TransactionalId) ([^|]+) \| ([A-Z][^|]+) \|$", re.MULTILINE)
_NAMES = re.compile(r"`([^`]+)`")


def rights_of(process: str, settings: Settings) -> list[Right]:
    """Return what the README's table gives a process, such as `worker`."""
    plain = Settings.load(group_id="freshet", topic_prefix="")
    ours = dict(zip(plain.topics, settings.topics, strict=True))
    found = []
    for processes, kind, names, operations in _ROW.findall((PROJECT / "README.md").read_text()):
        if process not in _NAMES.findall(processes):
            continue
        for name in _NAMES.findall(names):
            whole = name.removesuffix("…")
            actual = ours[name] if kind == "Topic" else whole.replace("freshet", settings.group_id, 1)
            found += [Right(kind, actual, whole != name, one) for one in operations.split(", ")]
    assert found, f"the README lists no rights of {process}"
    return found
