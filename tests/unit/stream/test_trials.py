"""Trials of challengers: who begins one, how it ends, and what is left of it."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest

from models.canary import Canary, role_of
from stream import models_topic, retrain_clock, trials
from stream.cli.main import run
from stream.errors import FreshetError
from stream.hearing import NOTES, Hearing
from stream.messages import CanaryTrial, decode_manifest
from stream.model_store import ModelStore, Origin
from stream.retrain_clock import Clock, run_on
from stream.retrain_job import Kind, Run
from stream.weights import terms_of
from tests.support.retrain_process import BEGIN_MS, FileTopic, Shop, circling

NEW_MS = BEGIN_MS + 100_000

Captured = pytest.CaptureFixture[str]


class Listening:
    """A shop whose users' events are made up: a hearing without topics."""

    def __init__(self, shop: Shop) -> None:
        """Begin with nobody having done anything."""
        self.shop = shop
        self.worth = {"champion": 0.0, "challenger": 0.0}
        self.users = 0
        shop.hear = self.hear

    def come(self, users: int, *, champion: float, challenger: float) -> None:
        """Let users do things that these reciprocal ranks come of."""
        self.users, self.worth = users, {"champion": champion, "challenger": challenger}

    def hear(self, settings, trial) -> "Heard":
        """Listen to a trial."""
        return Heard(self, settings, trial)


class Heard(Hearing):
    """What was observed of a trial, all of it at each look."""

    def __init__(self, listening: Listening, settings, trial) -> None:
        """Take whom to listen to."""
        super().__init__(settings, trial)
        self._listening = listening

    async def look(self) -> Canary:
        """Observe all that came."""
        canary = Canary(terms_of(self.trial))
        for number in range(self._listening.users):
            user = f"u{number}"
            for _ in range(canary.config.events):
                canary.observe(user, self._listening.worth[role_of(user, canary.config)])
        self._judge.canary = canary
        self._write()
        return canary


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop with a canary of a fifth of the users, and a first model."""
    shop = Shop(tmp_path, canary_share=0.2, canary_most_pairs=400, retrain_least_users=10)
    asyncio.run(shop.job().run())
    return shop


@pytest.fixture
def listening(shop: Shop) -> Listening:
    """Its users."""
    return Listening(shop)


def begun(shop: Shop) -> Run:
    """Let better things come and a challenger be trained, which the gate lets pass; returns the run."""
    shop.come(pl.concat([circling(NEW_MS + 10_000 * round_, step=5) for round_ in range(4)]))
    return asyncio.run(shop.job().run("full"))


def looked(shop: Shop) -> Run:
    """A run while a challenger is on trial."""
    return asyncio.run(shop.job().run())


def in_force(shop: Shop) -> str:
    """The version that is announced."""
    return asyncio.run(shop.announced()).version


def test_a_challenger_that_passed_the_gate_goes_on_trial_first(shop: Shop, listening: Listening) -> None:
    """With the terms of the settings and where its lists begin; what is in force stays so."""
    first = in_force(shop)
    done = begun(shop)
    assert (done.outcome, done.version, done.champion) == ("trial", None, first)
    assert done.verdict.promoted
    assert in_force(shop) == first
    trial = asyncio.run(shop.on_trial())
    assert (trial.challenger.version, trial.champion) == (done.trial, first)
    assert (trial.share, trial.events, trial.most_pairs) == (0.2, 5, 400)
    assert trial.ends_at - trial.challenger.announced_at == 7 * 86_400_000
    assert trial.begins["events.cart"] == trial.begins["recommendations"] == [7, 5]
    assert shop.counted("trial") == 1
    store = ModelStore(shop.settings)
    assert Origin.of(store.manifest(done.trial)).parent == first


def test_nothing_is_made_while_a_trial_is_on(shop: Shop, listening: Listening) -> None:
    """A run is a look then, a light one uncounted; the figures are shown by role."""
    tried = begun(shop).trial
    shop.come(circling(NEW_MS + 90_000, n_items=14))
    listening.come(40, champion=0.25, challenger=0.5)
    done = looked(shop)
    assert (done.outcome, done.trial, done.version) == ("trial", tried, None)
    assert done.reason.startswith("undecided: live MRR 0.5000 against 0.2500")
    assert asyncio.run(shop.job().run("light")).outcome == "no_data"
    assert len(ModelStore(shop.settings).versions()) == 2
    assert (shop.counted("trial"), shop.counted("no_data")) == (2, 0)
    for role, mrr in (("champion", 0.25), ("challenger", 0.5)):
        labels = {"role": role, "metric": "live_mrr"}
        assert shop.registry.get_sample_value("freshet_model_quality", labels) == mrr


def test_a_better_challenger_is_promoted(shop: Shop, listening: Listening) -> None:
    """Announced as any weights are; a roll-back goes to what it replaced."""
    first, tried = in_force(shop), begun(shop).trial
    listening.come(900, champion=0.2, challenger=0.6)
    done = looked(shop)
    assert (done.outcome, done.version, done.champion) == ("promoted", tried, first)
    assert done.reason.startswith("better: live MRR 0.6000 against 0.2000")
    assert in_force(shop) == tried
    assert asyncio.run(shop.on_trial()) is None
    assert shop.counted("promoted") == 2
    store = ModelStore(shop.settings)
    assert store.before(asyncio.run(shop.announced())) == first
    assert store.trial(tried) == done.live
    assert done.live["challenger"]["mrr"] == pytest.approx(0.6)
    assert not (store.folder / NOTES).exists()
    assert looked(shop).trial is None


@pytest.mark.parametrize(
    ("worth", "reason"),
    [
        ({"champion": 0.6, "challenger": 0.2}, "worse"),
        ({"champion": 0.3, "challenger": 0.3}, "not better"),
    ],
)
def test_one_that_is_not_better_is_rolled_back_and_kept_with_its_figures(
    shop: Shop, listening: Listening, worth: dict[str, float], reason: str
) -> None:
    """Worse early, as good after the most pairs; it is listed among the refused."""
    first, tried = in_force(shop), begun(shop).trial
    listening.come(4000, **worth)
    done = looked(shop)
    assert (done.outcome, done.version, done.trial) == ("refused", None, tried)
    assert done.reason.startswith(f"{reason}: live MRR")
    assert (in_force(shop), asyncio.run(shop.on_trial())) == (first, None)
    assert shop.counted("refused") == 1
    store = ModelStore(shop.settings)
    assert store.refused(tried)
    assert store.trial(tried)["words"] == done.reason


def test_a_trial_that_comes_to_nothing_ends_in_time(
    shop: Shop, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shop where little happens would otherwise keep its weights for ever."""
    begun(shop)
    monkeypatch.setattr(trials, "now_ms", lambda: 2**41)
    done = looked(shop)
    assert (done.outcome, done.reason.split(":")[0]) == ("refused", "not better in time")
    assert asyncio.run(shop.on_trial()) is None


def test_a_trial_is_overtaken_by_other_weights(shop: Shop, listening: Listening) -> None:
    """Somebody trained anew: there is nothing left to compare with, and nothing is said of the challenger."""
    first, tried = in_force(shop), begun(shop).trial
    other = msgspec.structs.replace(asyncio.run(shop.announced()), version="another")
    asyncio.run(shop.announce(other))
    done = looked(shop)
    assert (done.outcome, done.version) == ("refused", None)
    assert done.reason == f"another is in force instead of {first}, which it was compared with"
    assert asyncio.run(shop.on_trial()) is None
    assert not ModelStore(shop.settings).refused(tried)


def test_a_trial_that_was_moved_to_other_topics_ends(shop: Shop, listening: Listening) -> None:
    """With everything else, for another partition count: its offsets are those of the old ones."""
    begun(shop)
    trial = asyncio.run(shop.on_trial())
    begins = {f"old.{topic}": offsets for topic, offsets in trial.begins.items()}
    asyncio.run(shop.try_out(msgspec.structs.replace(trial, begins=begins)))
    done = looked(shop)
    assert (done.outcome, done.reason.split(":")[0]) == (
        "refused",
        "its lists and events are in other topics",
    )
    assert asyncio.run(shop.on_trial()) is None


@pytest.mark.parametrize("kind", ["full", "light"])
def test_what_a_person_does_while_weights_are_made_stands(
    shop: Shop, listening: Listening, kind: Kind
) -> None:
    """What the run made is not announced, since it was made from weights no longer in force, or tried out."""
    begun(shop)
    trial = asyncio.run(shop.on_trial())
    asyncio.run(shop.try_out(None))
    shop.come(circling(NEW_MS + 90_000))
    plain = shop.read

    async def meanwhile():
        await shop.try_out(trial)
        return await plain()

    shop.read = meanwhile
    with pytest.raises(FreshetError, match=f"in force meanwhile, and {trial.challenger.version} on trial"):
        asyncio.run(shop.job().run(kind))
    assert asyncio.run(shop.on_trial()) == trial
    assert in_force(shop) == trial.champion


@pytest.mark.parametrize("point", ["announce", "try_out"])
def test_a_judge_killed_while_it_promotes_ends_in_the_same(
    shop: Shop, listening: Listening, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Before the announcement and after it: the next look goes on, whatever has come since."""
    tried = begun(shop).trial
    listening.come(900, champion=0.2, challenger=0.6)

    async def fail(*_: object) -> None:
        raise FreshetError("the broker went away")

    with monkeypatch.context() as broken:
        broken.setattr(shop, point, fail)
        with pytest.raises(FreshetError, match="went away"):
            looked(shop)
    assert asyncio.run(shop.on_trial()) is not None
    if point == "try_out":
        # It is in force: that stands, also where what was observed is lost.
        listening.come(0, champion=0.0, challenger=0.0)
    assert looked(shop).outcome == "promoted"
    assert (in_force(shop), asyncio.run(shop.on_trial())) == (tried, None)


def test_a_process_looks_on_from_when_it_has_the_turn(
    shop: Shop, listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though no run is due for an hour; until it has the turn it does nothing."""
    tried = begun(shop).trial
    listening.come(900, champion=0.2, challenger=0.6)
    monkeypatch.setattr(retrain_clock, "LOOK_S", 0.01)
    asked: list[str] = []

    def mine() -> bool:
        asked.append(decode_manifest(shop.topic.read_bytes()).version)
        return len(asked) > 3

    async def main() -> None:
        clock, stopping = Clock(shop.settings, now_s=time.monotonic()), asyncio.Event()
        clock.began(None, time.monotonic())
        plain = shop.try_out

        async def ended(trial: CanaryTrial | None) -> None:
            await plain(trial)
            stopping.set()

        shop.try_out = ended
        async with asyncio.timeout(60):
            await run_on(shop.job(), clock, stopping, mine)

    first = in_force(shop)
    asyncio.run(main())
    assert asked == [first] * 4
    assert in_force(shop) == tried


# By hand.


@pytest.fixture
def commands(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop with a second model, to the commands too; nothing is on trial."""
    begun(shop)
    asyncio.run(shop.try_out(None))
    monkeypatch.setenv("FRESHET_MODEL_STORE", shop.settings.model_store)
    monkeypatch.setenv("FRESHET_MODEL_NAME", "shop")
    monkeypatch.setattr(models_topic, "ModelsTopic", lambda _: FileTopic(shop))
    return shop


def versions(shop: Shop) -> tuple[str, str]:
    """The one in force, and the other."""
    now = in_force(shop)
    (other,) = set(ModelStore(shop.settings).versions()) - {now}
    return now, other


def roles(capsys: Captured) -> dict[str, str]:
    """The role of each version, as they are listed."""
    capsys.readouterr()
    assert run(["models", "list", "--json"]) == 0
    return {one["version"]: one["role"] for one in json.loads(capsys.readouterr().out)}


def test_a_person_puts_a_kept_artifact_on_trial_and_ends_it(commands: Shop, capsys: Captured) -> None:
    """A tenth of the users where the settings say nothing; it is marked in the list."""
    now, other = versions(commands)
    assert run(["models", "canary", other]) == 0
    assert capsys.readouterr().out == (
        f"{other} serves 0.1 of the users, announced on models; {now} serves the others\n"
    )
    assert roles(capsys) == {now: "in force", other: "on trial"}
    assert run(["models", "canary", "--end"]) == 0
    assert capsys.readouterr().out == f"the trial of {other} has ended, undecided\n"
    assert roles(capsys) == {now: "in force", other: "earlier"}
    assert run(["models", "canary", "--end"]) == 0
    assert capsys.readouterr().out == "no trial was on\n"


def test_what_was_observed_goes_with_a_trial_that_a_person_ends(commands: Shop) -> None:
    """At the job's next look."""
    run(["models", "canary", versions(commands)[1]])
    Listening(commands).come(40, champion=0.3, challenger=0.3)
    looked(commands)
    notes = ModelStore(commands.settings).folder / NOTES
    assert notes.exists()
    run(["models", "canary", "--end"])
    asyncio.run(commands.job().look())
    assert not notes.exists()


def test_the_share_is_that_of_the_option(commands: Shop) -> None:
    """Or of the settings."""
    assert run(["models", "canary", versions(commands)[1], "--share", "0.25"]) == 0
    assert asyncio.run(commands.on_trial()).share == 0.25


@pytest.mark.parametrize(
    ("words", "status", "named"),
    [
        (lambda now, other: ["nothing"], 1, "there is no model nothing"),
        (lambda now, other: [now], 1, "is in force; put another version on trial"),
        (lambda now, other: [], 2, "give VERSION"),
        (lambda now, other: [other, "--end"], 2, "give VERSION"),
        (lambda now, other: [other, "--share", "0.7"], 2, "less than or equal to 0.5"),
    ],
)
def test_a_trial_that_makes_no_sense_is_refused(
    commands: Shop, capsys: Captured, words: Callable[[str, str], list[str]], status: int, named: str
) -> None:
    """In one line, and nothing is announced."""
    assert run(["models", "canary", *words(*versions(commands))]) == status
    assert named in capsys.readouterr().err
    assert asyncio.run(commands.on_trial()) is None


def test_a_second_trial_waits_for_the_first(commands: Shop, capsys: Captured) -> None:
    """The line says how to end that one."""
    _, other = versions(commands)
    run(["models", "canary", other])
    assert run(["models", "canary", other]) == 1
    assert f"{other} is on trial; wait for its end, or end it with" in capsys.readouterr().err


def test_a_corrupt_artifact_is_not_put_on_trial(commands: Shop, capsys: Captured) -> None:
    """It is loaded first as a worker would."""
    _, other = versions(commands)
    (ModelStore(commands.settings).folder / other / "weights.safetensors").write_bytes(b"?")
    assert run(["models", "canary", other]) == 1
    assert "weights.safetensors is damaged" in capsys.readouterr().err
    assert asyncio.run(commands.on_trial()) is None


def test_a_promotion_and_a_roll_back_by_hand_end_the_trial(commands: Shop, capsys: Captured) -> None:
    """What it was compared with is no longer in force."""
    now, other = versions(commands)
    run(["models", "canary", other])
    capsys.readouterr()
    assert run(["models", "promote", other]) == 0
    assert capsys.readouterr().out == (
        f"announced {other} on models; {now} was in force before\nthe trial of {other} has ended, undecided\n"
    )
    run(["models", "canary", now])
    capsys.readouterr()
    assert run(["models", "rollback"]) == 0
    assert f"the trial of {now} has ended, undecided\n" in capsys.readouterr().out
    assert asyncio.run(commands.on_trial()) is None


def test_who_lost_a_trial_is_listed_with_its_figures_and_can_be_promoted(
    commands: Shop, capsys: Captured
) -> None:
    """Refused, for a person to overrule, who is told."""
    now, other = versions(commands)
    run(["models", "canary", other])
    Listening(commands).come(4000, champion=0.6, challenger=0.2)
    words = looked(commands).reason
    assert roles(capsys) == {now: "in force", other: "refused"}
    assert run(["models", "list"]) == 0
    assert words in capsys.readouterr().out
    assert run(["models", "show", other]) == 0
    assert "trial.champion.mrr" in capsys.readouterr().out
    assert run(["models", "promote", other]) == 0
    assert words in capsys.readouterr().err
    assert in_force(commands) == other
