"""docs/benchmarks.md from bench/results/latest.json."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from bench import backup, ledger
from bench.distributed import report as distributed

INTRODUCTION: Final = """# Benchmarks

Written by `make bench` from [bench/results/latest.json](../bench/results/latest.json); do not edit by hand.
`python -m bench --help` lists the parts. Every peer and floor ran in the same run, in turns, and figures are medians
of the rounds in which the rest of the machine was idle (at most 0.15 cores; the least disturbed round if there was
none). CPU seconds are those of the server's processes. Rates of one machine are not those of another: compare
the ratios, and only within one durability class.
"""

GATES: Final = """## Gates

| what | gate | measured | |
| --- | --- | --- | --- |
"""

FOLDED: Final = {
    "ingest": "Durable ingest",
    "jobs": "The hourly job",
    "verify": "Verification",
    "end_to_end": "End to end",
    "query": "Reading a map",
    "memory": "Memory",
    "restart": "After a kill",
    "size": "Size of the lake",
    "ledger": "The loss ledger",
    "backup": "Backup and restore",
    "sdk": "The browser SDK",
    "first_paint": "The first paint of a map",
}


def render(results: dict[str, Any]) -> str:
    """The page; parts that were not measured are left out."""
    parts = [INTRODUCTION, _gates(results)]
    writers = {
        "ingest": _ingest,
        "jobs": _jobs,
        "verify": _verify,
        "end_to_end": _end_to_end,
        "query": _query,
        "memory": _memory,
        "restart": _restart,
        "size": _size,
        "ledger": partial(_ledger, ingest=results.get("ingest")),
        "backup": _backup,
        "sdk": _sdk,
        "first_paint": _first_paint,
    }
    for name, write in writers.items():
        if name in results:
            parts.append(f"## {FOLDED[name]}\n\n{write(results[name])}\n{_where(results[name])}")
    if distributed.PARTS.keys() & results.keys():
        parts.append(distributed.INTRODUCTION)
    for name, (title, texts, tables) in distributed.sections(results).items():
        told = "\n".join(f"{text}\n\n{_table(*table)}" for text, table in zip(texts, tables, strict=True))
        parts.append(f"### {title}\n\n{told}\n{_where(results[name])}")
    return "\n".join(parts)


def _where(found: dict[str, Any]) -> str:
    host = found["machine"]
    return (
        f"<sub>{found['date']}, `{found['command']}`, {found['took_seconds']} s. {host['cpu']}, {host['cores']} cores, "
        f"{host['memory_gib']} GiB, Linux {host['kernel']}, Python {host['python']}.</sub>\n"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _millions(rate: float) -> str:
    return f"{rate / 1e6:.2f} M"


def _gates(results: dict[str, Any]) -> str:
    rows: list[tuple[str, str, str, bool]] = []
    if "ingest" in results:
        targets = results["ingest"]["targets"]
        ours = targets["isotherm"]["events_per_second"]
        rows.append(("durable ingest", ">= 1.2 M events/s", _millions(ours), ours >= 1.2e6))
        for name, how in (("nginx_proxy", "proxy_pass"), ("nginx_mirror", "mirror")):
            ratio = ours / targets[name]["events_per_second"]
            rows.append(
                (f"against nginx ({how}) appending the bodies to its log", ">= 0.6 x", f"{ratio:.2f} x", ratio >= 0.6)
            )
    if "end_to_end" in results:
        rate = results["end_to_end"]["sustained_events_per_second"]
        rows.append(
            ("end to end, Parquet and tiles keeping up", ">= 400 k events/s", f"{rate / 1e3:.0f} k", rate >= 400_000)
        )
    if "42000000" in results.get("jobs", {}):
        engines = results["jobs"]["42000000"]["engines"]
        ours = engines["isotherm"]["seconds"]
        rows.append(("job for an hour of 42 M events", "<= 5 s", f"{ours:.2f} s", ours <= 5))
        for name in ("duckdb", "polars"):
            ratio = engines[name]["seconds"] / ours
            rows.append(
                (f"the same against {engines[name]['name'].split()[0]}", "faster", f"{ratio:.2f} x as fast", ratio > 1)
            )
    if "verify" in results:
        rate = results["verify"]["ways"]["all"]["events_per_second"]
        rows.append(("verify, all cores", ">= 5 M events/s", _millions(rate), rate >= 5e6))
    if "query" in results:
        p95 = results["query"]["ranges"]["year json"]["p95_ms"]
        rows.append(("map of a year, uncached, p95", "<= 20 ms", f"{p95} ms", p95 <= 20))
    if "memory" in results:
        idle = results["memory"]["idle_mb"]
        rows.append(("memory, idle", "<= 700 MB", f"{idle} MB", idle <= 700))
    if "restart" in results:
        worst = results["restart"]["worst_accepted_s"]
        rows.append(("kill -9 of everything, 1 GB on the log: first 202", "<= 2 s", f"{worst:.2f} s", worst <= 2))
    if {"ledger", "ingest"} <= results.keys():
        rows.append(ledger.gate(results["ledger"], results["ingest"]))
    if "sdk" in results:
        sdk = results["sdk"]
        rows.append(("browser SDK, gzip", "<= 6,000 bytes", f"{sdk['gzip_bytes']:,}", sdk["gzip_bytes"] <= 6000))
        more = sdk["with"]["long_tasks"] - sdk["without"]["long_tasks"]
        rows.append(("tasks over 50 ms that the SDK adds, 4 x slower CPU", "0", f"{more:g}", more <= 0))
    if "backup" in results:
        rows += backup.gates(results["backup"])
    rows += distributed.gates(results)
    return GATES + "".join(f"| {a} | {b} | {c} | {'met' if ok else '**missed**'} |\n" for a, b, c, ok in rows)


def _ingest(found: dict[str, Any]) -> str:
    floor = found["targets"]["nginx_mirror"]["events_per_second"]
    heads = (
        "",
        "durability",
        "events/s",
        "x nginx (mirror)",
        "p50 ms",
        "p99 ms",
        "CPU-s per M events",
        "disk bytes per event",
    )
    rows = [
        (
            t["name"] + (f" ({t['refused']} requests refused)" if t["refused"] else ""),
            t["durability"],
            _millions(t["events_per_second"]),
            f"{t['events_per_second'] / floor:.2f}",
            t["p50_ms"],
            t["p99_ms"],
            f"{t['cpu_s_per_million']:.2f}",
            t["disk_bytes_per_event"],
        )
        for t in found["targets"].values()
    ]
    return (
        f"POST of 200-event bodies ({found['body_bytes_per_event']} bytes an event, all different, smooth pointer "
        f"paths) over {found['connections']} connections for {found['seconds']} s a round, wrk on the same machine. "
        f"The collector validates every event, refuses duplicates among {found['remembered_ids']:,} remembered batch "
        "ids and calls fsync before each 202. Redis gets the bodies by XADD over 16 connections, 4 in flight on each, "
        "PostgreSQL the "
        "events as typed rows by COPY over 8 connections, without an index or a check for duplicates; nginx has one "
        "worker and checks nothing.\n\n" + _table(heads, rows)
    )


def _jobs(found: dict[str, Any]) -> str:
    parts: list[str] = []
    for part in (value for key, value in found.items() if key.isdigit()):
        ours = part["engines"]["isotherm"]["seconds"]
        rows = [
            (
                e["name"],
                e["seconds"],
                f"{e['seconds'] / ours:.2f}",
                e["cpu_seconds"],
                round(e["cpu_seconds"] / part["rows"] * 1e6, 3),
                e["peak_rss_mb"],
            )
            for e in part["engines"].values()
        ]
        heads = ("", "seconds", "x Isotherm", "CPU-s", "CPU-s per M events", "peak RSS, MB")
        parts.append(
            f"{part['rows']:,} rows, {part['maps']} maps, {part['files']} Parquet files as the lander writes them "
            f"({part['parquet_bytes_per_row']} bytes a row), in the page cache:\n\n" + _table(heads, rows)
        )
    return (
        "Each engine runs in a fresh process; loading programs is not counted (peak memory includes it). The counts "
        "were equal in every cell. Isotherm's time includes reading the manifest, inserting and fsyncing the maps, "
        "hashing and publishing them.\n\n" + "\n".join(parts)
    )


def _verify(found: dict[str, Any]) -> str:
    floor = found["ways"]["floor"]["seconds"]
    heads = ("", "seconds", "x floor", "events/s", "CPU-s per M events", "peak RSS, MB")
    rows = [
        (
            way["name"],
            f"{way['seconds']:.2f}",
            f"{way['seconds'] / floor:.1f}",
            _millions(way["events_per_second"]),
            f"{way['cpu_s_per_million']:.3f}",
            way["peak_rss_mb"],
        )
        for way in found["ways"].values()
    ]
    return (
        f"An hour of {found['rows']:,} events in {found['files']} Parquet files and {found['maps']} maps, in the page "
        "cache. Verify reads four columns, counts them with NumPy, reads the published maps back, compares every cell, "
        "hashes all and writes its verdicts down.\n\n" + _table(heads, rows)
    )


def _end_to_end(found: dict[str, Any]) -> str:
    heads = (
        "asked, events/s",
        "taken",
        "landed (2nd half)",
        "p99 ms",
        "all landed and tiled after",
        "CPU-s per M events",
        "keeps up",
        "others, cores",
    )
    steps = [*found["steps"], found["flood"]]
    rows = [
        (
            f"{s['asked_events_per_second']:,}" if s["asked_events_per_second"] else "as fast as it goes",
            f"{s['events_per_second']:,}",
            f"{s['landed_events_per_second']:,}",
            s["p99_ms"],
            f"{s['idle_after_seconds']} s",
            s["cpu_s_per_million"],
            "yes" if s["keeps_up"] else "no",
            s["others_cores"],
        )
        for s in steps
    ]
    flood = found["flood"]
    return (
        "`isotherm up` with default settings, wrk pacing the load on the same machine. A rate is kept up with when at "
        f"least {found['keeps_up_share']:.0%} of it is listed as Parquet during the load's second half, nothing is "
        f"refused, and everything is landed and tiled {found['idle_within_seconds']} s after the load's end (a record "
        "may wait 15 s for its file). After each step accepted = landed = rows in the manifest = sum of all maps was "
        f"checked.\n\n{_table(heads, rows)}\nFlooded, {flood['events']:,} events went from the wire to tiles at "
        f"{flood['through_events_per_second']:,} events/s, the drain included.\n"
    )


def _query(found: dict[str, Any]) -> str:
    heads = ("range, answer", "tiles", "p50 ms", "p95 ms", "p99 ms", "answer kB", "others, cores")
    rows = [
        (name, r["buckets"], r["p50_ms"], r["p95_ms"], r["p99_ms"], r["answer_kb"], r["others_cores"])
        for name, r in found["ranges"].items()
    ]
    return (
        f"`GET /v1/heatmap` of full maps (20,000 non-zero cells), {found['maps']:,} such maps in the table, "
        f"{found['requests']} requests one after the other over {found['screens']} screens in turn, no ETag.\n\n"
        + _table(heads, rows)
    )


def _memory(found: dict[str, Any]) -> str:
    rows = [
        (f"idle, {found['idle_seconds']} s after the start", found["idle_mb"]),
        (f"most under {found['load_events_per_second']:,} events/s for {found['load_seconds']} s", found["loaded_mb"]),
        ("after it, when all is tiled", found["after_mb"]),
    ]
    return (
        f"All {found['processes']} processes of `isotherm up`, proportional set size without file pages.\n\n"
        + _table(("", "MB"), rows)
    )


def _restart(found: dict[str, Any]) -> str:
    rows = [
        (what, f"{found[name]:.2f}", f"{found[f'worst_{name}']:.2f}")
        for what, name in (
            ("a batch is acknowledged", "accepted_s"),
            ("the collector says that it is healthy", "healthy_s"),
            ("the app does", "app_healthy_s"),
        )
    ]
    return (
        f"`isotherm up` with default settings; {found['waiting_bytes'] / 1e9:.2f} GB or more on the log had not landed "
        f"when every process of the group got SIGKILL, just after its last 202. The newest file of the log, up to "
        f"{found['newest_bytes'] / 1e6:.0f} MB, is checked page by page before anything is taken. Seconds from the "
        f"start of the next `isotherm up`, {found['rounds']} rounds; what was acknowledged before the kill was known "
        "after it.\n\n" + _table(("until", "median, s", "worst, s"), rows)
    )


def _size(found: dict[str, Any]) -> str:
    rows = [
        ("recording, JSON lines, gzip", "", found["source_bytes_per_event"]),
        ("lake, as landed", found["unmerged_files"], found["unmerged_bytes_per_event"]),
        ("lake, hours closed and merged", found["files"], found["bytes_per_event"]),
    ]
    return (
        f"The sapimouse recording ({found['events']:,} pointer events of 120 people) through `isotherm import`; each "
        "person is a client of their own. All columns of the lake, Parquet's own bytes included.\n\n"
        + _table(("", "files", "bytes per event"), rows)
    )


def _ledger(found: dict[str, Any], ingest: dict[str, Any] | None) -> str:
    said, rows = ledger.describe(found, ingest)
    return f"{said}\n\n{_table(('', 'CPU s per million events'), rows)}"


def _backup(found: dict[str, Any]) -> str:
    words, heads, rows = backup.describe(found)
    return f"{words}\n\n{_table(heads, rows)}"


def _sdk(found: dict[str, Any]) -> str:
    heads = (
        "",
        "main thread ms",
        "of it script ms",
        "style and layout ms",
        "tasks over 50 ms",
        "longest task, ms",
        "events accepted",
        "others, cores",
    )
    rows = [
        (
            f"{name} the SDK",
            f"{one['main_thread_ms']:g}",
            f"{one['script_ms']:g}",
            f"{one['layout_ms']:g}",
            f"{one['long_tasks']:g}",
            one["longest_task_ms"],
            f"{one['events']:g}",
            one["others_cores"],
        )
        for name, one in ((name, found[name]) for name in ("with", "without"))
    ]
    more = found["with"]["main_thread_ms"] - found["without"]["main_thread_ms"]
    return (
        f"{found['bytes']:,} bytes, {found['gzip_bytes']:,} with gzip. A page of {found['nodes']:,} elements in "
        f"Chromium, its CPU slowed down {found['slowdown']} times, used for {found['seconds']} s: moves at 60 Hz, two "
        "clicks and a turn of the wheel a second; the SDK's own start is part of it. Tasks are measured in CPU time of "
        "the main thread. The SDK takes "
        f"{more / found['seconds'] / 10:.1f} % of the slow CPU's time.\n\n" + _table(heads, rows)
    )


def _first_paint(found: dict[str, Any]) -> str:
    heads = (
        "cache",
        "heat, best ms",
        "heat, median ms",
        "heat, worst ms",
        "first words, median ms",
        "requests",
        "bytes",
    )
    rows = [
        (
            name,
            one["heat_best_ms"],
            one["heat_median_ms"],
            one["heat_worst_ms"],
            one["words_median_ms"],
            one["requests"],
            f"{one['bytes']:,}",
        )
        for name, one in (("empty", found["empty_cache"]), ("filled", found["filled_cache"]))
    ]
    return (
        f"The map of seven days of a page with its screenshot, opened {found['rounds']} times in Chromium at 1440 x "
        "900 with WebGL in software; milliseconds from the start of the navigation until the frame with the heat. The "
        "browser and the program share this machine.\n\n" + _table(heads, rows)
    )
