"""docker-compose.yml as plain values: its services, their order, and what each one runs."""

import shutil
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from tests.support.kafka_broker import PROJECT, KafkaBroker, free_port
from tests.support.worker_process import Metrics, read_metrics

FILE = PROJECT / "docker-compose.yml"
KAFKA_PREFIX = "KAFKA_"
NOT_PROPERTIES = {"KAFKA_HEAP_OPTS"}


def services() -> dict[str, dict[str, Any]]:
    """Return every service with the merged keys it has."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
    return found


def start_order() -> list[str]:
    """Return the services so that each comes after those it waits for."""
    waits = {name: tuple(service.get("depends_on", ())) for name, service in services().items()}
    return list(TopologicalSorter(waits).static_order())


def broker_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the broker's properties as the image makes them of its environment."""
    return {
        name.removeprefix(KAFKA_PREFIX).lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith(KAFKA_PREFIX) and name not in NOT_PROPERTIES
    }


class ComposeBroker(KafkaBroker):
    """A broker with exactly the properties of the file, at free ports of this machine."""

    format_options = ()

    def properties(self, controller_port: int) -> dict[str, str]:
        """Return those of the file, with the ports of this machine."""
        places = {"9092": str(self.port), "9093": str(controller_port), "29092": str(free_port())}
        properties = broker_properties(services()["kafka"]["environment"])
        for name, value in properties.items():
            if name == "log.dirs":
                properties[name] = str(self.directory / "data")
            elif name.endswith("listeners") or name == "controller.quorum.voters":
                properties[name] = ",".join(_local(part, places) for part in value.split(","))
        return properties


def _local(address: str, places: Mapping[str, str]) -> str:
    """Move one address, such as ``PLAINTEXT://kafka:9092`` or ``1@kafka:9093``, to this machine."""
    before, port = address.rsplit(":", 1)
    scheme, mark, _ = before.partition("//" if "//" in before else "@")
    return f"{scheme}{mark}127.0.0.1:{places[port]}"


class ByHand:
    """What a service of the freshet image runs, with the paths and addresses of this machine."""

    def __init__(self, name: str, *, bootstrap: str, folder: Path, port: int = 0) -> None:
        """Take a service; ``port`` is where its HTTP is to listen."""
        self.name = name
        self._service = services()[name]
        self._url = f"http://127.0.0.1:{port}"
        self._paths = {
            "/usr/share/freshet": str(PROJECT / "ops" / "docker"),
            "http://127.0.0.1:6066": self._url,
        }
        self._given = {
            "FRESHET_BROKERS": bootstrap,
            "FRESHET_MODEL_STORE": str(folder / "models"),
            "FRESHET_DATA_DIR": str(folder / name),
            "FRESHET_HTTP_HOST": "127.0.0.1",
            "FRESHET_HTTP_PORT": str(port),
        }

    def command(self, **changed: str) -> list[str]:
        """Return the command line; ``changed`` gives an option of it another value."""
        words = [self._moved(word) for word in self._service["command"]]
        for option, value in changed.items():
            words[words.index(f"--{option}") + 1] = value
        return [*self._service.get("entrypoint", ["freshet"]), *words]

    def health(self) -> list[str]:
        """Return the command line of the health check."""
        kind, *words = self._service["healthcheck"]["test"]
        assert kind == "CMD"
        return [self._moved(word) for word in words]

    def environment(self, inherited: Mapping[str, str], **changed: str) -> dict[str, str]:
        """Return the environment: what the file sets, and this machine's places."""
        kept = {name: value for name, value in inherited.items() if not name.startswith("FRESHET_")}
        path = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
        return kept | self._service["environment"] | self._given | {"PATH": path} | changed

    def metrics(self) -> Metrics:
        """Return what its `/metrics` says now."""
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=10) as response:
            return read_metrics(response.read().decode())

    def _moved(self, word: str) -> str:
        for inside, here in self._paths.items():
            word = word.replace(inside, here)
        # A doubled dollar is compose's way to write one.
        return word.replace("$$", "$")


def images() -> Iterator[tuple[str, str]]:
    """Give each service and its image."""
    for name, service in services().items():
        yield name, service["image"]


def hadolint() -> str | None:
    """Return the path of hadolint, which its package puts beside the interpreter."""
    return shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
