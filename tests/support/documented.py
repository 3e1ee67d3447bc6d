"""Every block of command lines of the pages that a person types from, and what runs it.

`python -m tests.support.documented` prints the list. A test goes through the pages: a block that is not here
is an error, and so is a line here that is of no block, or names a test that there is not.
"""

from typing import Final, NamedTuple

from tests.support.documents import Block, command_blocks
from tests.support.kafka_broker import PROJECT

PAGES: Final = (
    PROJECT / "README.md",
    PROJECT / "docs" / "tutorial.md",
    *sorted((PROJECT / "docs" / "how-to").glob("*.md")),
    PROJECT / "docs" / "clients" / "README.md",
)


class RunBy(NamedTuple):
    """A test types the block's lines; ``but`` says what it types otherwise, names and ports apart."""

    test: str
    but: str = ""


class NotRun(NamedTuple):
    """No test types the block, for a reason; ``beside`` is a test of the same commands, if there is one."""

    why: str
    beside: str = ""


OWN_KAFKA: Final = "tests/integration/test_readme_by_hand.py::test_own_kafka_as_the_readme_says"
KEYS: Final = "tests/integration/test_readme_by_hand.py::test_keys_that_the_readme_makes_sign"
RESULTS: Final = "tests/integration/test_readme_results.py::test_figures_are_those_of_the_readme"
TUTORIAL: Final = "tests/integration/test_tutorial_by_hand.py::test_tutorial_from_its_first_line_to_its_last"
CLIENTS: Final = "tests/integration/test_clients.py::test_event_that_is_sent_comes_back_as_a_list"

BLOCKS: Final[dict[tuple[str, str], RunBy | NotRun]] = {
    ("README.md", "freshet evaluate --train train_full.tsv.xz"): RunBy(
        RESULTS, "with popularity and item CF alone, and one seed"
    ),
    ("README.md", "make demo"): NotRun(
        "one trains for minutes, and the other is the run that asks",
        beside="tests/browser/test_live_page.py::test_the_figures_are_those_of_the_metrics",
    ),
    ("README.md", ". .venv/bin/activate"): RunBy(OWN_KAFKA),
    ("README.md", "kcat -b $FRESHET_BROKERS"): RunBy(OWN_KAFKA, "Kafka's own consumer is interrupted"),
    ("README.md", "curl localhost:6066/recommendations/USER"): RunBy(OWN_KAFKA),
    ("README.md", "freshet models list"): RunBy(OWN_KAFKA),
    ("README.md", "freshet models canary VERSION"): NotRun(
        "a trial is decided by the events of many users",
        beside="tests/integration/test_canary.py::test_a_better_challenger_is_promoted",
    ),
    ("README.md", "make stress TESTS=tests/stress/test_flood.py"): NotRun(
        "ten million users take half an hour",
        beside="tests/stress/test_flood.py::test_memory_is_bounded_and_nobody_is_lost",
    ),
    ("README.md", "freshet evaluate taobao_userbehavior_100k.csv.xz"): RunBy(
        RESULTS, "with popularity and item CF alone, and one seed"
    ),
    ("README.md", "openssl genpkey"): RunBy(KEYS),
    ("README.md", "docker compose up --build"): NotRun(
        "needs a Docker engine",
        beside="tests/integration/test_compose_by_hand.py::test_services_started_by_hand_serve_and_retrain",
    ),
    ("README.md", "freshet topics --repartition 16"): NotRun(
        "moves a deployment in use, in four steps with other processes between them",
        beside="tests/integration/test_repartition.py::test_nothing_is_lost_on_the_way",
    ),
    ("docs/tutorial.md", 'make demo DEMO="--events 2000"'): NotRun(
        "trains for a minute or two",
        beside="tests/browser/test_live_page.py::test_the_terminal_says_what_the_tutorial_shows",
    ),
    ("docs/tutorial.md", ". .venv/bin/activate"): RunBy(TUTORIAL),
    ("docs/tutorial.md", "make kafka"): NotRun(
        "asks a repository for Kafka's jars; the tests run those there are", beside=TUTORIAL
    ),
    ("docs/tutorial.md", "export KAFKA_HOME"): RunBy(TUTORIAL),
    ("docs/tutorial.md", "xzcat ops/docker/shop.csv.xz"): RunBy(TUTORIAL),
    ("docs/tutorial.md", "columns=user_id=customer"): RunBy(TUTORIAL),
    ("docs/tutorial.md", "freshet train past.csv"): RunBy(TUTORIAL),
    ("docs/tutorial.md", "freshet replay today.csv"): RunBy(TUTORIAL),
    ("docs/tutorial.md", "curl -s localhost:6066/recommendations/u00008"): RunBy(TUTORIAL),
    ("docs/tutorial.md", "python docs/clients/send_event.py"): RunBy(TUTORIAL),
    ("docs/tutorial.md", "best=$(curl"): RunBy(TUTORIAL),
    ("docs/tutorial.md", "curl -s localhost:6066/metrics"): RunBy(TUTORIAL),
    ("docs/tutorial.md", "freshet retrain --once"): RunBy(TUTORIAL),
    ("docs/how-to/map-a-file.md", "freshet train shop.csv"): RunBy(TUTORIAL),
    ("docs/tutorial.md", "kill $worker"): RunBy(TUTORIAL),
    ("docs/how-to/erase-a-user.md", "freshet forget USER"): RunBy(OWN_KAFKA),
    ("docs/how-to/keep-users-on-disk.md", "export FRESHET_MODEL_STORE"): NotRun(
        "the folders are those of a machine",
        beside="tests/integration/test_disk.py::test_worker_goes_on_from_its_disk_and_reads_next_to_nothing",
    ),
    ("docs/how-to/redrive-dead-letters.md", "freshet dead-letters list"): RunBy(OWN_KAFKA),
    ("docs/how-to/redrive-dead-letters.md", "freshet dead-letters redrive"): RunBy(OWN_KAFKA),
    ("docs/how-to/roll-back-weights.md", "freshet models list"): RunBy(OWN_KAFKA),
    ("docs/how-to/run-several-workers.md", "FRESHET_GROUP_INSTANCE_ID=worker-1"): NotRun(
        "shows a setting of one worker of several",
        beside="tests/integration/test_standby.py::test_standby_takes_over_with_what_it_has",
    ),
    ("docs/how-to/secure-kafka.md", "export FRESHET_BROKERS"): NotRun(
        "the hosts and files are those of a cluster",
        beside="tests/integration/test_security.py::test_whole_deployment_works_and_tells_no_secret",
    ),
    ("docs/clients/README.md", "python docs/clients/send_event.py"): RunBy(CLIENTS),
    ("docs/clients/README.md", "java -cp"): RunBy(CLIENTS),
    ("docs/clients/README.md", 'echo "ada|'): RunBy(CLIENTS),
}
"""By the page and what the block begins with, in the order in which a test types them."""


def how(block: Block) -> RunBy | NotRun | None:
    """Return what runs a block; None where nobody has said."""
    found = [
        way for (page, begins), way in BLOCKS.items() if page == block.page and block.text.startswith(begins)
    ]
    return found[0] if len(found) == 1 else None


def run_by(test: str) -> list[Block]:
    """Return the blocks that a test types, in the order of ``BLOCKS``."""
    every = [block for page in PAGES for block in command_blocks(page)]
    return [
        next(block for block in every if block.page == page and block.text.startswith(begins))
        for (page, begins), way in BLOCKS.items()
        if isinstance(way, RunBy) and way.test == test
    ]


def lines() -> list[str]:
    """Return the list for a person: a line for each block of the pages, in their order."""
    told = []
    for page in PAGES:
        for block in command_blocks(page):
            way = how(block)
            if isinstance(way, RunBy):
                words = f"run by {way.test}" + (f" ({way.but})" if way.but else "")
            elif isinstance(way, NotRun):
                words = f"not run: {way.why}" + (f"; beside it {way.beside}" if way.beside else "")
            else:
                words = "NOBODY HAS SAID WHAT RUNS IT"
            first, _, more = block.text.strip().partition("\n")
            ending = f" (and {len(more.splitlines())} more lines)" if more else ""
            told.append(f"{block.page}, {block.heading}: {first}{ending}\n    {words}")
    return told


if __name__ == "__main__":
    print("\n".join(lines()))
