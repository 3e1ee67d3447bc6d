"""Figure 5 as a file."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from models.quality import CATEGORY, ITEM, Quality
from models.summary import Run
from stream.chart import draw
from stream.errors import FreshetError

RUNS = [
    Run(system, 1, None, [Quality(ITEM, 20, hit, 0.2, 0.3, 1.0), Quality(CATEGORY, 20, math.nan)], {}, 0, 0)
    for system, hit in (("item-cf", 0.25), ("gru", 0.5))
]


def _panels(path: Path) -> int:
    """How many axes an SVG of matplotlib's holds."""
    root = ET.parse(path).getroot()
    return sum(str(element.get("id", "")).startswith("axes_") for element in root.iter())


def test_svg_holds_a_panel_of_the_paper_and_one_of_each_level(tmp_path: Path) -> None:
    """What was not measured is drawn as nothing and breaks nothing."""
    draw(tmp_path / "figure.svg", RUNS, 20)
    assert _panels(tmp_path / "figure.svg") == 3


def test_same_figures_give_the_same_file(tmp_path: Path) -> None:
    """No date stands in it, so that a chart in a repository changes only with its figures."""
    for name in ("a.svg", "b.svg"):
        draw(tmp_path / name, RUNS, 20)
    first, second = ((tmp_path / name).read_text() for name in ("a.svg", "b.svg"))
    assert first == second


def test_png_by_its_name(tmp_path: Path) -> None:
    """The ending decides, whatever its case."""
    draw(tmp_path / "figure.PNG", RUNS, 20)
    assert (tmp_path / "figure.PNG").read_bytes().startswith(b"\x89PNG")


def test_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """The file is named, and what to do."""
    with pytest.raises(FreshetError, match=r"cannot write the chart .*no such file.*--chart"):
        draw(tmp_path / "absent" / "figure.svg", RUNS, 20)
