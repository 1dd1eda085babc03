"""The Flink job as text: the rule's numbers, the settings, and no secret where one can be read."""

from pathlib import Path
from typing import Any

import pytest

from isotherm.config import Settings
from isotherm.errors import ConfigError
from isotherm.rollup.engines.flink.gateway import Session, cause
from isotherm.rollup.engines.flink.job import _drops
from isotherm.rollup.engines.flink.sql import STATE_TTL_MS, java_options, job_of
from isotherm.rollup.windows.rule import BACK_MS, EARLY_MS, LATE_MS

LOG = "kafka://one:9092,two:9092?topic=events"


def settings(**more: Any) -> Settings:
    return Settings(**{"log": LOG, "stream": "flink://gateway:8083"} | more)


def test_the_numbers_are_the_rule_s() -> None:
    text = "\n".join(job_of(settings()).statements(since=5, exact_from=7))
    assert f"<= {LATE_MS}" in text
    assert f">= -{EARLY_MS}" in text
    for ms in (60_000, 300_000, 3_600_000):
        assert f"ROW(CAST({ms} AS BIGINT), `at` - MOD(`at`, {ms}))" in text
    assert "'scan.startup.timestamp-millis' = '5'" in text
    assert "`start` >= 7" in text
    assert f"'{STATE_TTL_MS} ms'" in text
    assert STATE_TTL_MS > BACK_MS
    assert "${" not in text
    assert "$$" not in text


def test_a_past_is_named_only_where_there_is_one() -> None:
    job = job_of(settings())
    assert "state-recovery" not in "".join(job.statements(since=1, exact_from=1))
    statements = job.statements(since=1, exact_from=1, recover_from="file:/it's/savepoint-1")
    assert "SET 'execution.state-recovery.path' = 'file:/it''s/savepoint-1'" in statements


def test_the_last_statement_starts_the_job_and_none_ends_in_a_semicolon() -> None:
    statements = job_of(settings()).statements(since=1, exact_from=1)
    assert statements[-1].startswith("INSERT INTO `windows`")
    assert not any(statement.endswith(";") or not statement for statement in statements)
    assert {statement.split()[0] for statement in statements} == {"SET", "CREATE", "INSERT"}
    assert "DROP TEMPORARY TABLE IF EXISTS `records`" in _drops(statements)
    assert "DROP TEMPORARY VIEW IF EXISTS `fresh`" in _drops(statements)


def test_a_name_stands_for_one_text_and_its_family_for_one_deployment() -> None:
    first = job_of(settings())
    same = job_of(settings(port=9999))
    other = job_of(settings(kafka_options={"client.dns.lookup": "use_all_dns_ips"}))
    elsewhere = job_of(settings(windows_topic="other"))
    split = job_of(settings(log_timestamp="event"))
    assert first.name == same.name
    assert first.family == other.family == split.family != elsewhere.family
    assert len({first.name, other.name, elsewhere.name, split.name}) == 4
    assert all(job.name.startswith(f"{job.family}-") for job in (first, other, elsewhere, split))


def test_settings_cannot_break_out_of_the_text() -> None:
    evil = "x', 'connector' = 'print"
    text = "".join(job_of(settings(windows_topic=evil)).statements(since=1, exact_from=1))
    assert "'topic' = 'x'', ''connector'' = ''print'" in text


def test_kafka_options_become_those_of_the_java_client(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(f"PEM {name}")
    given = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": 'a"b',
        "sasl.password": "p\\w'd",
        "ssl.ca.location": str(tmp_path / "ca"),
        "ssl.certificate.location": str(tmp_path / "cert"),
        "ssl.key.location": str(tmp_path / "key"),
        "ssl.endpoint.identification.algorithm": "none",
        "queue.buffering.max.messages": "1000",
    }
    options = java_options("one:9092", given)
    login = options.pop("sasl.jaas.config")
    assert login.endswith('.ScramLoginModule required username="a\\"b" password="p\\\\w\'d";')
    assert options == {
        "bootstrap.servers": "one:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": "PEM ca",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.certificate.chain": "PEM cert",
        "ssl.keystore.key": "PEM key",
        "ssl.endpoint.identification.algorithm": "",
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sasl.mechanism": "GSSAPI"}, "sasl.mechanism GSSAPI"),
        ({"ssl.ca.location": "/there/is/none"}, "/there/is/none"),
        ({"enable.ssl.certificate.verification": "false"}, "ssl.ca.location"),
    ],
)
def test_options_that_flink_cannot_have_are_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        job_of(settings(kafka_options=options))


def test_secrets_are_neither_in_the_name_nor_in_messages() -> None:
    job = job_of(settings(kafka_options={"sasl.mechanism": "PLAIN", "sasl.username": "me", "sasl.password": "hush"}))
    assert "hush" not in job.name
    assert "hush" not in Session("flink://h:1", job.secrets).hidden("Table options: password=hush")


@pytest.mark.parametrize("url", ["flink://", "flink://host", "http://host:1", "flink://host:1/x"])
def test_a_gateway_s_address_has_host_and_port(url: str) -> None:
    with pytest.raises(ConfigError, match="flink://host:port"):
        Session(url)


def test_the_cause_is_the_last_of_a_stack_trace() -> None:
    said = (
        b'{"errors": ["Internal server error.", "<Exception on server side:\\norg.apache.flink.SqlGatewayException: '
        b"Failed\\n\\tat a.b(C.java:1)\\nCaused by: org.apache.flink.table.api.ValidationException: No such "
        b'table\\n\\tat d.e(F.java:2)\\nEnd of exception>"]}'
    )
    assert cause(said) == "No such table"
    assert cause(b"<html>") == "<html>"
    assert cause(b"") == "no reason given"
