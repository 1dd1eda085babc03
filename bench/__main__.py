"""`python -m bench [PART ...]`: measure, and write down what was found.

Parts: ingest, jobs, verify, end_to_end, query, memory, restart, size, ledger, backup, sdk, first_paint; on real servers
of the distributed build (see tests/services/README.md, fetched by `make services`): collect_kafka, land_s3, jobs_spark,
windows.

Loads go to 127.0.0.1 only. Everything lies in a temporary folder that is removed at the end; every process that is
started is stopped by its id, also when a measurement fails.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

from bench import backup, end_to_end, first_paint, ledger, machine, memory, query, report, restart, sdk, size, verify
from bench.distributed import collect, hourly, landing, windows
from bench.ingest import measure as ingest
from bench.jobs import measure as jobs
from bench.sizes import FULL, QUICK, Sizes
from isotherm.errors import IsothermError

MEASUREMENTS: Final[dict[str, Callable[[Sizes, Path], dict[str, Any]]]] = {
    "ingest": ingest.run,
    "jobs": jobs.run,
    "verify": verify.run,
    "end_to_end": end_to_end.run,
    "query": query.run,
    "memory": memory.run,
    "restart": restart.run,
    "size": size.run,
    "ledger": ledger.run,
    "backup": backup.run,
    "sdk": sdk.run,
    "first_paint": first_paint.run,
    "collect_kafka": collect.run,
    "land_s3": landing.run,
    "jobs_spark": hourly.run,
    "windows": windows.run,
}
RESULTS: Final = Path(__file__).parent / "results" / "latest.json"
TABLE: Final = Path("docs/benchmarks.md")


def main(arguments: list[str]) -> int:
    """Run the named measurements (all without a name); returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="MEASUREMENT", help=f"of {', '.join(MEASUREMENTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    parser.add_argument(
        "--results", type=Path, help=f"JSON to write; default {RESULTS.name} and {TABLE}, unless --quick"
    )
    parser.add_argument("--report", action="store_true", help=f"only write {TABLE} again from the last results")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - MEASUREMENTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(MEASUREMENTS)}")
    target = given.results or (None if given.quick else RESULTS)
    if not given.report:
        try:
            _measure(given.names or list(MEASUREMENTS), QUICK if given.quick else FULL, target, arguments)
        except (IsothermError, KeyboardInterrupt) as error:
            print(f"bench: stopped: {error}", file=sys.stderr)
            return 1
    if target == RESULTS:
        TABLE.write_text(report.render(json.loads(RESULTS.read_text())), encoding="utf-8")
        print(f"wrote {RESULTS.relative_to(Path.cwd())} and {TABLE}")
    return 0


def _measure(names: list[str], sizes: Sizes, target: Path | None, arguments: list[str]) -> None:
    machine.require_linux()
    command = " ".join(["python -m bench", *arguments])
    for name in names:
        print(f"{name} ...", flush=True)
        start = time.monotonic()
        with _interruptible(), tempfile.TemporaryDirectory(prefix="isotherm-bench-") as folder:
            # PostgreSQL refuses to run as root: its own user must be able to reach its folder in ours.
            Path(folder).chmod(0o711)
            found = MEASUREMENTS[name](sizes, Path(folder))
        when = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "command": command,
            "took_seconds": round(time.monotonic() - start),
            "machine": machine.describe(),
        }
        print(json.dumps(found, indent=1), flush=True)
        if target is not None:
            _keep(target, name, when | found)


def _keep(target: Path, name: str, found: dict[str, Any]) -> None:
    """Write one measurement's results beside those that are there: each says when and where it was made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(target.read_text()) if target.is_file() else {}
    known[name] = found
    target.write_text(json.dumps({n: known[n] for n in MEASUREMENTS if n in known}, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _interruptible() -> Any:
    """SIGTERM unwinds like Ctrl-C, so that processes are stopped and folders removed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(f"signal {number}")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
