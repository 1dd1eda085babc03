"""A restore drill: a backup becomes a deployment in a folder of its own, is started, proved and thrown away."""

import json as json_
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from isotherm.cli import processes
from isotherm.cli.client import AppClient
from isotherm.cli.drill_folder import drill_folder
from isotherm.cli.output import console, duration, errors, print_json, size
from isotherm.clock import SystemClock, iso
from isotherm.config import SECRETS, Settings
from isotherm.errors import IsothermError

if TYPE_CHECKING:
    from isotherm.backup.inventory import Inventory
    from isotherm.backup.restore import Report

START_SECONDS: Final = 180.0
SETTLE_SECONDS: Final = 4 * 3600.0
_STOP_SECONDS: Final = 90.0
_EVENTS_A_DAY: Final = 1e9
_TELLING_BYTES: Final = 64_000_000
_RTO_SECONDS: Final = 4 * 3600.0
_PLACES: Final = frozenset(
    {"data", "host", "port", "token", "allowed_hosts", "collect_host", "collect_port", "collect_public_url", "clients"}
    | {"health_host", "health_port", "log", "dead_log", "lake", "olap", "db", "cache", "engine", "stream", "scan"}
    | {"log_timestamp", "log_key", "archive"}
)
"""Settings that say where something is or who may reach it: a drill has its own."""


def rehearse(source: str, at: int | None, given: Settings, sample: int, *, json: bool) -> int:
    """Restore the newest backup at that time into a temporary folder, start it, and check it. Returns the exit code:
    1 when the sums do not close or a map differs from the raw events. Leaves nothing behind, on SIGTERM neither."""
    from isotherm.backup.restore import choose
    from isotherm.backup.target import open_target
    from isotherm.cli.restore import restore

    asked_at = SystemClock().now_ms()
    with _stoppable(), drill_folder() as folder:
        target = open_target(source, given, make=False, scratch=folder)
        inventory = target.inventory(choose(target, at))
        settings = settings_of(inventory, folder / "data")
        processes.make_folder(settings.data)
        began = time.monotonic()
        report = restore(target, inventory, settings)
        restored = time.monotonic()
        with ExitStack() as stack:
            app = _started(settings, folder, stack)
            answering = time.monotonic()
            _settled(app)
            settled = time.monotonic()
            ledger = _asked(settings, "ledger", "--check", "--json")
            verify = _asked(settings, "verify", "--json", *(("--sample", str(sample)) if sample else ()))
        found = _result(inventory, report, asked_at, (began, restored, answering, settled)) | {
            "ledger": {"closes": ledger[0] == 0, "differences": ledger[1].get("differences", [])},
            "verify": verify[1] | {"right": verify[0] == 0},
        }
    wrong = ledger[0] or verify[0]
    if json:
        print_json(found)
    else:
        _say(found)
    return 1 if wrong else 0


@contextmanager
def _stoppable() -> Generator[None]:
    """Ctrl-C and SIGTERM end what is inside; a second one does not end the tidying up."""
    asked = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def settings_of(inventory: "Inventory", data: Path) -> Settings:
    """The backed-up deployment's settings, with all stores embedded under `data`, out of reach of other machines."""
    kept = {
        name: value
        for name, value in inventory.settings.items()
        if name in Settings.model_fields and name not in _PLACES and name not in SECRETS
    }
    # Said one by one: what this process's environment says of stores is for another deployment.
    own: dict[str, Any] = {
        name: field.get_default() for name, field in Settings.model_fields.items() if name in _PLACES | SECRETS
    }
    values: dict[str, Any] = {**kept, **own, "data": data, "port": 0, "collect_port": 0}
    return Settings(**values)


def _started(settings: Settings, folder: Path, stack: ExitStack) -> AppClient:
    """`isotherm up` in processes of its own; stopped when the stack is left, and ended when this process is."""
    said = stack.enter_context((folder / "up.log").open("ab"))
    chosen = settings
    for host, port in (("host", "port"), ("collect_host", "collect_port")):
        chosen = processes.fix_port(chosen, host, port)
    process = subprocess.Popen(
        [sys.executable, "-m", "isotherm", "up", "--parent", str(os.getpid())],
        env=processes.environment_without_settings() | processes.environment(chosen),
        stdout=said,
        stderr=said,
        start_new_session=True,
    )
    stack.callback(_stopped, process)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = processes.read_running(settings.data)
        if running is not None and running.ready:
            return AppClient(running.app, settings.token)
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise IsothermError(f"the restored deployment does not start: {(folder / 'up.log').read_text()[-2000:]}")


def _stopped(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _settled(app: AppClient) -> None:
    """Wait until what was restored is landed and tiled. Raises IsothermError when it takes far too long."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        if app.get_json("/v1/status")["idle"]:
            return
        time.sleep(0.5)
    raise IsothermError("the restored deployment is still landing and tiling after hours; see its log")


def _asked(settings: Settings, *arguments: str) -> tuple[int, dict[str, Any]]:
    """What a command says about the running deployment: its exit code and its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "isotherm", *arguments],
        env=processes.environment_without_settings() | processes.environment(settings),
        capture_output=True,
        check=False,
    )
    try:
        return done.returncode, json_.loads(done.stdout)
    except ValueError:
        raise IsothermError(f"`isotherm {' '.join(arguments)}` failed: {done.stderr.decode()[-2000:]}") from None


def _result(
    inventory: "Inventory", report: "Report", asked_at: int, moments: tuple[float, float, float, float]
) -> dict[str, Any]:
    began, restored, answering, settled = moments
    newest = None if inventory.log is None else inventory.log.newest_at
    read_at = inventory.finished_at if inventory.log is None else inventory.log.read_at
    restoring = max(restored - began, 1e-3)
    rate = report.bytes / restoring
    return {
        "backup": inventory.id,
        "begun": iso(inventory.started_at),
        "events": inventory.events,
        "bytes": report.bytes,
        "rpo_seconds": round((asked_at - read_at) / 1000, 1),
        "newest_event": None if newest is None else iso(newest),
        "rto_seconds": round(settled - began, 1),
        "restore_seconds": round(restoring, 1),
        "start_seconds": round(answering - restored, 1),
        "settle_seconds": round(settled - answering, 1),
        "bytes_per_second": round(rate),
        **at_scale(report.bytes, inventory.events, rate),
    }


def at_scale(size_: int, events: int, rate: float) -> dict[str, Any]:
    """What the measured rate means for a billion events a day: bytes of such a day, seconds to restore it, and how many
    days fit into four hours. Bytes are those of the whole backup per event. Nothing for a small backup, whose rate and
    size are those of everything but events."""
    if not events or size_ < _TELLING_BYTES:
        return {}
    of_a_day = size_ / events * _EVENTS_A_DAY
    seconds = of_a_day / rate
    return {
        "bytes_per_event": round(size_ / events, 2),
        "seconds_per_day_of_1e9_events": round(seconds, 1),
        "days_of_1e9_events_in_4_h": round(_RTO_SECONDS / seconds, 1),
    }


def _say(found: dict[str, Any]) -> None:
    out = console()
    out.print(f"backup {found['backup']} of {found['begun']}: {found['events']:,} events, {size(found['bytes'])}")
    out.print(
        f"RPO {duration(found['rpo_seconds'])}: all that was acknowledged until then before this drill was in it; the "
        f"newest record was received {found['newest_event'] or 'never'}"
    )
    out.print(
        f"RTO {duration(found['rto_seconds'])}: {found['restore_seconds']} s to restore "
        f"({size(found['bytes_per_second'])}/s), {found['start_seconds']} s until it answered, "
        f"{found['settle_seconds']} s until everything was landed and tiled"
    )
    if "bytes_per_event" in found:
        out.print(
            f"at this rate and {found['bytes_per_event']} bytes an event, a day of 1,000,000,000 events takes "
            f"{duration(found['seconds_per_day_of_1e9_events'])}; {found['days_of_1e9_events_in_4_h']:,} such days fit "
            "into 4 h"
        )
    else:
        out.print("the backup is too small to say what this means for a billion events a day")
    if found["ledger"]["closes"]:
        out.print("the ledger's sums close")
    for line in found["ledger"]["differences"]:
        errors().print(str(line), markup=False)
    verify = found["verify"]
    if verify["right"]:
        out.print(f"{verify.get('same', 0):,} buckets are the same as the raw events say")
    else:
        errors().print(f"[bold red]{verify.get('different', 0):,} buckets differ from the raw events[/]")
