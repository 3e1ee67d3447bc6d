"""Results as Markdown."""

from pathlib import Path

import pytest

from stream.errors import FreshetError
from stream.markdown import grid, page, write
from stream.results import Table


def test_page_holds_command_conditions_chart_and_tables() -> None:
    """In this order, with an empty line between them."""
    table = Table("Next events", ("system", "HR@20"), [("gru", "0.7057")])
    assert page("freshet evaluate FILE", ["split: as given"], [table], Path("figure.svg")) == (
        "```\nfreshet evaluate FILE\n```\n\n- split: as given\n\n![the paper's four metrics](figure.svg)\n\n"
        "Next events:\n\n| system | HR@20 |\n| --- | --- |\n| gru | 0.7057 |\n"
    )


def test_bar_in_a_cell_does_not_end_it() -> None:
    """It is escaped."""
    assert grid(("a",), [("x|y",)]).endswith("| x\\|y |")


def test_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """The file is named, and what to do."""
    with pytest.raises(FreshetError, match=r"cannot write the page .*no such file.*--markdown"):
        write(tmp_path / "absent" / "page.md", "")
