"""What is done with the job on Flink, by what Flink says of it."""

import re
from typing import Any

import pytest
from landing import NOW

from isotherm.clock import MINUTE_MS, ManualClock
from isotherm.config import Settings
from isotherm.errors import Backpressure, ConfigError
from isotherm.rollup.engines.flink import job as module
from isotherm.rollup.engines.flink import topic as topics
from isotherm.rollup.engines.flink.gateway import FlinkError
from isotherm.rollup.engines.flink.job import FlinkJob
from isotherm.rollup.engines.flink.sql import floor_of, job_of
from isotherm.rollup.windows.begin import Begin

FLOOR = NOW - 7 * MINUTE_MS


class Flink:
    """A cluster and its gateway: jobs as [id, name, status, start]; `rest` answers what the job manager tells."""

    def __init__(self) -> None:
        self.jobs: list[list[str]] = []
        self.rest: dict[str, Any] = {}
        self.recovered: list[str] = []
        self.floors: list[int] = []
        self._name = ""
        self._path = ""

    def __call__(self, *_: Any) -> "Flink":
        return self

    def __enter__(self) -> "Flink":
        return self

    def __exit__(self, *_: Any) -> None: ...

    def hidden(self, text: str) -> str:
        return text

    def run(self, statement: str) -> list[list[Any]]:
        if statement == "SHOW JOBS":
            return [list(job) for job in self.jobs]
        if statement == "RESET":
            self._path = ""
        if found := re.fullmatch(r"SET 'pipeline.name' = '(.*)'", statement):
            self._name = found[1]
        if found := re.fullmatch(r"SET 'execution.state-recovery.path' = '(.*)'", statement):
            self._path = found[1]
        if found := re.fullmatch(r"STOP JOB '(.*)' WITH SAVEPOINT", statement):
            return [[self._stop(found[1])]]
        return self._start(statement) if statement.startswith("INSERT") else []

    def _stop(self, job: str) -> str:
        (found,) = [one for one in self.jobs if one[0] == job]
        found[2] = "FINISHED"
        return f"file:/savepoint-{job}"

    def _start(self, statement: str) -> list[list[Any]]:
        job = f"j{len(self.jobs)}"
        self.jobs.append([job, self._name, "RUNNING", f"2026-01-01T00:00:0{len(self.jobs)}"])
        self.recovered.append(self._path)
        self.floors.append(int(re.search(r"`start` >= ([0-9]+)", statement)[1]))  # type: ignore[index]
        return [[job]]


@pytest.fixture
def flink(monkeypatch: pytest.MonkeyPatch) -> Flink:
    made = Flink()
    monkeypatch.setattr(module, "Session", made)
    monkeypatch.setattr(module, "_rest", lambda _, path: made.rest.get(path))
    return made


def deployed(**more: Any) -> FlinkJob:
    settings = Settings(**{"log": "kafka://h:1", "stream": "flink://h:1"} | more)
    return FlinkJob("flink://h:1", job_of(settings), lambda: Begin({}, NOW - 3 * MINUTE_MS, FLOOR), ManualClock(NOW))


def test_a_floor_goes_on_from_job_to_job(flink: Flink) -> None:
    first = deployed()
    assert "starts from the log" in first.ensure()
    floor = first.floor
    assert floor >= FLOOR
    assert "savepoint-j0" in first.ensure(restart=True)
    changed = deployed(kafka_options={"client.dns.lookup": "use_all_dns_ips"})
    changed.ensure()
    later = deployed(kafka_options={"client.dns.lookup": "use_all_dns_ips"})
    assert later.ensure() == "job j2 runs"
    assert flink.floors == [floor] * 3
    assert flink.recovered == ["", "file:/savepoint-j0", "file:/savepoint-j1"]
    assert [floor_of(job[1]) for job in flink.jobs] == [floor] * 3
    assert (first.floor, changed.floor, later.floor) == (floor, floor, floor)


def test_a_floor_goes_on_from_a_checkpoint_of_a_job_that_ended(flink: Flink) -> None:
    deployed().ensure()
    flink.jobs[0][2] = "CANCELED"
    completed = {"external_path": "file:/chk-9", "trigger_timestamp": NOW - 1000}
    flink.rest["/jobs/j0/checkpoints"] = {"latest": {"completed": completed}}
    again = deployed()
    assert "goes on from file:/chk-9" in again.ensure()
    assert flink.floors[1] == flink.floors[0] > 0


@pytest.mark.parametrize("status", ["RESTARTING", "CREATED", "RECONCILING", "SUSPENDED", "CANCELLING"])
def test_a_job_that_does_not_come_to_run_is_an_error_after_some_looks(flink: Flink, status: str) -> None:
    job = deployed()
    job.ensure()
    flink.jobs[0][2] = status
    trace = "x.RuntimeException: outer\nCaused by: x.AuthException: wrong password"
    flink.rest["/jobs/j0/exceptions"] = {"exceptionHistory": {"entries": [{"stacktrace": trace}]}}
    assert [job.ensure(), job.ensure()] == [f"job j0 is {status}"] * 2
    with pytest.raises(FlinkError, match=f"job j0 is {status} and counts nothing: .*wrong password; see Flink's"):
        job.ensure()
    flink.jobs[0][2] = "RUNNING"
    assert job.ensure() == "job j0 runs"
    flink.jobs[0][2] = status
    assert job.ensure() == f"job j0 is {status}"


def test_a_running_job_whose_tasks_find_no_machine_does_not_count(flink: Flink) -> None:
    job = deployed()
    job.ensure()
    flink.rest["/jobs/j0"] = {"status-counts": {"RUNNING": 2, "SCHEDULED": 1, "FAILED": 0}}
    job.ensure()
    job.ensure()
    with pytest.raises(FlinkError, match=r"tasks of it are SCHEDULED and counts nothing: .*free slots"):
        job.ensure()
    flink.rest["/jobs/j0"] = {"status-counts": {"RUNNING": 3, "SCHEDULED": 0}}
    assert job.ensure() == "job j0 runs"


class Brokers:
    """An admin client: what `describe` and `create` raise, by Kafka's error codes; 0 for a good answer."""

    def __init__(self, describe: int, create: int, config: dict[str, str]) -> None:
        self.created: list[str] = []
        self._describe, self._create, self._config = describe, create, config

    def __call__(self, _: Any) -> "Brokers":
        return self

    def describe_topics(self, _: Any, **__: Any) -> Any:
        return {"heatmap.windows": _Answer(self._describe)}

    def create_topics(self, new: list[Any], **_: Any) -> Any:
        self.created += [topic.topic for topic in new]
        return {"heatmap.windows": _Answer(self._create)}

    def describe_configs(self, asked: list[Any], **_: Any) -> Any:
        entries = {name: _Entry(name, value) for name, value in self._config.items()}
        return {asked[0]: _Answer(0, entries)}


class _Entry:
    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value


class _Answer:
    def __init__(self, code: int, value: Any = None) -> None:
        self._code, self._value = code, value

    def result(self, _: float) -> Any:
        if self._code:
            raise topics.KafkaException(topics.KafkaError(self._code))
        return self._value


UNKNOWN, DENIED = topics.KafkaError.UNKNOWN_TOPIC_OR_PART, topics.KafkaError.TOPIC_AUTHORIZATION_FAILED


def asked(monkeypatch: pytest.MonkeyPatch, brokers: Brokers) -> None:
    monkeypatch.setattr(topics, "AdminClient", brokers)
    topics.Topic(Settings(log="kafka://h:1"), ManualClock(NOW)).ensure()


def test_a_topic_that_is_there_is_not_made_so_no_right_for_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    brokers = Brokers(0, DENIED, {"cleanup.policy": "compact", "retention.ms": "1"})
    asked(monkeypatch, brokers)
    assert brokers.created == []


def test_a_topic_that_came_in_between_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    there = topics.KafkaError.TOPIC_ALREADY_EXISTS
    with pytest.raises(ConfigError, match=r"retention\.ms is 1, set it to 7500000"):
        asked(monkeypatch, Brokers(UNKNOWN, there, {"cleanup.policy": "delete,compact", "retention.ms": "1"}))


@pytest.mark.parametrize(
    ("describe", "create", "said"),
    [
        (UNKNOWN, DENIED, "grant CREATE on it, or make it with cleanup.policy=compact,delete, retention.ms=86400000"),
        (DENIED, 0, "grant DESCRIBE and DESCRIBE_CONFIGS on topic heatmap.windows"),
    ],
)
def test_a_right_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, describe: int, create: int, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        asked(monkeypatch, Brokers(describe, create, {}))


def test_brokers_that_are_away_are_no_error_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Backpressure, match="h:1"):
        asked(monkeypatch, Brokers(topics.KafkaError.LEADER_NOT_AVAILABLE, 0, {}))
