"""Logging of a process that runs on: one line an event of its life, variables behind it."""

import logging
import sys
import time

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}

#: Libraries that tell much about themselves, and from which severity on they are heard. What the
#: Kafka client calls an error is mostly a try that failed; what comes of it we say ourselves.
QUIET = {
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "aiokafka": logging.CRITICAL,
    "asyncio": logging.WARNING,
    "aiohttp": logging.WARNING,
}


def without_secrets(record: logging.LogRecord) -> bool:
    """Whether a record may be logged: the Kafka client's account of a login has the password in it."""
    said = record.args if isinstance(record.args, tuple) else ()
    return not any(type(one).__name__.startswith("SaslAuthenticate") for one in said)


def of_consequence(record: logging.LogRecord) -> bool:
    """Whether a record is more than what a part of Faust says of its own start and end ("[^-Tables]: ...").

    They log as the modules of ours that they are defined in, so no level of a logger tells them apart.
    """
    return record.levelno > logging.INFO or not str(record.msg).startswith("[^")


class Line(logging.Formatter):
    """Time, severity, module and message, then the record's own variables as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Put a record in one line; a traceback follows it where there is one."""
        text = super().format(record)
        extra = " ".join(f"{name}={value}" for name, value in vars(record).items() if name not in _PLAIN)
        if not extra:
            return text
        first, newline, rest = text.partition("\n")
        return f"{first} ({extra}){newline}{rest}"


def configure(level: str) -> None:
    """Log to standard error from ``level`` on, in UTC."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = Line("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    if level != "debug":
        handler.addFilter(of_consequence)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("aiokafka.conn").addFilter(without_secrets)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else least)
