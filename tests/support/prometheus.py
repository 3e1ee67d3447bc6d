"""The files of ops/prometheus and ops/grafana, and Prometheus' own tools to check them with."""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

import pytest
import yaml

from tests.support.kafka_broker import PROJECT, free_port
from tests.support.worker_process import eventually

OPS = PROJECT / "ops"
PROMETHEUS = OPS / "prometheus"
LIMIT = "freshet:limit:"

# What stands in braces, brackets and quotes, and the lists of labels after a clause: no metric names.
_NOT_NAMES = re.compile(
    r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"
)
_NAME = re.compile(r"\b(?:freshet[a-z0-9_:]*|up)\b")
_NAME_MATCHER = re.compile(r"__name__=~?\"([^\"]*)\"")


def tool(name: str) -> str:
    """Return the path of promtool or prometheus; the test is skipped where it is absent."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: install Debian's package prometheus")
    return found


class Rule(NamedTuple):
    """A recording rule or an alert as its file has it."""

    file: Path
    name: str
    expr: str
    annotations: dict[str, str]


def rules(folder: str, kind: str) -> list[Rule]:
    """Return the rules of ``rules`` or ``alerts``; ``kind`` is `record` or `alert`."""
    return [
        Rule(file, rule[kind], str(rule["expr"]), rule.get("annotations", {}))
        for file in sorted((PROMETHEUS / folder).glob("*.yml"))
        for group in load(file)["groups"]
        for rule in group["rules"]
    ]


def load(file: Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def names(expr: str) -> Iterator[str]:
    """Give the series that an expression names."""
    for alternatives in _NAME_MATCHER.findall(expr):
        yield from alternatives.split("|")
    yield from _NAME.findall(_NOT_NAMES.sub("", expr))


def family(series: str) -> str:
    """Return the name of the metric that a series belongs to, as the instruments are named."""
    return re.sub(r"_(?:total|bucket|count|sum|info)$", "", series)


class Prometheus:
    """A real Prometheus with the configuration of ops/, scraping one worker each second."""

    def __init__(self, folder: Path, target: str) -> None:
        """Write its configuration into ``folder`` and start it; ``target`` is host:port."""
        shutil.copytree(PROMETHEUS, folder / "prometheus")
        configuration = folder / "prometheus" / "prometheus.yml"
        settings = load(configuration)
        settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        (job,) = settings["scrape_configs"]
        job["static_configs"] = [{"targets": [target]}]
        configuration.write_text(yaml.safe_dump(settings), encoding="utf-8")
        self._url = f"http://127.0.0.1:{free_port()}"
        self._log = folder / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    tool("prometheus"),
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self._url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """Return once it answers."""
        eventually(lambda: self._get("/-/ready"), f"Prometheus is ready; its log is {self._log}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def query(self, expr: str) -> list[dict[str, str]]:
        """Return the labels of each series that an expression gives now."""
        found = json.loads(self._get("/api/v1/query", query=expr))
        return [series["metric"] for series in found["data"]["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule as Prometheus has it, its health included."""
        found = json.loads(self._get("/api/v1/rules"))
        return [rule for group in found["data"]["groups"] for rule in group["rules"]]

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        alerts = json.loads(self._get("/api/v1/alerts"))["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def _get(self, path: str, **query: str) -> bytes:
        asked = f"{self._url}{path}?{urlencode(query)}"
        try:
            with urllib.request.urlopen(asked, timeout=10) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{asked}: {error.read().decode()}") from error
        except urllib.error.URLError as error:
            raise ConnectionError(f"{asked}: {error.reason}") from error
