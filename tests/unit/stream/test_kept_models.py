"""`freshet models`: what is kept, what it says of itself, and which of it is put in force."""

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from models import artifact
from models.gate import Standing, Verdict
from models.segment import SegmentRule
from stream import models_topic, weights
from stream.cli.main import run
from stream.model_store import ModelStore, Origin
from stream.settings import Settings
from tests.support.recommenders import small_recommender
from tests.support.retrain_process import FileTopic, Shop

RULE = Settings.load().segment_rule
BETTER = Verdict(
    "better", Standing(0.2, 0.4, 1.0, 0.0, 0.001), Standing(0.3, 0.5, 0.9, 0.1, 0.002), 0.1, 0.05, 99, 30
)
WORSE = replace(BETTER, reason="not better", gain_low=-0.02)
WORSE_WORDS = "not better: MRR 0.3000 against 0.2000, at least -0.0200, 99 events of 30 users"

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose models topic is a file, to the commands too."""
    shop = Shop(tmp_path)
    monkeypatch.setenv("FRESHET_MODEL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FRESHET_MODEL_NAME", "shop")
    monkeypatch.setattr(models_topic, "ModelsTopic", lambda _: FileTopic(shop))
    return shop


def save(shop: Shop, seed: int, origin: Origin | None, *, rule: SegmentRule = RULE) -> str:
    """Save an artifact, whose version tells its age by the seed; returns the version."""
    recommender = small_recommender(seed=seed, rule=rule)
    version = recommender.version
    folder = ModelStore(shop.settings).folder / version
    said = None if origin is None else origin.as_mapping()
    artifact.save(folder, recommender, training={"seed": 7}, metrics={"recall": float("nan")}, origin=said)
    return version


def put_in_force(shop: Shop, version: str) -> None:
    """Announce a version as the job does."""
    asyncio.run(shop.announce(ModelStore(shop.settings).announcement(version, announced_at_ms=1)))


@pytest.fixture
def four(shop: Shop) -> Shop:
    """A first model of an older freshet, one that was better, its light refresh, and one that was refused.

    The one that was better is in force.
    """
    save(shop, 0, None)
    save(
        shop,
        1,
        Origin(
            "warm",
            "gru-1",
            before="gru-0",
            parent="gru-0",
            until_ms=1_699_999_999_000,
            source="topics",
            offsets={"events.click": [12, 14]},
            held_back=120,
            settings={"retrain_level": 0.05},
            verdict=BETTER.as_report(),
        ),
    )
    save(shop, 2, Origin("light", "gru-1", before="gru-0", parent="gru-1"))
    save(shop, 3, Origin("warm", "gru-3", before="gru-1", parent="gru-1", verdict=WORSE.as_report()))
    put_in_force(shop, "gru-1")
    return shop


def in_force(shop: Shop) -> str | None:
    """The version that is announced."""
    manifest = asyncio.run(shop.announced())
    return None if manifest is None else manifest.version


def lines_of(capsys: Captured) -> list[list[str]]:
    """What a table in a pipe printed, in cells."""
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


# List.


def test_list_is_a_line_for_each_newest_first(four: Shop, capsys: Captured) -> None:
    """With its role, the gate's figures and the parent."""
    assert run(["models", "list"]) == 0
    better = "better: MRR 0.3000 against 0.2000, at least +0.0500, 99 events of 30 users"
    trained = "2023-11-14T22:13:20Z"
    assert lines_of(capsys) == [
        ["version", "trained", "kind", "role", "parent", "gate"],
        ["gru-3", trained, "warm", "refused", "gru-1", WORSE_WORDS],
        ["gru-2", trained, "light", "earlier", "gru-1", ""],
        ["gru-1", trained, "warm", "in force", "gru-0", better],
        ["gru-0", trained, "full", "earlier", "", ""],
    ]


def test_on_a_terminal_a_line_is_whole_however_narrow_it_is(
    four: Shop, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions are there to be copied."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    assert run(["models", "list"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1] == f"gru-3    2023-11-14T22:13:20Z  warm   refused   gru-1   {WORSE_WORDS}"
    assert told[4] == "gru-0    2023-11-14T22:13:20Z  full   earlier"


def test_list_as_json_has_the_figures_by_name(four: Shop, capsys: Captured) -> None:
    """As the gate measured them; null where it did not look."""
    assert run(["models", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["role"] for one in told] == ["refused", "earlier", "in force", "earlier"]
    assert told[0]["gate"] == WORSE.as_report()
    assert told[1]["gate"] is None
    assert (told[2]["parent"], told[2]["trained_at_ms"]) == ("gru-0", 1_700_000_000_000)


def test_in_force_is_what_is_announced_though_the_gate_refused_it(four: Shop, capsys: Captured) -> None:
    """The figures stay beside it."""
    put_in_force(four, "gru-3")
    assert run(["models", "list"]) == 0
    assert lines_of(capsys)[1][3:] == ["in force", "gru-1", WORSE_WORDS]


def test_an_artifact_that_cannot_be_read_is_listed_with_the_reason(four: Shop, capsys: Captured) -> None:
    """The others are listed all the same."""
    (ModelStore(four.settings).folder / "gru-3" / artifact.MANIFEST).write_text("{")
    assert run(["models", "list"]) == 0
    lines = lines_of(capsys)
    assert "manifest.json cannot be understood" in lines[1][5]
    assert [cells[0] for cells in lines[1:]] == ["gru-3", "gru-2", "gru-1", "gru-0"]


def test_list_says_when_nothing_is_announced_or_what_is_lies_elsewhere(four: Shop, capsys: Captured) -> None:
    """On standard error, beside the list."""
    shutil.rmtree(ModelStore(four.settings).folder / "gru-1")
    assert run(["models", "list"]) == 0
    assert capsys.readouterr().err.startswith("gru-1 is announced, and is not in ")
    four.topic.unlink()
    assert run(["models", "list"]) == 0
    assert capsys.readouterr().err == "nothing is announced for the model shop\n"


def test_pruning_counts_what_was_refused_apart(four: Shop) -> None:
    """Of three others the newest two stay, of two refused the newest."""
    save(four, 4, Origin("warm", "gru-4", before="gru-1", parent="gru-1", verdict=WORSE.as_report()))
    store = ModelStore(four.settings)
    assert store.collect(keep=2, keep_refused=1, needed=()) == ["gru-0", "gru-3"]
    assert store.versions() == ["gru-1", "gru-2", "gru-4"]


# Show.


def test_show_tells_everything_the_manifest_says(four: Shop, capsys: Captured) -> None:
    """Data and offsets, settings, seed, the figures of both, parent and code version, each by its path."""
    assert run(["models", "show", "gru-1"]) == 0
    told = dict(lines_of(capsys))
    assert told["version"] == "gru-1"
    assert told["trained_at_ms"] == "2023-11-14T22:13:20Z"
    assert told["origin.source"] == "topics"
    assert told["origin.offsets.events.click"] == "12 14"
    assert told["origin.until_ms"] == "2023-11-14T22:13:19Z"
    assert told["origin.held_back"] == "120"
    assert told["origin.settings.retrain_level"] == "0.05"
    assert told["origin.parent"] == "gru-0"
    assert told["training.seed"] == "7"
    assert told["origin.verdict.champion.mrr"] == "0.2"
    assert told["origin.verdict.challenger.mrr"] == "0.3"
    assert told["code_version"] == metadata.version("freshet")
    assert told["metrics.recall"] == ""


def test_show_as_json_is_the_manifest(four: Shop, capsys: Captured) -> None:
    """The file as it stands."""
    assert run(["models", "show", "gru-1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((ModelStore(four.settings).folder / "gru-1" / artifact.MANIFEST).read_text())


def test_show_reads_what_an_older_freshet_wrote(four: Shop, capsys: Captured) -> None:
    """What its manifest does not say is empty, or what can be known."""
    assert run(["models", "show", "gru-0", "--json"]) == 0
    origin = json.loads(capsys.readouterr().out)["origin"]
    assert (origin["kind"], origin["network"], origin["verdict"]) == ("full", "gru-0", None)


@pytest.mark.parametrize("command", ["show", "promote"])
def test_an_unknown_version_is_one_line_with_the_nearest(four: Shop, capsys: Captured, command: str) -> None:
    """Its name and theirs; nothing is announced."""
    save(four, 11, None)
    assert run(["models", command, "gru-111"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("freshet: there is no model gru-111 in ")
    assert "; the nearest are gru-11, gru-1, gru-" in err
    assert in_force(four) == "gru-1"


def test_a_store_without_models_says_what_to_set(shop: Shop, capsys: Captured) -> None:
    """There is no nearest one to name."""
    assert run(["models", "show", "gru-1"]) == 1
    assert "set FRESHET_MODEL_STORE, or train first" in capsys.readouterr().err


def test_a_version_is_no_path(four: Shop, tmp_path: Path, capsys: Captured) -> None:
    """What lies outside the model's folder is not of this model."""
    shutil.copytree(ModelStore(four.settings).folder / "gru-0", tmp_path / "store" / "gru-0")
    assert run(["models", "promote", "../gru-0"]) == 1
    assert "there is no model ../gru-0" in capsys.readouterr().err


# Promote.


def test_promote_announces_a_kept_artifact_again(four: Shop, capsys: Captured) -> None:
    """It says what was in force before."""
    assert run(["models", "promote", "gru-0"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("announced gru-0 on models; gru-1 was in force before\n", "")
    assert in_force(four) == "gru-0"


def test_promote_announces_what_the_gate_refused_and_says_so(four: Shop, capsys: Captured) -> None:
    """The person decides, with the figures before the eyes."""
    assert run(["models", "promote", "gru-3"]) == 0
    assert capsys.readouterr().err == f"the gate refused gru-3: {WORSE_WORDS}\n"
    assert in_force(four) == "gru-3"


def test_promote_where_nothing_was_announced(four: Shop, capsys: Captured) -> None:
    """There is nothing before it."""
    four.topic.unlink()
    assert run(["models", "promote", "gru-0"]) == 0
    assert capsys.readouterr().out == "announced gru-0 on models\n"
    assert in_force(four) == "gru-0"


def test_promote_of_what_is_in_force_announces_nothing(four: Shop, capsys: Captured) -> None:
    """The topic is as it was."""
    before = four.topic.read_bytes()
    assert run(["models", "promote", "gru-1"]) == 0
    assert capsys.readouterr().out == "gru-1 is in force already; nothing was announced\n"
    assert four.topic.read_bytes() == before


def test_promote_announces_anew_what_workers_refuse_by_its_old_digest(four: Shop) -> None:
    """The same version, with a manifest that was written anew; a roll-back goes where it went."""
    run(["models", "promote", "gru-0"])
    path = ModelStore(four.settings).folder / "gru-0" / artifact.MANIFEST
    path.write_text(path.read_text() + "\n")
    assert run(["models", "promote", "gru-0"]) == 0
    manifest = asyncio.run(four.announced())
    assert manifest.sha256 == weights.manifest_sha256(path.parent)
    assert manifest.previous_version == "gru-1"


def changed(folder: Path) -> None:
    """Change a byte of the weights."""
    path = folder / artifact.WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_short(folder: Path) -> None:
    """Leave the half of the manifest."""
    path = folder / artifact.MANIFEST
    path.write_text(path.read_text()[:100])


def without_vocabulary(folder: Path) -> None:
    """Lose a file."""
    (folder / artifact.VOCABULARY).unlink()


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (changed, "weights.safetensors is damaged"),
        (cut_short, "manifest.json cannot be understood"),
        (without_vocabulary, "vocabulary.json is missing"),
    ],
)
def test_promote_refuses_a_corrupt_artifact(
    four: Shop, capsys: Captured, spoil: Callable[[Path], None], named: str
) -> None:
    """One line that names the file; nothing is announced."""
    spoil(ModelStore(four.settings).folder / "gru-0")
    assert run(["models", "promote", "gru-0"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert named in err
    assert in_force(four) == "gru-1"


def test_promote_refuses_what_was_trained_on_other_segments(four: Shop, capsys: Captured) -> None:
    """As a worker would."""
    save(four, 4, None, rule=SegmentRule(span_ms=60_000, max_events=8))
    assert run(["models", "promote", "gru-4"]) == 1
    assert "trained on segments of 60 s and 8 events" in capsys.readouterr().err
    assert in_force(four) == "gru-1"


# Roll-back.


@pytest.mark.parametrize("command", [["models", "rollback"], ["retrain", "--rollback"]])
def test_rollback_goes_to_what_was_before_the_network(
    four: Shop, capsys: Captured, command: list[str]
) -> None:
    """It names both; the manifest says where."""
    assert run(command) == 0
    assert capsys.readouterr().out == "rolled back from gru-1: announced gru-0 on models\n"
    assert in_force(four) == "gru-0"
    assert run(command) == 1
    assert "there is no model to go back to from gru-0" in capsys.readouterr().err


def test_rollback_after_promote_goes_to_what_was_in_force_before_it(four: Shop, capsys: Captured) -> None:
    """Not to what the manifest says, which knows nothing of a person's choice; from there it goes on."""
    run(["models", "promote", "gru-0"])
    assert run(["models", "rollback"]) == 0
    assert "rolled back from gru-0: announced gru-1" in capsys.readouterr().out
    assert run(["models", "rollback"]) == 0
    assert in_force(four) == "gru-0"


def test_rollback_refuses_a_corrupt_artifact(four: Shop, capsys: Captured) -> None:
    """What is in force goes on."""
    changed(ModelStore(four.settings).folder / "gru-0")
    assert run(["models", "rollback"]) == 1
    assert "weights.safetensors is damaged" in capsys.readouterr().err
    assert in_force(four) == "gru-1"


def test_nothing_announced_cannot_be_rolled_back(shop: Shop, capsys: Captured) -> None:
    """One line says so."""
    assert run(["models", "rollback"]) == 1
    assert "nothing is announced for the model shop" in capsys.readouterr().err
