"""The compose file: real settings, images by version, health checks, limits, and nothing open that need not be."""

import re
from typing import Any

import pytest
import yaml
from charts import DEPLOY, ROLES, ROOT
from dockerfiles import stages

import isotherm
from isotherm.cli import COMMANDS
from isotherm.cli.checks import check_exposure
from isotherm.config import Settings, without_password

FILE = DEPLOY / "compose.yaml"
EXAMPLE = DEPLOY / ".env.example"
OURS = (*ROLES, "doctor")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")
SECRETS = (
    "ISOTHERM_TOKEN",
    "ISOTHERM_CLIENTS",
    "POSTGRES_PASSWORD",
    "CLICKHOUSE_PASSWORD",
    "CACHE_PASSWORD",
    "S3_SECRET",
)


class Required(Exception):
    """A variable that compose would refuse to start without."""


def services(**given: str) -> dict[str, dict[str, Any]]:
    """The file's services with variables filled in as compose does it: `:-` a default, `:?` a refusal."""

    def fill(match: re.Match[str]) -> str:
        name, how, rest = match.groups()
        if given.get(name):
            return given[name]
        if how == "-":
            return rest
        raise Required(f"{name}: {rest}")

    return yaml.safe_load(VARIABLE.sub(fill, FILE.read_text()))["services"]


def filled(**given: str) -> dict[str, dict[str, Any]]:
    return services(**dict.fromkeys((*SECRETS, "KAFKA_CLUSTER_ID"), "abc123"), **given)


def offered(block: str) -> dict[str, str]:
    """Variables that the example's paragraph with this word in it offers, with their values."""
    [found] = [part for part in EXAMPLE.read_text().split("\n\n") if block in part]
    pairs = [line.removeprefix("#").partition("=") for line in found.splitlines() if line.startswith("#ISOTHERM_")]
    return {name: value for name, _, value in pairs}


def settings_of(role: str, monkeypatch: pytest.MonkeyPatch, **given: str) -> Settings:
    for name, value in filled(**given)[role]["environment"].items():
        monkeypatch.setenv(name, str(value))
    return Settings()


NAMES = sorted(filled())
PUBLISHED = {"collect": 7081, "serve": 7080, "grafana": 3000}


@pytest.mark.parametrize("missing", SECRETS)
def test_compose_does_not_start_without(missing: str) -> None:
    given = dict.fromkeys((*SECRETS, "KAFKA_CLUSTER_ID"), "abc123") | {missing: ""}
    with pytest.raises(Required, match=missing):
        services(**given)


def test_the_example_names_every_variable_that_is_needed_and_gives_no_secret() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if "=" in line and not line.startswith("# ")]
    named = {line.lstrip("#").partition("=")[0]: line for line in lines}
    needed = {name for name, how, _ in VARIABLE.findall(FILE.read_text()) if how == "?"}
    assert needed <= named.keys()
    assert all(named[name].endswith("=") for name in needed)
    used = {name for name, _, _ in VARIABLE.findall(FILE.read_text())}
    assert named.keys() <= used


@pytest.mark.parametrize("role", OURS)
def test_each_role_of_compose_runs_a_real_command_with_real_settings(
    role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = filled()[role]
    assert service["command"] == [role]
    assert role in {name for name, _, _ in COMMANDS}, f"isotherm {role} is no command"
    given = {name.removeprefix("ISOTHERM_").lower() for name in service["environment"]}
    assert given <= Settings.model_fields.keys()
    settings = settings_of(role, monkeypatch)
    check_exposure(settings, app=True, collector=True)
    assert settings.kafka_replication == 1
    assert "abc123" not in without_password(settings.db) + without_password(settings.cache)


def test_stores_of_the_roles_are_services_of_the_file() -> None:
    found = filled()
    hosts = {
        host
        for name, value in found["serve"]["environment"].items()
        if name in {"ISOTHERM_LOG", "ISOTHERM_LAKE", "ISOTHERM_OLAP", "ISOTHERM_DB", "ISOTHERM_CACHE"}
        for host in re.findall(r"(?:@|//|=http://)([a-z0-9]+):\d+", value)
    }
    assert hosts == {"kafka", "s3", "clickhouse", "postgres", "cache"}
    assert hosts <= found.keys()
    assert found["serve"]["depends_on"].keys() == hosts


@pytest.mark.parametrize("name", NAMES)
def test_each_service_is_pinned_limited_and_watched(name: str) -> None:
    service = filled()[name]
    assert re.search(r":v?\d+\.?\d*[\w.-]*$", service["image"]), f"{service['image']} names no version"
    assert not service["image"].endswith("latest")
    limits = service["deploy"]["resources"]["limits"]
    assert re.fullmatch(r"\d+[MG]", limits["memory"])
    assert float(limits["cpus"]) > 0
    assert service["logging"]["options"]["max-size"]
    check = service["healthcheck"]
    if name == "doctor":
        assert check == {"disable": True}
        return
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries"} <= check.keys()
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", NAMES)
def test_only_what_people_and_browsers_ask_is_published_and_on_loopback(name: str) -> None:
    ports = filled()[name].get("ports", [])
    wanted = {name: [f"127.0.0.1:{port}:{port}"] for name, port in PUBLISHED.items()}
    assert ports == wanted.get(name, [])
    assert filled()[name].get("network_mode") is None
    assert filled()[name].get("privileged") is None


@pytest.mark.parametrize("name", [name for name in NAMES if name != "doctor"])
def test_each_service_that_stands_before_another_is_waited_for(name: str) -> None:
    found = filled()
    for other, how in found[name].get("depends_on", {}).items():
        assert other in found
        assert how == {"condition": "service_healthy"}


@pytest.mark.parametrize("role", OURS)
def test_our_containers_have_no_rights_they_do_not_need(role: str) -> None:
    service = filled()[role]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["image"] == f"isotherm:{isotherm.__version__}"


def test_volumes_are_named_and_all_of_them_are_used() -> None:
    declared = yaml.safe_load(FILE.read_text())["volumes"].keys()
    mounted = [line.split(":") for service in filled().values() for line in service.get("volumes", [])]
    assert {parts[0] for parts in mounted if not parts[0].startswith("./")} == declared
    for place, *more in mounted:
        # Files of the repository are there, and nobody may write to them.
        assert not place.startswith("./") or ((DEPLOY / place).exists() and more[-1] == "ro")


def test_prometheus_scrapes_every_role_where_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "compose.yml").read_text())
    found = {job["job_name"]: job for job in config["scrape_configs"]}
    assert found.keys() == {f"isotherm-{role}" for role in ROLES}
    secrets = yaml.safe_load(FILE.read_text())["secrets"]
    for role in ROLES:
        job = found[f"isotherm-{role}"]
        port = {"collect": 7081, "serve": 7080}.get(role, 7082)
        assert job["static_configs"] == [{"targets": [f"{role}:{port}"]}]
        [secret] = filled()["prometheus"]["secrets"]
        assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
        assert secrets[secret] == {"environment": "ISOTHERM_TOKEN"}
        assert settings_of(role, monkeypatch).health_host == "0.0.0.0"


def test_grafana_finds_its_data_and_the_dashboard() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((folder / "dashboards" / "isotherm.yml").read_text())["providers"]
    assert any(provider["options"]["path"] in line for line in filled()["grafana"]["volumes"])


def test_what_compose_builds_is_a_stage_of_a_dockerfile() -> None:
    for given in ({}, offered("by Spark")):
        for service in filled(**given).values():
            if build := service.get("build"):
                assert (DEPLOY / build["context"]).resolve() == ROOT
                named = {stage.name for stage in stages(ROOT / build["dockerfile"])}
                assert build.get("target", "") in named | {""}


@pytest.mark.parametrize("given", [{}, offered("by Spark")], ids=["plain", "spark"])
def test_services_of_one_image_name_are_built_the_same(given: dict[str, str]) -> None:
    builds: dict[str, list[Any]] = {}
    for service in filled(**given).values():
        if "build" in service:
            builds.setdefault(service["image"], []).append(service["build"])
    for image, found in builds.items():
        assert all(build == found[0] for build in found), f"{image} is built in several ways: {found}"


def test_with_spark_the_roles_have_it_and_room_for_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    given = offered("by Spark")
    found = filled(**given)
    for role in ("rollup", "serve"):
        assert found[role]["image"] == found["spark-master"]["image"]
        assert found[role]["tmpfs"] == ["/tmp:exec"]
        assert int(found[role]["deploy"]["resources"]["limits"]["memory"].removesuffix("G")) >= 3
    settings = settings_of("rollup", monkeypatch, **given)
    assert settings.engine.removeprefix("spark://").partition(":")[0] in found
    cores = int(found["spark-worker"]["command"][found["spark-worker"]["command"].index("--cores") + 1])
    assert 2 * int(settings.spark_options["spark.cores.max"]) <= cores


def test_without_more_the_log_is_landed_and_with_it_the_files_of_a_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("scan", "scan_group", "log_key", "log_timestamp")
    defaults = {name: Settings.model_fields[name].default for name in names}
    plain = settings_of("land", monkeypatch)
    assert {name: getattr(plain, name) for name in names} == defaults
    given = offered("Kafka Connect")
    assert given.keys() == {f"ISOTHERM_{name.upper()}" for name in names}
    for role in ("collect", "land"):
        settings = settings_of(role, monkeypatch, **given)
        assert settings.scan.startswith("s3://")
        assert (settings.log_key, settings.log_timestamp) == ("client", "event")


def test_secrets_are_on_no_command_line() -> None:
    text = str([(service.get("command"), service.get("entrypoint")) for service in filled().values()])
    assert "abc123" not in text
