"""The Kubernetes manifests: they follow the published schemas and fit what the program does.

Not shown here: that a cluster runs them. ServiceMonitor is a custom resource whose schema no package
brings; of it only what the rules of ops/prometheus rely on is checked.
"""

from collections.abc import Iterator
from typing import Any

import jsonpatch
import kubernetes_validate
import pytest
import yaml

from stream.cli.main import COMMANDS
from stream.settings import Settings, listing
from stream.worker import DRAIN_LIMIT_S, SILENT_LIMIT_S
from tests.support.prometheus import OPS, PROMETHEUS, load

VERSION = "1.31"
FOLDER = OPS / "k8s"
KUSTOMIZATION = load(FOLDER / "kustomization.yaml")
MANIFESTS = [
    manifest
    for name in KUSTOMIZATION["resources"]
    for manifest in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))
]
CUSTOM = {"ServiceMonitor"}
NAMES = [f"{manifest['kind']}-{manifest['metadata']['name']}" for manifest in MANIFESTS]

every_manifest = pytest.mark.parametrize("manifest", MANIFESTS, ids=NAMES)


def of_kind(kind: str) -> dict[str, Any]:
    """Return the one manifest of a kind."""
    (found,) = (manifest for manifest in MANIFESTS if manifest["kind"] == kind)
    return found


def pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the pod specification of everything that runs."""
    for manifest in MANIFESTS:
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield manifest["metadata"]["name"], spec["template"]["spec"]


PODS = dict(pod_specs())
every_pod = pytest.mark.parametrize("name", list(PODS))


def container(name: str) -> dict[str, Any]:
    """Return the one container of a pod."""
    (found,) = PODS[name]["containers"]
    return found


def test_every_file_is_in_the_kustomization():
    """Nothing lies there that is never applied."""
    assert {file.name for file in FOLDER.glob("*.yaml")} == {
        *KUSTOMIZATION["resources"],
        "kustomization.yaml",
    }


@every_manifest
def test_manifest_follows_the_schema(manifest: dict[str, Any]):
    """No field is unknown, missing or of a wrong type."""
    if manifest["kind"] in CUSTOM:
        pytest.skip("a custom resource: no package brings its schema")
    kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_a_misspelled_field_is_found():
    """The check is strict."""
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dta": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@every_pod
def test_pods_are_hardened_and_bounded(name: str):
    """Not root, nothing writable but volumes, no privileges, limits on processor and memory."""
    pod, inside = PODS[name], container(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert inside["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert inside["resources"]["limits"].keys() == {"cpu", "memory"}


@every_pod
def test_pods_run_commands_that_there_are(name: str):
    """The first argument is a command of freshet."""
    assert container(name)["args"][0] in COMMANDS


def test_every_setting_exists_and_is_allowed(monkeypatch: pytest.MonkeyPatch):
    """The configuration map and the workers' own variables make settings."""
    given = dict(of_kind("ConfigMap")["data"])
    given |= {one["name"]: one.get("value", "freshet-worker-0") for one in container("freshet-worker")["env"]}
    assert given.keys() <= {name for name, *_ in listing()}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert settings.group_instance_id == "freshet-worker-0"
    assert of_kind("StatefulSet")["spec"]["replicas"] <= settings.partitions


def test_pod_name_is_the_lasting_name():
    """Static membership: each pod of the set comes back as the same member."""
    (own,) = (one for one in container("freshet-worker")["env"] if one["name"] == "FRESHET_GROUP_INSTANCE_ID")
    assert own["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_probes_ask_what_the_worker_answers():
    """Alive by `/healthz`, ready by `/readyz`, on the port that is declared and is the default."""
    worker = container("freshet-worker")
    assert worker["ports"] == [{"name": "http", "containerPort": Settings.model_fields["http_port"].default}]
    asked = {probe: worker[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe: get["path"] for probe, get in asked.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {get["port"] for get in asked.values()} == {"http"}
    alive = worker["livenessProbe"]
    assert alive["periodSeconds"] * alive["failureThreshold"] > SILENT_LIMIT_S


def test_worker_has_time_to_drain():
    """What is under way is delivered before the pod is killed, and the pod is back within its session."""
    grace_s = PODS["freshet-worker"]["terminationGracePeriodSeconds"]
    assert grace_s > DRAIN_LIMIT_S
    values = {one["name"]: one.get("value") for one in container("freshet-worker")["env"]}
    assert int(values["FRESHET_SESSION_TIMEOUT_S"]) > grace_s


def test_selectors_find_the_workers():
    """Service, disruption budget, monitor and policy mean the pods of the set."""
    labels = of_kind("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    service = of_kind("Service")
    assert of_kind("StatefulSet")["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert of_kind("StatefulSet")["spec"]["serviceName"] == service["metadata"]["name"]
    assert of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    for name in PODS:
        assert container(name)["image"] == KUSTOMIZATION["images"][0]["name"]
    assert of_kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_monitor_gives_the_job_that_the_rules_go_by():
    """The label that names the job has the value of the scrape job of ops/prometheus."""
    monitor, service = of_kind("ServiceMonitor")["spec"], of_kind("Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (job,) = load(PROMETHEUS / "prometheus.yml")["scrape_configs"]
    assert service["metadata"]["labels"][monitor["jobLabel"]] == job["job_name"]
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == [service["spec"]["ports"][0]["name"]]


def test_claims_that_are_mounted_exist():
    """Trainer and workers see one model store; only the trainer writes."""
    claim = of_kind("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for name in ("freshet-worker", "freshet-retrain"):
        (volume,) = (one for one in PODS[name]["volumes"] if one["name"] == "models")
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    (mount,) = (one for one in container("freshet-worker")["volumeMounts"] if one["name"] == "models")
    assert mount["readOnly"] is True


def on_disk(kind: str) -> dict[str, Any]:
    """Return a manifest as `ops/k8s-disk` changes it."""
    kustomization = load(OPS / "k8s-disk" / "kustomization.yaml")
    assert kustomization["resources"] == ["../k8s"]
    manifest = of_kind(kind)
    (patch,) = (
        one["patch"]
        for one in kustomization["patches"]
        if one["target"] == {"kind": kind, "name": manifest["metadata"]["name"]}
    )
    patched: dict[str, Any] = jsonpatch.apply_patch(manifest, yaml.safe_load(patch))
    return patched


def test_users_on_disk_have_a_volume_of_the_pods_own():
    """The folder that is mounted is claimed for each pod, and no longer thrown away with it."""
    workers = on_disk("StatefulSet")
    kubernetes_validate.validate(workers, VERSION, strict=True)
    pod = workers["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["models", "tmp"]
    (claim,) = workers["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == {"name": "data", "mountPath": "/data"}


def test_settings_of_users_on_disk_are_allowed(monkeypatch: pytest.MonkeyPatch):
    """The cache lies within the memory that a pod may have."""
    for name, value in on_disk("ConfigMap")["data"].items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert settings.store == "rocksdb"
    assert container("freshet-worker")["resources"]["limits"]["memory"] == "2Gi"
    assert settings.store_cache_mb < 1024
