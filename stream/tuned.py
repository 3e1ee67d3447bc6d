"""The file of settings that `freshet tune` writes, and that `freshet train` and `freshet evaluate` take.

JSON: for each system its ``settings`` by name, and beside them how they were found.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from models.learning import Setting
from models.space import Choice, Range, Space
from stream.errors import FreshetError, UsageError

SETTINGS: Final = "settings"


def read_settings(path: Path, spaces: Mapping[str, Space]) -> dict[str, dict[str, Setting]]:
    """Give the settings of each system in the file; ``spaces`` says which systems and settings there are.

    Raises ``UsageError`` naming what is wrong.
    """
    found = read_file(path)
    for system, entry in found.items():
        if system not in spaces:
            raise UsageError(f"{path}: there is no system {system!r}; there are {', '.join(spaces)}")
        for name, value in entry[SETTINGS].items():
            _check(f"{path}: {system}", name, value, spaces[system])
    return {system: dict(entry[SETTINGS]) for system, entry in found.items()}


def read_file(path: Path) -> dict[str, dict[str, Any]]:
    """Give what the file says of each system; raises ``UsageError`` when it is not such a file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as failure:
        raise UsageError(f"cannot read {path}: {(failure.strerror or str(failure)).lower()}") from None
    except ValueError as failure:
        raise UsageError(f"{path} is not JSON ({failure}); `freshet tune` writes such files") from None
    if not isinstance(found, dict) or not all(
        isinstance(entry, dict) and isinstance(entry.get(SETTINGS), dict) for entry in found.values()
    ):
        raise UsageError(
            f'{path} does not hold settings; it must be like {{"gru": {{"{SETTINGS}": {{"units": 100}}}}}}'
        )
    return found


def write_settings(path: Path, system: str, entry: Mapping[str, Any]) -> None:
    """Put one system's entry into the file and leave the others in it as they are; all or nothing."""
    found = read_file(path) if path.exists() else {}
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_text(json.dumps(found | {system: entry}, indent=2) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as failure:
        reason = (failure.strerror or str(failure)).lower()
        raise FreshetError(f"cannot write the settings {path}: {reason}; name another with --best") from None


def _check(where: str, name: str, value: object, space: Space) -> None:
    """Refuse a setting that the system has not, or a value that it cannot have."""
    if name not in space:
        can = ", ".join(space) or "nothing"
        raise UsageError(f"{where} has no setting {name!r}; what can be set is {can}")
    bounds = space[name]
    if isinstance(bounds, Choice):
        if not any(type(value) is type(one) and value == one for one in bounds.values):
            allowed = ", ".join(json.dumps(one) for one in bounds.values)
            raise UsageError(f"{where}: {name} is {json.dumps(value)}; it must be one of {allowed}")
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = number and (isinstance(value, int) or not whole(bounds))
    if not fits or not bounds.low <= value <= bounds.high:  # type: ignore[operator]  # a number, if it fits
        kind = "a whole number" if whole(bounds) else "a number"
        raise UsageError(
            f"{where}: {name} is {json.dumps(value)}; it must be {kind} from {bounds.low} to {bounds.high}"
        )


def whole(bounds: Range) -> bool:
    """Whether the numbers of a range are whole."""
    return isinstance(bounds.low, int) and isinstance(bounds.high, int)
