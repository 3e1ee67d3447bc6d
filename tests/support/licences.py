"""Whether everything freshet is installed with may be used: `python -m tests.support.licences`.

Read from the metadata of what is installed: the packages that freshet needs to run, and what these need in
turn. A licence that is not known here is an error, so that a person looks at it once.
"""

import re
import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

ALLOWED = re.compile(
    r"\b(apache|mit|bsd|0bsd|isc|psf|python software foundation|mpl|mozilla public license|zlib|unlicense"
    r"|hpnd|cc0"
    # Of venusian, which Faust needs: a BSD licence with a clause on trademarks.
    r"|repoze public license)\b",
    re.IGNORECASE,
)
REFUSED = re.compile(r"\b([al]?gpl|general public|affero|proprietary|commercial|sspl|busl)", re.IGNORECASE)
"""Words that no licence of ours may have, whatever else it says."""


def needed(root: str = "freshet") -> list[str]:
    """Return the installed distributions that ``root`` needs to run, itself left out."""
    found: set[tuple[str, str]] = set()
    waiting = [(root, "")]
    while waiting:
        parent, extra = waiting.pop()
        for line in metadata.requires(parent) or ():
            wanted = Requirement(line)
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
                continue
            name = re.sub(r"[-_.]+", "-", wanted.name).lower()
            if _is_installed(name):
                asked = {(name, one) for one in ("", *wanted.extras)} - found
                found |= asked
                waiting += asked
    return sorted({name for name, _ in found})


def _is_installed(name: str) -> bool:
    """Whether it is here; a GPU library of another build is not."""
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def licence_of(name: str) -> str:
    """Return what a distribution says of its licence: the SPDX expression, the classifiers, or the field."""
    told = metadata.metadata(name)
    classifiers = [
        one.rsplit(" :: ", 1)[1] for one in told.get_all("Classifier", ()) if one.startswith("License ::")
    ]
    field = (told.get("License") or "").strip().partition("\n")[0]
    return told.get("License-Expression") or ", ".join(classifiers) or field


def is_allowed(licence: str) -> bool:
    """Whether a licence is one of those that let us go on."""
    return REFUSED.search(licence) is None and ALLOWED.search(licence) is not None


def refused() -> Iterator[tuple[str, str]]:
    """Give the distributions whose licence is not allowed, or not told."""
    for name in needed():
        licence = licence_of(name)
        if not is_allowed(licence):
            yield name, licence or "it says none"


def main() -> int:
    """Print the list; status 1 where one is not allowed."""
    for name in needed():
        print(f"{name} {metadata.version(name)}\t{licence_of(name)}")
    found = list(refused())
    for name, licence in found:
        print(f"licence of {name} is not among the allowed: {licence}", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
