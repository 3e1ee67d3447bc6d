"""What is made of pip-audit's answer."""

from tests.support.vulnerabilities import Audit, read_audit

FOUND = {
    "dependencies": [
        {"name": "sound", "version": "1.0", "vulns": []},
        {"name": "unknown", "skip_reason": "Dependency not found on PyPI"},
        {
            "name": "leaky",
            "version": "2.0",
            "vulns": [
                {"id": "PYSEC-2026-1", "fix_versions": ["2.1", "3.0"], "aliases": [], "description": ""},
                {"id": "PYSEC-2026-2", "fix_versions": [], "aliases": [], "description": ""},
            ],
        },
    ],
    "fixes": [],
}


def test_each_vulnerability_is_named_with_its_remedy():
    """A package nobody knows is not taken for a sound one."""
    assert read_audit(FOUND) == Audit(
        packages=3,
        answered=2,
        known=["leaky 2.0: PYSEC-2026-1, mended in 2.1, 3.0", "leaky 2.0: PYSEC-2026-2, mended in none"],
    )
