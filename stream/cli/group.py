"""A command that has commands of its own, such as ``freshet models``."""

from typing import Any

from typer.core import TyperGroup


class Group(TyperGroup):
    """Its help gives the first paragraph on each of its commands, wrapped and not cut off."""

    def summaries(self, ctx: Any) -> list[tuple[str, str]]:
        """Return each command's name, and what is said of it in the group's help."""
        return [
            (name, _first_paragraph(command.help))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None
        ]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(self.summaries(ctx))


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())
