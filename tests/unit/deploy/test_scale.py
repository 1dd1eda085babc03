"""docs/scale.md names metrics, commands, settings and figures: all of them are real."""

import re

from charts import ROOT

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
