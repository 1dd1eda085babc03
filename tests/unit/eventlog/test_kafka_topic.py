"""Which settings of a topic are refused; the brokers' answers are plain mappings here."""

import pytest

from isotherm.config import Settings
from isotherm.eventlog.kafka_topic import differences, wanted_config

BOTH = ("received", "event")
AS_BROKERS_SAY = {"message.timestamp.after.max.ms": str((1 << 63) - 1)}


def told(**changes: str) -> Settings:
    return Settings.model_validate({"log": "kafka://host:1", **changes})


@pytest.mark.parametrize("timestamp", BOTH)
def test_a_topic_as_it_is_made_is_not_refused(timestamp: str) -> None:
    settings = told(log_timestamp=timestamp)
    assert differences(AS_BROKERS_SAY | wanted_config(settings), settings) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("min.insync.replicas", "1", "min.insync.replicas is 1, set it to 2: else what is acknowledged"),
        ("retention.bytes", "1073741824", "retention.bytes is 1073741824, set it to -1: by size Kafka deletes"),
        ("retention.ms", "60000", "retention.ms is 60000, set it to 604800000"),
        ("max.message.bytes", "1048588", "max.message.bytes is 1048588, set it to 2162688"),
        ("cleanup.policy", "compact,delete", "cleanup.policy is compact,delete, set it to delete"),
        ("message.timestamp.type", "LogAppendTime", "message.timestamp.type is not CreateTime"),
    ],
)
def test_a_setting_that_could_lose_records_is_refused_with_what_to_set(name: str, value: str, said: str) -> None:
    settings = told()
    [one] = differences(AS_BROKERS_SAY | wanted_config(settings) | {name: value}, settings)
    assert one.startswith(said)


@pytest.mark.parametrize(("copies", "least"), [(1, "1"), (2, "1"), (3, "2"), (5, "2")])
def test_what_is_acknowledged_stands_on_two_brokers_where_one_may_be_away(copies: int, least: str) -> None:
    assert wanted_config(Settings(kafka_replication=copies))["min.insync.replicas"] == least


def test_event_times_ask_for_no_retention_by_time() -> None:
    settings = told(log_timestamp="event")
    [one] = differences(AS_BROKERS_SAY | wanted_config(settings) | {"retention.ms": "604800000"}, settings)
    assert one == "retention.ms is 604800000, set it to -1 (log_timestamp is event)"
