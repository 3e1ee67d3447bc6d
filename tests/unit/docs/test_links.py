"""Links of the Markdown files, as the site has them."""

import pytest

from docs.links import readme_pages, relocated, slug


@pytest.mark.parametrize(
    ("file", "link", "on_the_site"),
    [
        ("README.md", "docs/design.md#standbys", "/design.md#standbys"),
        ("README.md", "#what-is-promised", "/explanation/promise.md"),
        ("README.md", "docs/clients", "/clients/README.md"),
        ("README.md", "docker-compose.yml", "/../docker-compose.yml"),
        ("README.md", "ops/runbook.md", "/how-to/runbook.md"),
        ("ops/runbook.md", "#freshetnolists", "/how-to/runbook.md#freshetnolists"),
        ("docs/design.md", "../README.md", "/index.md"),
        ("docs/design.md", "#weights", "/design.md#weights"),
        ("docs/clients/README.md", "../../stream/schemas", "/reference/messages.md"),
        ("docs/how-to/erase-a-user.md", "own-kafka.md", "/how-to/own-kafka.md"),
    ],
)
def test_link_leads_to_a_page_of_the_site_or_to_a_file(file: str, link: str, on_the_site: str):
    """Wherever it stands."""
    assert relocated(f"see [this]({link}).", file) == f"see [this]({on_the_site})."


def test_folder_without_a_page_is_words():
    """The site has nothing to lead to."""
    assert relocated("[ops/k8s](ops/k8s) are manifests", "README.md") == "ops/k8s are manifests"


def test_other_links_stay():
    """Addresses elsewhere, and pictures."""
    text = "[a](https://example.org/b) ![c](d.svg)"
    assert relocated(text, "docs/results.md") == text


def test_section_that_is_on_no_page_is_an_error():
    """So that the site is not built with a link that leads nowhere."""
    with pytest.raises(KeyError, match="no-such-section"):
        relocated("[a](#no-such-section)", "README.md")


def test_sections_of_the_readme_have_their_pages():
    """By the anchor that GitHub gives their headings."""
    assert slug("Differences from the paper") == "differences-from-the-paper"
    assert readme_pages()["users-on-disk"] == "how-to/keep-users-on-disk.md"
