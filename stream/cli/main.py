"""The command `freshet`: finds a command's module when it is asked for, and ends with a status.

Exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted. What a person can set right is one
line on standard error; a traceback is a bug of ours.
"""

import logging
import os
import sys
from importlib import import_module, metadata
from typing import Any, Final

import typer
from typer.exceptions import TyperException

from models.errors import ModelsError
from stream.cli import console
from stream.cli.group import Group
from stream.errors import FreshetError

COMMANDS: Final = {
    "demo": "Everything in one process, with no set-up: broker, events, training, worker, lists.",
    "worker": "A stream worker; as many as you like.",
    "train": "Trains on a file or on the topics, writes and announces an artifact.",
    "retrain": "The periodic job; --once for a scheduler.",
    "models": "The artifacts of the model store, and which of them is in force.",
    "evaluate": "Quality figures over a file, side by side.",
    "tune": "The best settings of a system, found on training events.",
    "replay": "A file's events to Kafka, at a chosen multiple of their own pace.",
    "topics": "Makes or checks the topics.",
    "recommend": "A user's list as it stands.",
    "forget": "Erases a user.",
    "dead-letters": "What was refused and why; sends it again.",
}
"""Each command with its line in `freshet --help`; its module has the name with underscores."""

EXAMPLES: Final = {
    "demo": "freshet demo --events 10000 --report demo.json",
    "worker": "freshet worker --brokers localhost:9092 --http-port 6066",
    "train": "freshet train UserBehavior.csv --epochs 10",
    "retrain": "freshet retrain --once --model-store /srv/models",
    "models": "freshet models list --model-store /srv/models",
    "evaluate": "freshet evaluate UserBehavior.csv --systems popularity,item-cf,gru",
    "tune": "freshet tune UserBehavior.csv --system item-cf --best best.json",
    "replay": "freshet replay UserBehavior.csv --speed 1000 --events 20000",
    "topics": "freshet topics --partitions 16 --set replication_factor=3",
    "recommend": "freshet recommend ada --url http://127.0.0.1:6066",
    "forget": "freshet forget ada",
    "dead-letters": "freshet dead-letters list --error not-json",
}
"""A call of each command, shown at the end of its help."""

INTERRUPTED: Final = 130
"""The shell's status for a program that an interrupt (Ctrl-C) ended."""


def epilog(command: str) -> str:
    """Return the end of a command's help: an example, kept on a line of its own."""
    return f"\b\nExample:\n  {EXAMPLES[command]}"


class LazyCommands(Group):
    """Commands whose modules are imported when one is called, not to list them all."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one command; ``None`` for a name that is none."""
        if cmd_name not in COMMANDS:
            return None
        attribute = cmd_name.replace("-", "_")
        command = getattr(import_module(f"stream.cli.{attribute}"), attribute)
        if isinstance(command, typer.Typer):
            command.info.epilog = epilog(cmd_name)
            return typer.main.get_command(command)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(cmd_name, epilog=epilog(cmd_name))(command)
        return typer.main.get_command(alone)

    def summaries(self, ctx: Any) -> list[tuple[str, str]]:
        """Take the lines of the table."""
        return list(COMMANDS.items())


app = typer.Typer(
    cls=LazyCommands,
    name="freshet",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Settings are environment variables FRESHET_...; `freshet --settings` lists them all.",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        console.line(f"freshet {metadata.version('freshet')}")
        raise typer.Exit


def _show_settings(wanted: bool) -> None:
    """Print every setting and end."""
    if wanted:
        from stream.settings import listing

        console.table(("setting", "default", "allowed", "meaning"), listing())
        raise typer.Exit


@app.callback()
def freshet(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_show_version, help="Show the version."
    ),
    settings: bool = typer.Option(
        False, "--settings", is_eager=True, callback=_show_settings, help="List every setting."
    ),
) -> None:
    """Turn each event on Kafka into a fresh recommendation list within milliseconds."""


def main() -> None:
    """Run the command line and end the process with its status."""
    # Without a handler Python prints a library's warnings to standard error, beside our one line.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Run one command and give its exit status, with errors told in one line."""
    try:
        outcome = app(args=arguments, prog_name="freshet", standalone_mode=False)
    except TyperException as error:
        return _wrong_use(error)
    except FreshetError as error:
        console.error(str(error))
        return error.exit_status
    except ModelsError as error:
        console.error(str(error))
        return 1
    except (KeyboardInterrupt, typer.Abort):
        outcome = INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return 0
    if outcome == INTERRUPTED:  # also what Typer makes of an interrupt within a command
        console.error("interrupted")
    return outcome if isinstance(outcome, int) else 0


def _wrong_use(error: TyperException) -> int:
    """Tell a wrong option or argument in one line, with the help that explains it."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "freshet"
    if type(error).__name__ == "NoArgsIsHelpError":
        console.note(error.format_message())
    else:
        console.error(f"{error.format_message().rstrip('.')}; see `{command} --help`")
    return error.exit_code


def _drop_output() -> None:
    """Let nothing be written at exit to a pipe whose reader has gone (such as `head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
