"""Grafana's files: what they name of each other is there. tests/integration runs the queries."""

import json
import re

from tests.support.compose import services
from tests.support.prometheus import LIMIT, OPS, load, names, rules

GRAFANA = OPS / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "freshet.json").read_text(encoding="utf-8"))
(SOURCE,) = load(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
(PROVIDER,) = load(GRAFANA / "provisioning" / "dashboards" / "freshet.yml")["providers"]
EXPRS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_dashboards_lie_where_the_provider_looks():
    """The folder of the provider is the one that compose mounts."""
    mounts = dict(mount.split(":")[:2] for mount in services()["grafana"]["volumes"])
    assert mounts["./ops/grafana/dashboards"] == PROVIDER["options"]["path"]
    home = services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{PROVIDER['options']['path']}/freshet.json"


def test_data_source_is_the_prometheus_of_compose():
    """By the name of the service and the port it listens on."""
    service, port = re.fullmatch(r"http://([a-z]+):(\d+)", SOURCE["url"]).groups()
    assert services()[service]["image"].startswith("prom/prometheus:")
    assert services()[service]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_every_query_asks_that_data_source():
    """Nothing on the dashboard names another."""
    asked = [panel["datasource"] for panel in DASHBOARD["panels"]]
    asked += [target["datasource"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    asked += [variable["datasource"] for variable in DASHBOARD["templating"]["list"]]
    assert all(one == {"type": SOURCE["type"], "uid": SOURCE["uid"]} for one in asked)


def test_panels_have_their_own_ids_and_places():
    """No two lie on one another; each says what it shows."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    assert all(panel["title"] and panel["description"] for panel in panels)


def test_limits_are_drawn_from_the_rules_and_never_written_down():
    """A threshold on the dashboard is the series that the alerts go by."""
    limits = {rule.name for rule in rules("rules", "record") if rule.name.startswith(LIMIT)}
    drawn = {name for expr in EXPRS for name in names(expr) if name.startswith(LIMIT)}
    assert drawn
    assert drawn <= limits
    assert not any("thresholds" in panel["fieldConfig"]["defaults"] for panel in DASHBOARD["panels"])
