"""The Helm chart: what it makes is valid, starts real commands with real settings, and stands open to nobody."""

import ipaddress
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import CASES, CHART, ROLES, Manifest, container, manifests, of_kind, pod, template, workloads

from isotherm.cli import COMMANDS
from isotherm.collect.app import create
from isotherm.config import Settings
from isotherm.view.sdk import PATH as SDK_PATH

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
each_role = pytest.mark.parametrize("role", ROLES)
MINIMAL = CHART / "ci" / "minimal.yaml"
EVERYTHING = CHART / "ci" / "everything.yaml"
INGRESS = CHART / "ci" / "ingress.yaml"
CONNECT = CHART / "ci" / "connect.yaml"


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("kubernetes-validate")
    return subprocess.run([program, "--strict", "-k", "1.33", path], capture_output=True, text=True)


@each_case
def test_chart_output_is_valid_for_kubernetes(case: Path, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(manifests(case)))
    done = validate(path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_check_bites(tmp_path: Path) -> None:
    deployment = json.loads(json.dumps(of_kind(manifests(MINIMAL), "Deployment")["land"]))
    container(deployment)["imagePullPolice"] = "Always"
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(deployment))
    assert validate(path).returncode != 0


@each_case
def test_each_role_is_a_deployment_that_runs_a_real_command(case: Path) -> None:
    deployments = workloads(manifests(case))
    assert tuple(deployments) == tuple(sorted(ROLES))
    commands = {name for name, _, _ in COMMANDS}
    for role, deployment in deployments.items():
        assert container(deployment)["args"] == [role]
        assert role in commands, f"isotherm {role} is no command"


def environment(found: list[Manifest]) -> dict[str, str]:
    """The settings of all pods, with those from a Secret that is not part of the chart left out."""
    [config] = of_kind(found, "ConfigMap").values()
    values: dict[str, str] = dict(config["data"])
    for secret in of_kind(found, "Secret").values():
        values |= secret["stringData"]
    return values


@each_case
def test_each_variable_is_a_setting_and_all_of_them_load(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = environment(manifests(case))
    given = {name.removeprefix("ISOTHERM_").lower() for name in values}
    assert given <= Settings.model_fields.keys()
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.clients == yaml.safe_load(case.read_text())["clients"]
    assert settings.url("log").startswith("kafka://")


def test_numbers_and_words_arrive_as_they_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(manifests(EVERYTHING)).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    wanted = yaml.safe_load(EVERYTHING.read_text())
    for name, value in wanted["settings"].items():
        assert getattr(settings, name) == value, name
    assert settings.kafka_options == wanted["kafkaOptions"]
    assert settings.s3_session_token == wanted["s3"]["sessionToken"]


@each_case
def test_secrets_are_nowhere_but_in_secrets(case: Path) -> None:
    wanted = case.read_text()
    open_text = yaml.safe_dump_all([made for made in manifests(case) if made["kind"] != "Secret"])
    assert "ci-secret" not in open_text
    if "ci-secret" in wanted:
        hidden = yaml.safe_dump_all(of_kind(manifests(case), "Secret").values())
        for word in {part for part in wanted.replace('"', " ").split() if part.startswith("ci-secret")}:
            assert word.strip(",}@") in hidden
    else:
        assert not of_kind(manifests(case), "Secret")


@each_case
def test_pods_take_secrets_by_reference_and_only_what_they_use(case: Path) -> None:
    found = manifests(case)
    name = yaml.safe_load(case.read_text()).get("existingSecret") or "release-isotherm-secrets"
    for role, deployment in workloads(found).items():
        variables = container(deployment)["env"]
        assert all("value" not in variable for variable in variables)
        references = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in variables}
        assert all(reference["name"] == name for reference in references.values())
        assert {variable.removeprefix("ISOTHERM_").lower() for variable in references} <= Settings.model_fields.keys()
        assert references["ISOTHERM_TOKEN"]["optional"] is False
        assert ("ISOTHERM_DB" in references) == (role != "collect")


def paths_of_collector() -> set[str]:
    collector: Any = create(Settings(), log=_NoLog(), clock=None)  # type: ignore[arg-type]
    return set(collector._routes)


class _NoLog:
    max_record_bytes = 1


@each_role
def test_probes_ask_paths_that_exist(role: str) -> None:
    found = container(of_kind(manifests(MINIMAL), "Deployment")[role])
    [port] = found["ports"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = found[probe]["httpGet"]
        assert asked["port"] == port["name"]
        assert asked["path"] in {"/v1/healthz", SDK_PATH}
    assert found["readinessProbe"]["httpGet"]["path"] in paths_of_collector()
    values = environment(manifests(MINIMAL))
    name = {"collect": "ISOTHERM_COLLECT_PORT", "serve": "ISOTHERM_PORT"}.get(role, "ISOTHERM_HEALTH_PORT")
    assert int(values[name]) == port["containerPort"]


@each_case
def test_pods_have_no_rights_they_do_not_need(case: Path) -> None:
    found = manifests(case)
    for account in of_kind(found, "ServiceAccount").values():
        assert account["automountServiceAccountToken"] is False
    for role, deployment in workloads(found).items():
        inner = pod(deployment)
        assert inner["automountServiceAccountToken"] is False
        assert inner["serviceAccountName"] == f"release-isotherm-{role}"
        assert inner["securityContext"]["runAsNonRoot"] is True
        assert inner["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        own = container(deployment)["securityContext"]
        assert own["readOnlyRootFilesystem"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        writable = {mount["mountPath"] for mount in container(deployment)["volumeMounts"]}
        assert writable == {"/data", "/tmp"}
        resources = container(deployment)["resources"]
        assert resources["requests"].keys() >= {"cpu", "memory"}
        assert "memory" in resources["limits"]
        assert inner["topologySpreadConstraints"]


def selects(policy: Manifest, deployment: Manifest) -> bool:
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    return policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


@each_case
def test_every_pod_is_denied_all_but_its_own_ways(case: Path) -> None:
    found = manifests(case)
    policies = of_kind(found, "NetworkPolicy")
    deny = policies["release-isotherm-deny"]
    assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert deny["spec"].keys() == {"podSelector", "policyTypes"}
    for role, deployment in workloads(found).items():
        assert selects(deny, deployment)
        assert [name for name, policy in policies.items() if selects(policy, deployment)] == [
            "release-isotherm-deny", "release-isotherm-dns", role
        ]  # fmt: skip
        opened = [port["port"] for rule in policies[role]["spec"].get("ingress", []) for port in rule["ports"]]
        assert ("http" in opened) == (role in {"collect", "serve"})
        assert all(rule["ports"] for rule in policies[role]["spec"]["egress"])


def ways_out(found: list[Manifest], role: str) -> set[int]:
    rules = of_kind(found, "NetworkPolicy")[role]["spec"]["egress"]
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_metrics_and_spark_get_their_ways_in_only_when_asked_for() -> None:
    for role, own in (("rollup", ["health"]), ("serve", ["http"])):
        rules = of_kind(manifests(MINIMAL), "NetworkPolicy")[role]["spec"].get("ingress", [])
        assert [[port["port"] for port in rule["ports"]] for rule in rules] == ([own] if role == "serve" else [])
        rules = of_kind(manifests(EVERYTHING), "NetworkPolicy")[role]["spec"]["ingress"]
        assert [[port["port"] for port in rule["ports"]] for rule in rules] == [own, [7078, 7079]]
        assert all(rule["from"] for rule in rules)
    assert "7078" not in str(of_kind(manifests(EVERYTHING), "NetworkPolicy")["land"]["spec"])


def test_who_backfills_and_who_runs_the_doctor_reaches_spark_and_flink() -> None:
    with_both = manifests(EVERYTHING)
    reach = {role: ways_out(with_both, role) & {7077, 8081, 8083} for role in ROLES}
    assert reach == {
        "collect": set(),
        "land": set(),
        "rollup": {7077},
        "stream": {8081, 8083},
        "serve": {7077, 8081, 8083},
    }
    assert not any(ways_out(manifests(MINIMAL), role) & {7077, 8081, 8083} for role in ROLES)


def test_the_pod_that_the_notes_send_the_doctor_to_reaches_every_service() -> None:
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    [role] = re.findall(r"-(\w+) -- isotherm doctor", notes)
    found = manifests(EVERYTHING)
    everywhere = set[int]().union(*(ways_out(found, other) for other in ROLES))
    assert ways_out(found, role) == everywhere


def test_a_sinks_files_are_landed_by_those_who_can_reach_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = manifests(CONNECT)
    for name, value in environment(found).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    wanted = yaml.safe_load(CONNECT.read_text())
    assert settings.scan == wanted["stores"]["scan"]
    assert (settings.log_key, settings.log_timestamp) == ("client", "event")
    assert settings.scan_group == wanted["settings"]["scan_group"]
    assert {role for role in ROLES if 9000 in ways_out(found, role)} == {"land"}
    assert "ISOTHERM_SCAN" not in environment(manifests(MINIMAL))


def test_dead_records_outlive_their_pod_where_that_is_asked_for() -> None:
    kept = workloads(manifests(EVERYTHING))["land"]
    assert kept["kind"] == "StatefulSet"
    [claim] = kept["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    [mount] = [mount for mount in container(kept)["volumeMounts"] if mount["mountPath"] == "/data"]
    assert mount["name"] == claim["metadata"]["name"]
    assert [volume["name"] for volume in pod(kept)["volumes"]] == ["tmp"]
    service = of_kind(manifests(EVERYTHING), "Service")["land"]
    assert kept["spec"]["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert not of_kind(manifests(MINIMAL), "StatefulSet")


def test_the_collector_scales_and_only_then_has_no_fixed_size() -> None:
    scaled = manifests(MINIMAL)
    [scaler] = of_kind(scaled, "HorizontalPodAutoscaler").values()
    assert scaler["spec"]["scaleTargetRef"]["name"] == "release-isotherm-collect"
    assert "replicas" not in of_kind(scaled, "Deployment")["collect"]["spec"]
    fixed = manifests(EVERYTHING)
    assert not of_kind(fixed, "HorizontalPodAutoscaler")
    assert of_kind(fixed, "Deployment")["collect"]["spec"]["replicas"] == 6


@each_case
def test_services_budgets_and_deployments_select_the_same_pods(case: Path) -> None:
    found = manifests(case)
    deployments = workloads(found)
    budgets = of_kind(found, "PodDisruptionBudget")
    assert budgets.keys() == deployments.keys()
    for role, budget in budgets.items():
        assert budget["spec"]["selector"] == deployments[role]["spec"]["selector"]
    services = of_kind(found, "Service")
    assert services.keys() == {"collect", "serve", *of_kind(found, "StatefulSet")}
    for role, service in services.items():
        assert service["spec"]["selector"] == deployments[role]["spec"]["selector"]["matchLabels"]


def test_the_ways_in_are_closed_until_opened() -> None:
    assert not of_kind(manifests(MINIMAL), "Ingress")
    opened = of_kind(manifests(INGRESS), "Ingress")
    assert opened["collect"]["spec"]["rules"][0]["host"] == "events.example.com"
    assert opened["collect"]["spec"]["tls"][0]["secretName"] == "events-tls"
    assert opened["serve"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"].endswith("-serve")


@pytest.mark.parametrize(
    ("values", "changed", "said"),
    [
        (MINIMAL, "token=", "token is empty"),
        (MINIMAL, "token=short", "token"),
        (MINIMAL, "clients=null", "clients is empty"),
        (MINIMAL, "clients={a b}", "clients"),
        (MINIMAL, "stores.log=", "stores.log is empty"),
        (MINIMAL, "stores.log=lmdb:///data/log", "stores/log"),
        (MINIMAL, "stores.db=", "stores.db is empty"),
        (MINIMAL, "stores.cache=", "stores.cache is empty"),
        (MINIMAL, "stores.engine=spark+k8s://kubernetes:443", "stores/engine"),
        (MINIMAL, "settings.token=abc", "settings.token"),
        (MINIMAL, "image.tag=latest", "tag"),
        (MINIMAL, "colect.replicas=3", "colect"),
        (INGRESS, "ingress.serve.host=", "ingress.serve.host is empty"),
        (EVERYTHING, r"sparkOptions.spark\.cores\.max=", "sparkOptions has no spark.cores.max"),
        (EVERYTHING, "rollup.ingress=null", "rollup.ingress is empty"),
        (MINIMAL, "stores.engine=spark://spark-master:7077", "sparkOptions has no spark.cores.max"),
        (MINIMAL, "stores.scan=file:///files", "stores/scan"),
        (MINIMAL, "settings.scan=s3://sink/raw", "settings.scan"),
    ],
)
def test_the_chart_refuses_what_would_stand_open_or_not_start(values: Path, changed: str, said: str) -> None:
    done = template(values, sets=(changed,))
    assert done.returncode != 0
    assert said in done.stderr


def test_secrets_stay_out_of_refusals() -> None:
    done = template(EVERYTHING, sets=("image.tag=latest",))
    assert done.returncode != 0
    assert "ci-secret" not in done.stderr


def test_values_of_the_chart_open_no_network_by_themselves() -> None:
    network = yaml.safe_load((CHART / "values.yaml").read_text())["networkPolicy"]
    assert network["enabled"] is True
    assert network["metricsFrom"] == []
    for peers in (rule.get("to", []) for rule in network.values() if isinstance(rule, dict)):
        for block in (peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer):
            assert ipaddress.ip_network(block).is_private


def named_secret(deployment: Manifest) -> str:
    """The Secret that the role's token comes from."""
    [token] = [one for one in container(deployment)["env"] if one["name"] == "ISOTHERM_TOKEN"]
    return token["valueFrom"]["secretKeyRef"]["name"]


WATCHED = ("monitoring.enabled=true", "monitoring.labels.release=prometheus")


@each_case
def test_prometheus_finds_every_role_by_the_names_that_the_rules_know(case: Path) -> None:
    found = manifests(case, sets=WATCHED)
    monitors = of_kind(found, "PodMonitor")
    assert monitors.keys() == set(ROLES)
    for role, deployment in workloads(found).items():
        spec = monitors[role]["spec"]
        assert spec["selector"]["matchLabels"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
        [endpoint] = spec["podMetricsEndpoints"]
        assert endpoint["port"] in {port["name"] for port in container(deployment)["ports"]}
        assert endpoint["authorization"]["credentials"]["key"] == "ISOTHERM_TOKEN"
        assert endpoint["authorization"]["credentials"]["name"] == named_secret(deployment)
        assert endpoint["relabelings"][0]["replacement"] == f"isotherm-{role}"
        assert monitors[role]["metadata"]["labels"]["release"] == "prometheus"


def test_the_rules_of_the_chart_are_those_that_promtool_tested() -> None:
    [rule] = of_kind(manifests(MINIMAL, sets=WATCHED), "PrometheusRule").values()
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "rules.yml").read_text())
    assert rule["metadata"]["labels"]["release"] == "prometheus"


def test_without_the_operator_none_of_its_kinds_is_made() -> None:
    assert not {made["apiVersion"] for made in manifests(MINIMAL)} & {"monitoring.coreos.com/v1"}
    assert not of_kind(manifests(MINIMAL, sets=(*WATCHED, "monitoring.rules=false")), "PrometheusRule")
