"""Ten million inputs for the decoders, by a seed."""

import os
from pathlib import Path

import pytest

from tests.support.decoders import campaign, decoders

INPUTS = int(os.environ.get("STRESS_INPUTS", "10_000_000"))
SEED = int(os.environ.get("STRESS_SEED", "1"))


@pytest.mark.stress
def test_no_input_of_ten_million_is_more_than_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The promise of tests/properties/test_decoders.py at length; the seed and what came out are printed."""
    done = campaign(decoders(tmp_path), inputs=INPUTS, seed=SEED)
    with capsys.disabled():
        print("", *done.lines(), sep="\n")
