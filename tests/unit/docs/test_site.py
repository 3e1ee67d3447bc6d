"""The site as `make docs` builds it: without a warning, every page in a menu, nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kafka_broker import PROJECT

DOCS = PROJECT / "docs"
LIMIT_S = 180
FROM_ELSEWHERE = re.compile(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]*"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as the Makefile builds it."""
    recipe = re.search(
        r"^docs: .*\n(?:\t.*\n)*\t\$\(BIN\)/python (-m sphinx .*) docs build/docs$",
        (PROJECT / "Makefile").read_text(),
        re.MULTILINE,
    )
    assert recipe is not None
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, *recipe[1].split(), "docs", str(folder)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return folder


def test_every_page_is_built(site: Path):
    """As HTML, under the name of its file."""
    pages = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    assert len(pages) > 25
    assert [page for page in pages if not (site / page).is_file()] == []


def test_nothing_is_fetched_from_another_host(site: Path):
    """No script, style, font or picture: the pages work without a network."""
    for page in site.rglob("*.html"):
        assert FROM_ELSEWHERE.findall(page.read_text()) == [], page
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text()


def test_every_link_between_pages_leads_somewhere(site: Path):
    """To a file that is there, and in a page to an anchor that it has."""
    for page in site.rglob("*.html"):
        for target, anchor in re.findall(r'<a\b[^>]*\bhref="([^":#?]*)(?:#([^"]*))?"', page.read_text()):
            file = (page.parent / target).resolve() if target else page
            assert file.is_file(), f"{page.name} leads to {target}"
            if anchor and file.suffix == ".html":
                assert f'id="{anchor}"' in file.read_text(), f"{page.name} leads to {target}#{anchor}"


def test_parts_of_the_readme_are_on_their_pages(site: Path):
    """The table of rights, the table of faults, and the alerts of the runbook."""
    assert "TransactionalId" in (site / "how-to" / "secure-kafka.html").read_text()
    assert "disk of a worker wiped" in (site / "explanation" / "promise.html").read_text()
    assert "FreshetLagGrowing" in (site / "how-to" / "runbook.html").read_text()
