"""docs/scale.md names metrics, commands, settings and figures: all of them are real."""

import ast
import json
import math
import re

import yaml
from charts import CHART, ROOT

from isotherm.cli import COMMANDS
from isotherm.config import Settings
from isotherm.eventlog.kafka_topic import MESSAGE_BYTES, wanted_config
from isotherm.metrics import REGISTRY

TEXT = (ROOT / "docs" / "scale.md").read_text()
BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text()


def test_metrics_that_scale_names_exist() -> None:
    known = {family.name + ("_total" if family.type == "counter" else "") for family in REGISTRY.collect()}
    named = set(re.findall(r"`(isotherm_\w+)`", TEXT))
    assert named
    assert named <= known


def test_commands_that_scale_names_exist() -> None:
    named = set(re.findall(r"`isotherm (\w+)", TEXT))
    assert named >= {"collect", "land", "rollup", "stream", "serve", "doctor"}
    assert named <= {name for name, _, _ in COMMANDS}


def test_settings_that_scale_names_exist() -> None:
    named = {
        word for word in re.findall(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+)+)`", TEXT) if not word.startswith("isotherm_")
    }
    assert named >= {"kafka_partitions", "log_retention_days", "clickhouse_cluster"}
    assert named - {"synchronous_commit", "knows_ids", "client_id"} <= Settings.model_fields.keys()


def test_figures_in_the_cost_tables_are_those_of_the_benchmarks() -> None:
    cost = TEXT[TEXT.index("## Cost of a million events") : TEXT.index("*Example, one machine.*")]
    rows = [line.rpartition("|")[0].split("|") for line in cost.splitlines() if line.startswith("| ")]
    cells = [row[3] for row in rows if len(row) == 4] + [row[2] for row in rows if row[1].strip() in BYTES]
    figures = {figure for cell in cells for figure in re.findall(r"\d+\.\d+", cell)}
    assert len(figures) >= 9
    for figure in figures:
        assert re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", BENCHMARKS), f"{figure} is in no benchmark"


BYTES = {"the wire, JSON of the bench", "embedded log", "lake, Parquet"}


def test_the_sizing_example_is_computed_from_the_measured_rate() -> None:
    results = json.loads((ROOT / "bench" / "results" / "latest.json").read_text())
    rate = results["land_s3"]["isotherm"]["per_core"]
    peak, brokers = 1_000_000, 6
    landers = math.ceil(peak / (rate / 2))
    partitions = math.ceil(landers / brokers) * brokers
    example = " ".join(TEXT[TEXT.index("*Example.* 1 M events/s") :].split())
    assert f"lands {rate / 1e3:.0f} k events/s on a core" in example
    assert f"half of it is {rate / 2e3:.0f} k: {landers} landers, so {landers} partitions would do." in example
    enough = f"{partitions * rate / 2 / 1e6:.1f} M events/s"
    assert f"With {brokers} brokers take {partitions}, which is enough for {enough}." in example


DRILLS = {
    "the_broker_is_killed_under_load": "Kafka is killed",
    "the_broker_stands_still": "Kafka stands still for a minute",
    "s3_is_gone": "S3 is gone",
    "s3_is_slow_and_refuses": "S3 is slow, refuses and loses answers",
    "postgresql_restarts_and_is_killed": "PostgreSQL is restarted and killed",
    "postgresql_stands_still": "PostgreSQL stands still",
    "redis_is_flushed_hangs_and_is_gone": "Redis is flushed, hangs and is gone",
    "the_tile_store_is_killed_during_a_job": "the tile store is killed during a job, tiling or rolling up",
    "a_lander_a_scheduler_and_the_collector_are_killed": "lander, scheduler and collector are killed",
    "a_lander_and_a_scheduler_stand_still_for_longer_than_their_leases": "a lander and a scheduler stand still "
    "for longer than their leases",
    "landers_join_and_leave": "landers join and leave",
}
"""What docs/scale.md calls the drills of tests/services/test_drills.py."""


def test_scale_says_which_drills_ci_runs_and_which_make_drills() -> None:
    tree = ast.parse((ROOT / "tests" / "services" / "test_drills.py").read_text())
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_drill_")]
    long = {
        one.name.removeprefix("test_drill_"): any(
            ast.unparse(mark) == "pytest.mark.drill" for mark in one.decorator_list
        )
        for one in found
    }
    assert long.keys() == DRILLS.keys()
    said = " ".join(TEXT[TEXT.index("Of the [drills](#drills)") : TEXT.index("So do the long tests")].split())
    in_ci, by_hand = said.split("`make drills`")
    for name, phrase in DRILLS.items():
        assert (phrase in in_ci, phrase in by_hand) == (not long[name], long[name]), name
    assert '-m "not drill"' in (ROOT / "Makefile").read_text()


def test_values_of_the_chart_that_scale_names_are_there() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    named = re.findall(r"`((?:land|stores|networkPolicy)\.[\w.]+)`", TEXT)
    assert {"land.persistence.enabled", "stores.scan", "networkPolicy.scan"} <= set(named)
    for name in named:
        place = values
        for part in name.split("."):
            assert part in place, name
            place = place[part]


def test_what_scale_says_of_the_topic_is_what_is_made() -> None:
    assert f"{MESSAGE_BYTES:,}" in TEXT
    made = wanted_config(Settings(log="kafka://host:1", log_timestamp="event"))
    assert f"{int(made['message.timestamp.after.max.ms']):,}" in TEXT
    assert f"`retention.ms = {made['retention.ms']}`" in TEXT
    assert set(made) - {"message.timestamp.after.max.ms"} <= set(re.findall(r"`([a-z.]+)`", TEXT))
    defaults = Settings()
    for name in ("kafka_partitions", "kafka_replication", "log_retention_days"):
        assert f"`{name}` ({getattr(defaults, name)})" in TEXT


def test_files_that_scale_tells_to_use_exist() -> None:
    for path in re.findall(r"(?<![\w/])(deploy/[\w./-]+)", TEXT):
        assert (ROOT / path).exists() or path == "deploy/.env", path
