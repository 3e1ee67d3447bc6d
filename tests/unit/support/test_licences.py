"""The licences of what freshet is installed with."""

import pytest

from tests.support import licences


def test_everything_needed_to_run_may_be_used():
    """All of it, down to what is needed by what is needed, and by the extras that are asked for."""
    assert list(licences.refused()) == []
    assert {"numpy", "torch", "faust-streaming", "venusian", "jinja2", "cramjam"} <= {*licences.needed()}


@pytest.mark.parametrize(
    "licence", ["", "UNKNOWN", "AGPL-3.0", "MIT AND GPL-2.0-only", "Discretionary", "LGPLv3"]
)
def test_unknown_and_infectious_licences_are_refused(licence, monkeypatch, capsys):
    """What no person has looked at fails the check, by its name."""
    monkeypatch.setattr(licences, "needed", lambda: ["pytest"])
    monkeypatch.setattr(licences, "licence_of", lambda name: licence)
    assert licences.main() == 1
    assert "licence of pytest" in capsys.readouterr().err
