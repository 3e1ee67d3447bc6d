"""Known vulnerabilities of what freshet is installed with: `python -m tests.support.vulnerabilities`.

`pip-audit` asks PyPI about each version of the lock file. Where PyPI does not answer, or is a mirror
without that knowledge, this says so and holds nobody up.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

LOCK = Path(__file__).parents[2] / "requirements.lock"
LIMIT_S = 120


class Audit(NamedTuple):
    """How many packages were asked about, how many answers came, and what they told."""

    packages: int
    answered: int
    known: list[str]


def read_audit(found: dict[str, Any]) -> Audit:
    """Read what pip-audit prints as JSON."""
    packages = found["dependencies"]
    answered = [one for one in packages if "skip_reason" not in one]
    known = [
        f"{one['name']} {one['version']}: {told['id']}, mended in {', '.join(told['fix_versions']) or 'none'}"
        for one in answered
        for told in one["vulns"]
    ]
    return Audit(len(packages), len(answered), known)


def main() -> int:
    """Print what is known; status 1 where that is anything."""
    command = ["--requirement", str(LOCK), "--no-deps", "--disable-pip", "--progress-spinner=off"]
    try:
        asked = subprocess.run(
            [sys.executable, "-m", "pip_audit", *command, "--format=json"],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        audit = read_audit(json.loads(asked.stdout))
    except subprocess.TimeoutExpired:
        print(f"vulnerabilities: not known, PyPI did not answer within {LIMIT_S} s")
        return 0
    except json.JSONDecodeError:
        why = (asked.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        print(f"vulnerabilities: not known: {why}")
        return 0
    known = len(audit.known) if audit.answered else "not"
    print(f"vulnerabilities: {known} known; PyPI told of {audit.answered} of {audit.packages} packages")
    for one in audit.known:
        print(one, file=sys.stderr)
    return bool(audit.known)


if __name__ == "__main__":
    sys.exit(main())
