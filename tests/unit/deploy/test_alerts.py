"""Alert rules: right by promtool, over metrics that exist, and each with a page that says what to do."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import DEPLOY
from runbooks import PROMETHEUS, ROOT, RULES, RUNBOOKS, SECTIONS, alerts, commands, metric_names, pages
from services.programs import Missing, program

from isotherm import metrics

DASHBOARD = DEPLOY / "grafana" / "isotherm.json"
TESTS = PROMETHEUS / "rules_test.yml"
PROCESS = {f"process_{name}" for name in (
    "resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds", "start_time_seconds",
)}  # fmt: skip


@pytest.fixture(scope="module")
def promtool() -> str:
    try:
        return program("promtool")
    except Missing as error:
        pytest.skip(str(error))


def exported() -> dict[str, str]:
    """Names as Prometheus sees them, with the family they belong to."""
    found = dict.fromkeys(PROCESS, "process")
    for family in metrics.REGISTRY.collect():
        if family.name.startswith("process_"):
            continue
        if family.type == "histogram":
            found |= dict.fromkeys((f"{family.name}_{end}" for end in ("bucket", "sum", "count")), family.name)
        else:
            found[f"{family.name}_total" if family.type == "counter" else family.name] = family.name
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def asked(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def test_the_rules_are_right_and_fire_when_they_must(promtool: str) -> None:
    for arguments in (("check", "rules", RULES), ("test", "rules", TESTS)):
        done = subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["prometheus.yml", "compose.yml"])
def test_the_scrape_configurations_are_right(promtool: str, name: str) -> None:
    done = subprocess.run(
        [promtool, "check", "config", "--syntax-only", PROMETHEUS / name], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_our_metrics_are_named_as_prometheus_wants_it(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "metrics"], input=metrics.render(), capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.drill
def test_promtool_would_find_a_rule_that_never_fires(promtool: str, tmp_path: Path) -> None:
    rules = yaml.safe_load(RULES.read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["expr"] = f"({rule['expr']}) and on () vector(1) > 2"
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    (tmp_path / "rules_test.yml").write_text(TESTS.read_text())
    done = subprocess.run([promtool, "test", "rules", tmp_path / "rules_test.yml"], capture_output=True, text=True)
    assert done.returncode != 0
    assert all(f"alertname: {name}" in done.stdout + done.stderr for name in alerts())


def test_every_alert_is_tested_firing_and_silent() -> None:
    fires: set[str] = set()
    silent: set[str] = set()
    for case in yaml.safe_load(TESTS.read_text())["tests"]:
        for wanted in case["alert_rule_test"]:
            (fires if wanted["exp_alerts"] else silent).add(wanted["alertname"])
    assert fires == silent == alerts().keys()


def test_alerts_read_metrics_that_exist() -> None:
    for name, rule in alerts().items():
        read = metric_names(rule["expr"])
        assert read <= exported().keys(), f"{name} reads {read - exported().keys()}"
        assert read or "up{" in rule["expr"], f"{name} reads nothing"


def test_panels_read_metrics_that_exist() -> None:
    for panel in panels():
        for expression in asked(panel):
            read = metric_names(expression)
            assert read <= exported().keys(), f"{panel['title']} reads {read - exported().keys()}"
            assert read or "up{" in expression or "ALERTS" in expression, f"{panel['title']} reads nothing"


def test_every_metric_is_watched_or_shown() -> None:
    names = exported()
    read = {names[one] for rule in alerts().values() for one in metric_names(rule["expr"])}
    read |= {names[one] for panel in panels() for expression in asked(panel) for one in metric_names(expression)}
    assert set(names.values()) - read == set()


def test_panels_are_right_promql(promtool: str, tmp_path: Path) -> None:
    expressions = [
        one.replace("$__rate_interval", "5m").replace("$job", ".+") for panel in panels() for one in asked(panel)
    ]
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", tmp_path / "panels.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_lie_beside_each_other_and_say_what_they_show() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        here = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not here & taken, f"{panel['title']} covers another panel"
        taken |= here
        assert panel["type"] == "row" or panel["description"]


def test_alerts_and_pages_are_one_to_one() -> None:
    assert alerts().keys() == pages().keys()
    index = (RUNBOOKS / "README.md").read_text()
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook_path"] == f"docs/runbooks/{name}.md"
        assert (ROOT / rule["annotations"]["runbook_path"]).is_file()
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert f"[{name}]({name}.md) | {rule['labels']['severity']} |" in index


@pytest.mark.parametrize("name", sorted(alerts()))
def test_a_page_says_all_that_is_needed_at_night(name: str) -> None:
    text = pages()[name].read_text()
    assert text.startswith(f"# {name}\n")
    at = [text.index(f"\n## {section}\n") for section in SECTIONS]
    assert at == sorted(at)
    found = commands(pages()[name])
    assert found
    assert all(command.prints for command in found), "a command does not say what it prints"
