"""Options that several commands share, so that each is spelled and explained once.

A command takes them as parameters: ``def replay(file: File, brokers: Brokers = None, ...)``.
Options of settings are ``None`` when not given; ``load_settings`` then takes the environment's
value or the default.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stream.errors import UsageError

if TYPE_CHECKING:
    from stream.settings import Settings

TimeUnit = Literal["s", "ms"]

Brokers = Annotated[
    str | None,
    typer.Option("--brokers", metavar="HOST:PORT,...", help="Kafka brokers to ask first [FRESHET_BROKERS]."),
]
GroupId = Annotated[
    str | None, typer.Option("--group-id", help="Consumer group of the workers [FRESHET_GROUP_ID].")
]
TopicPrefix = Annotated[
    str | None, typer.Option("--topic-prefix", help="Put before every topic name [FRESHET_TOPIC_PREFIX].")
]
Partitions = Annotated[
    int | None, typer.Option("--partitions", help="Partitions of the event topics [FRESHET_PARTITIONS].")
]
ModelStore = Annotated[
    str | None,
    typer.Option("--model-store", metavar="FOLDER_OR_URL", help="Where artifacts lie [FRESHET_MODEL_STORE]."),
]
ModelName = Annotated[
    str | None, typer.Option("--model-name", help="Which model of the store [FRESHET_MODEL_NAME].")
]
HttpPort = Annotated[
    int | None, typer.Option("--http-port", help="HTTP port; 0: any free one [FRESHET_HTTP_PORT].")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any setting, by its name without FRESHET_, such as --set list_size=10; can be repeated.",
    ),
]
Report = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write the figures there as JSON.")
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="FIELD=COLUMN,...",
        help="Which column holds which field, such as user_id=SessionId,item_id=ItemId,timestamp=Time.",
    ),
]
TimeUnitOption = Annotated[
    TimeUnit | None,
    typer.Option("--time-unit", help="Unit of whole-number times in the file: s or ms."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything that is drawn.")]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="Events: Tianchi mobile, Taobao UserBehavior, or any CSV, TSV or Parquet with --columns.",
    ),
]


def load_settings(assignments: Sequence[str] | None = None, /, **options: Any) -> "Settings":
    """Make the settings of a command: its options first, then ``--set``, then the environment."""
    from stream.settings import Settings

    overrides: dict[str, Any] = {}
    for assignment in assignments or ():
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {assignment!r} is not NAME=VALUE")
        overrides[name.strip().lower().removeprefix("freshet_")] = value
    overrides.update((name, value) for name, value in options.items() if value is not None)
    return Settings.load(**overrides)


def parse_columns(columns: str | None) -> dict[str, str] | None:
    """Read ``--columns``: field to column name, whose meaning is up to the reader of the file.

    Raises ``UsageError`` naming what is wrong.
    """
    if columns is None:
        return None
    mapping: dict[str, str] = {}
    for pair in columns.split(","):
        field, equals, column = (part.strip() for part in pair.partition("="))
        if not field or not equals or not column:
            raise UsageError(f"--columns has {pair!r}, which is not FIELD=COLUMN")
        if field in mapping:
            raise UsageError(f"--columns names the field {field!r} twice")
        mapping[field] = column
    return mapping
