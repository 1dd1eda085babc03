"""The distributed part of docs/benchmarks.md."""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

INTRODUCTION: Final = """## Distributed

Real servers on the same machine, started for the run as the tests start them: Apache Kafka (one node, 4 partitions, one
copy), versitygw, PostgreSQL, Redis, a standalone Spark and a Flink session cluster. They share its cores with what is
measured and with the load, so rates say little and CPU seconds and ratios say more. ClickHouse "by HTTP" is the tests'
front over chDB, no ClickHouse server.
"""
Gate = tuple[str, str, str, bool]
Table = tuple[Sequence[str], Sequence[Sequence[Any]]]


class Section(NamedTuple):
    """Its heading, and texts that each have a table behind them."""

    title: str
    texts: list[str]
    tables: list[Table]


def gates(results: dict[str, Any]) -> list[Gate]:
    """What, the gate, what was measured, and whether it is met."""
    found: list[Gate] = []
    if part := results.get("collect_kafka"):
        ratio = part["ratio"]
        found.append(("collector to Kafka against librdkafka alone", ">= 0.7 x", f"{ratio:.2f} x", ratio >= 0.7))
    if part := results.get("land_s3"):
        rate = part["isotherm"]["per_core"]
        found.append(
            ("landing from Kafka to S3, per core", ">= 500 k events/s", f"{rate / 1e3:.0f} k", rate >= 500_000)
        )
    return found


def sections(results: dict[str, Any]) -> dict[str, Section]:
    """The parts that were measured, in order."""
    return {name: write(results[name]) for name, write in PARTS.items() if name in results}


def _noise(rounds: Sequence[float], found: dict[str, Any]) -> str:
    low, high = min(rounds), max(rounds)
    return f"other programs took {low:.2f} to {high:.2f} cores, load average {found['load_average']:g}"


def _cores(rounds: Sequence[dict[str, Any]]) -> list[float]:
    return [one["others_cores"] for one in rounds]


def _collect(found: dict[str, Any]) -> Section:
    floor, waiting, ours = found["floor"], found["waiting"], found["isotherm"]
    heads = ("", "events/s", "collector, x this", "CPU-s per M events", "of the broker", "p50 ms", "p99 ms")

    def row(name: str, one: dict[str, Any], ratio: str) -> tuple[Any, ...]:
        costs = (f"{one['cpu_s_per_million']:.2f}", f"{one['broker_cpu_s_per_million']:.2f}")
        return name, f"{one['events_per_second']:,.0f}", ratio, *costs, one.get("p50_ms", ""), one.get("p99_ms", "")

    groups = f"librdkafka alone, {found['connections']} records confirmed before the next"
    rows = [
        row("librdkafka alone, as fast as it can", floor, f"{found['ratio']:.2f}"),
        row(groups, waiting, f"{found['waiting_ratio']:.2f}"),
        row("Isotherm collector, one process", ours, ""),
    ]
    rounds = f"{found['calm_rounds']} undisturbed rounds" if found["calm_rounds"] else "rounds, all of them disturbed"
    ratios = ", ".join(f"{ratio:.2f}" for ratio in found["ratios"])
    text = (
        f"POST of 200-event bodies over {found['connections']} connections for {found['seconds']} s a round, wrk on "
        "the same machine; clients are authorised, every event is validated, and 202 waits for the delivery report "
        "(acks=all, idempotent, lz4, linger 5 ms). The floor hands the very records that the collector wrote to a "
        "producer with the same options: no HTTP, no load generator, nothing to check. Once as fast as the broker "
        "confirms them, and once as the collector must, whose senders wait for their answers. In turns; medians of "
        f"the {rounds}; collector to the first in all rounds: {ratios}; "
        f"{_noise(_cores(floor['rounds'] + ours['rounds']), found)}."
    )
    cores = found["machine"]["cores"]
    whole = cores / (0.7 * floor["events_per_second"]) * 1e6
    own = ours["cpu_s_per_million"] - waiting["cpu_s_per_million"]
    why = (
        f"0.7 of the first row would leave {whole:.2f} CPU-s per M events to collector, broker and load generator "
        f"together on {cores} cores. Reading, decoding and checking the bodies alone takes the collector about "
        f"{own:.2f}, whatever the log: a producer that is given finished records does none of that."
    )
    return Section("Collector to Kafka", [f"{text} {why}"], [(heads, rows)])


def _land(found: dict[str, Any]) -> Section:
    floor, ours = found["floor"], found["isotherm"]
    heads = ("", "events/s", "events/s per core", "CPU-s per M events")
    rows = [
        (name, f"{one['events_per_second']:,.0f}", f"{one['per_core']:,.0f}", f"{one['cpu_s_per_million']:.2f}")
        for name, one in (
            ("confluent-kafka reads the records, obstore puts the files' bytes", floor),
            ("Isotherm lander: decode, sort, Parquet, manifest in PostgreSQL", ours),
        )
    ]
    rounds = ", ".join(f"{one['cpu_s_per_million']:.2f}" for one in ours["rounds"])
    text = (
        f"{found['events']:,} events in {found['records']:,} records ({found['record_bytes_per_event']} bytes an "
        f"event) from 4 partitions to {found['files']} Parquet files ({found['file_bytes_per_event']} bytes an event) "
        "on versitygw, by one process; CPU seconds are its own, of all its threads. In turns; rounds of the lander: "
        f"{rounds} CPU-s per M events; "
        f"{_noise(_cores(floor['rounds'] + ours['rounds']), found)}."
    )
    return Section("Landing from Kafka to S3", [text], [(heads, rows)])


def _jobs(found: dict[str, Any]) -> Section:
    heads = ("", "first job, s", "CPU-s", "the same again (median of 3), s", "CPU-s", "CPU-s per M events, again")
    rows = [
        (
            one["name"],
            one["first_seconds"],
            one["first_cpu_seconds"],
            one["seconds"],
            one["cpu_seconds"],
            f"{one['cpu_seconds'] / found['rows'] * 1e6:.3f}",
        )
        for one in found["engines"].values()
    ]
    cores = [other for one in found["engines"].values() for _, other in one["rounds"]]
    text = (
        f"{found['rows']:,} rows, {found['maps']} maps, {found['files']} Parquet files "
        f"({found['parquet_bytes_per_row']} bytes a row) on versitygw. Each engine works in a fresh "
        "process: the first job of Spark starts its driver and executors, which stay for the next. Reading the "
        "manifest, inserting the maps, hashing and publishing are in the times, S3's own CPU is not. The counts were "
        "equal in every cell; "
        f"{_noise(cores, found)}."
    )
    return Section("The hourly job from S3", [text], [(heads, rows)])


def _windows(found: dict[str, Any]) -> Section:
    engines = found["engines"].values()
    heads = ("", "p50 ms", "p95 ms", "floor p50 ms", "floor p95 ms", "others, cores")
    delays = [
        (e["name"], e["p50_ms"], e["p95_ms"], e["floor_p50_ms"], e["floor_p95_ms"], e["others_cores"]) for e in engines
    ]
    counted = [
        (
            e["name"],
            f"{e['load_events_per_second']:,}",
            f"{e['cpu_s_per_million']:.2f}",
            f"{e['counted_after_seconds']} s",
        )
        for e in engines
    ]
    text = (
        f"{found['probes']} clicks one after the other, each on a screen of its own: from the POST to the collector "
        "until `GET /v1/live/windows`, asked every 10 ms, shows it, through Kafka, the engine and Redis. The floor is "
        f"a plain consumer that sees the same record. Load average {found['load_average']:g}."
    )
    more = (
        "CPU seconds under a paced load, until every event of it was in a window; of Flink the task manager's, the job "
        "manager's and our own consumer's."
    )
    return Section(
        "Live windows",
        [text, more],
        [(heads, delays), (("", "events/s", "CPU-s per M events", "all counted after the load's end"), counted)],
    )


PARTS: Final[dict[str, Callable[[dict[str, Any]], Section]]] = {
    "collect_kafka": _collect,
    "land_s3": _land,
    "jobs_spark": _jobs,
    "windows": _windows,
}
