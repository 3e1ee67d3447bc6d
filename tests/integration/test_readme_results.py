"""The README's commands that compare systems, and the figures it prints under them."""

import json
import re
import shlex
from pathlib import Path

import pytest

from stream.cli.main import run
from tests.support.documented import RESULTS, run_by
from tests.support.kafka_broker import PROJECT

#: The rows of the tables that learn without a network: in seconds, and the same with every seed.
QUICK = {"popularity": "popularity", "item CF": "item-cf"}
RSC15, TAOBAO = run_by(RESULTS)


def arguments(line: str, data: Path, report: Path) -> list[str]:
    """Return the line's words, with the quick systems alone, one seed, and the files where they lie."""
    (program, *words) = shlex.split(line)
    assert program == "freshet"
    systems = words.index("--systems") + 1
    words[systems] = ",".join(name for name in words[systems].split(",") if name in QUICK.values())
    words[words.index("--seeds") + 1] = "1"
    return [str(next(data.rglob(word), word)) if ".xz" in word else word for word in words] + [
        "--report",
        str(report),
    ]


def rows(after: str) -> dict[str, list[float]]:
    """Return the table that follows a text of the README: each quick system's figures."""
    text = (PROJECT / "README.md").read_text().partition(after)[2]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    cells = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table[0].splitlines()[2:]]
    return {QUICK[name]: [float(figure) for figure in figures] for name, *figures in cells if name in QUICK}


@pytest.mark.parametrize(
    ("block", "after", "columns"),
    [
        (RSC15, "\n## Results\n", [("item", "prediction_accuracy"), ("item", "mrr"), ("item", "ndcg")]),
        (
            TAOBAO,
            "--systems category-popularity",
            [(level, figure) for level in ("item", "category") for figure in ("prediction_accuracy", "mrr")],
        ),
    ],
    ids=["rsc15", "taobao"],
)
def test_figures_are_those_of_the_readme(block, after, columns, shared_data: Path, tmp_path: Path):
    """To the last digit that is printed."""
    (line,) = block.commands
    report = tmp_path / "report.json"
    assert run(arguments(line, shared_data, report)) == 0
    measured = {}
    for system in json.loads(report.read_text())["systems"]:
        at_20 = {one["level"]: one for one in system["figures"] if one["cutoff"] == 20}
        measured[system["system"]] = [round(at_20[level][figure], 4) for level, figure in columns]
    assert measured == rows(after) != {}
