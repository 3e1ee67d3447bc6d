"""What a trial is decided by, read from the embedded broker: on and on, and again after a restart."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from models.canary import Canary, role_of
from stream import clients
from stream.embedded import EmbeddedBroker
from stream.errors import FreshetError
from stream.hearing import NOTES, Hearing, forget
from stream.messages import CanaryTrial, EventRef, ListItem, ModelManifest, RecommendationList, encode
from stream.model_store import ModelStore
from stream.models_topic import ModelsTopic
from stream.settings import Settings
from stream.topics import topic_specs
from stream.weights import terms_of

PARTITIONS = 3
USERS = [f"u{number}" for number in range(24)]


class Site:
    """Topics with a trial that begins now; ``serve`` lets every user do something and get a list."""

    def __init__(self, settings: Settings) -> None:
        """Begin the trial."""
        self.settings = settings
        challenger = ModelManifest(
            name="shop", version="new", url="shop/new", sha256="0" * 64, trained_at=1, announced_at=2
        )
        self.trial = CanaryTrial(
            challenger=challenger,
            champion="old",
            salt="salt",
            share=0.5,
            level=0.05,
            alarm=0.05,
            events=2,
            most_pairs=100,
            ends_at=3,
            begins=asyncio.run(ModelsTopic(settings).ends()),
        )
        self.file = ModelStore(settings).folder / NOTES
        self.file.parent.mkdir(parents=True)

    def serve(self) -> None:
        """An event of each user, and its list: the challenger's users find their next item in it."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        producer = clients.producer(self.settings)
        topics = self.settings.topics
        async with clients.running(producer, self.settings):
            for number, user in enumerate(USERS):
                place = number % PARTITIONS
                value = msgspec.json.encode({"user_id": user, "item_id": "a", "timestamp": 1000})
                key = user.encode()
                sent = await producer.send_and_wait(topics.cart, value, key=key, partition=place)
                challenged = role_of(user, terms_of(self.trial)) == "challenger"
                made = RecommendationList(
                    user_id=user,
                    items=[ListItem("a" if challenged else "b", 1.0)],
                    kind="personalized",
                    model_version="new" if challenged else "old",
                    event=EventRef(topics.cart, place, sent.offset, 1000),
                    generated_at=1000,
                )
                await producer.send_and_wait(topics.recommendations, encode(made), key=key, partition=place)

    def hearing(self) -> Hearing:
        """One that has just begun, as after a restart."""
        return Hearing(self.settings, self.trial)


def looked(hearing: Hearing) -> Canary:
    """A look."""
    return asyncio.run(hearing.look())


def events(canary: Canary) -> int:
    """How many events it has observed."""
    return sum(worth.events for worth in canary.worth.values())


@pytest.fixture
def site(embedded: EmbeddedBroker, tmp_path: Path) -> Site:
    """Topics in which something stood before the trial began."""
    settings = Settings.load(
        brokers=embedded.bootstrap,
        model_store=str(tmp_path / "store"),
        model_name="shop",
        partitions=PARTITIONS,
    )
    embedded.create_topics({spec.name: spec.partitions for spec in topic_specs(settings)})
    site = Site(settings)
    site.serve()
    site.trial = msgspec.structs.replace(site.trial, begins=asyncio.run(ModelsTopic(settings).ends()))
    return site


def test_what_came_before_the_trial_is_not_read(site: Site) -> None:
    """The first list of each user after its beginning has none before it."""
    assert sum(site.trial.begins["recommendations"]) == len(USERS)
    site.serve()
    assert events(looked(site.hearing())) == 0


def test_a_look_goes_on_where_the_last_one_ended(site: Site) -> None:
    """Whether they come together or one by one."""
    hearing = site.hearing()
    for number in range(4):
        site.serve()
        assert events(looked(hearing)) == len(USERS) * min(number, 2)
    canary = looked(site.hearing())
    assert canary.worth["challenger"].mrr == 1
    assert canary.worth["champion"].mrr == 0
    assert canary.pairs > 0
    assert canary.as_mapping() == looked(hearing).as_mapping()


def test_a_judge_that_was_killed_goes_on_with_what_it_had_observed(
    site: Site, embedded: EmbeddedBroker
) -> None:
    """Though the lists of the beginning are compacted away, and nobody counts twice."""
    site.serve()
    site.serve()
    assert events(looked(site.hearing())) == len(USERS)
    said = json.loads(site.file.read_text())
    assert USERS[0] not in site.file.read_text()
    # What a reader from the beginning would find is nothing like it.
    site.trial = msgspec.structs.replace(
        site.trial, begins={topic: [2**31] * PARTITIONS for topic in site.trial.begins}
    )
    resumed = site.hearing()
    assert looked(resumed).as_mapping() == said["canary"]
    site.serve()
    # Of the lists before the restart nothing is known any more: they are this one's first.
    assert events(looked(resumed)) == len(USERS)
    site.serve()
    assert events(looked(resumed)) == 2 * len(USERS)
    site.serve()
    assert events(looked(resumed)) == 2 * len(USERS)


def test_another_that_had_the_turn_meanwhile_is_gone_on_from(site: Site) -> None:
    """What this process holds is older than what is written down."""
    one, other = site.hearing(), site.hearing()
    looked(one)
    site.serve()
    site.serve()
    looked(other)
    site.serve()
    looked(other)
    assert looked(one).as_mapping() == looked(other).as_mapping()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"salt": "salt", "canary": 1}'])
def test_notes_that_cannot_be_read_are_made_anew(site: Site, content: bytes, caplog) -> None:
    """From the offsets of the announcement; a line says so."""
    site.serve()
    site.serve()
    looked(site.hearing())
    site.file.write_bytes(content)
    assert events(looked(site.hearing())) == len(USERS)
    assert "it is read anew" in caplog.text


def test_notes_of_another_trial_are_not_gone_on_from(site: Site) -> None:
    """Another draw, other users."""
    site.serve()
    site.serve()
    looked(site.hearing())
    site.trial = msgspec.structs.replace(site.trial, salt="another")
    assert looked(site.hearing()).config.salt == "another"
    assert json.loads(site.file.read_text())["salt"] == "another"


def test_notes_that_cannot_be_written_fail_the_look(site: Site) -> None:
    """In one line that names the setting."""
    site.file.mkdir()
    with pytest.raises(FreshetError, match="set FRESHET_MODEL_STORE to where this process may write"):
        looked(site.hearing())


def test_the_notes_go_with_the_trial(site: Site) -> None:
    """They say who met what."""
    looked(site.hearing())
    assert site.file.exists()
    forget(site.settings)
    assert not site.file.exists()
    forget(site.settings)
