"""The program's surface: help, flags, settings, exit codes, locks, moments, the doctor's findings."""

import re
import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import sqlalchemy as sa

from isotherm.cli import COMMANDS, doctor, module_of, moments, processes, run
from isotherm.cli.config import source
from isotherm.cli.options import Everything
from isotherm.config import Settings
from isotherm.errors import ConfigError, IsothermError
from isotherm.store.db import open_db, writing


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ISOTHERM_{name.upper()}", raising=False)


def test_help_lists_every_command_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    for name, _, summary in COMMANDS:
        assert f"{name} {summary}" in shown
    assert " app " not in shown.split("Examples")[0].replace("the app", "")


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"isotherm {name}" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from isotherm.cli import run; run(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    for heavy in ("chdb", "pyarrow", "numpy", "pydantic", "sqlalchemy", "granian", "litestar"):
        assert f"'{heavy}'" not in done.stderr


def test_the_program_does_without_pandas() -> None:
    # pyarrow looks for it with the first array, which the ledger's modules make when they are imported.
    code = "import sys; from isotherm.cli import main; sys.argv = ['isotherm', 'ledger', '--help']; {}; main()"
    told = "import atexit; atexit.register(lambda: print([n in sys.modules for n in ('pyarrow', 'pandas')]))"
    done = subprocess.run([sys.executable, "-c", code.format(told)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[True, False]\n")


def test_modules_are_named_for_their_commands() -> None:
    folder = Path(processes.__file__).parent
    for name, _, _ in COMMANDS:
        module = module_of(name).rpartition(".")[2]
        assert (folder / f"{module}.py").is_file() or (folder / module / "__init__.py").is_file()


def test_every_setting_is_a_flag_of_up() -> None:
    flags = {field.name for field in fields(Everything)}
    assert set(Settings.model_fields) <= flags
    assert flags - set(Settings.model_fields) == {"config"}


def test_flags_beat_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "isotherm.toml").write_text("port = 1111\ncollect_port = 2222\nlate_horizon_days = 9\n")
    monkeypatch.setenv("ISOTHERM_PORT", "3333")
    monkeypatch.setenv("ISOTHERM_COLLECT_PORT", "4444")
    flags = Everything(data=tmp_path, port=5555)
    settings = flags.settings()
    assert (settings.port, settings.collect_port, settings.late_horizon_days) == (5555, 4444, 9)
    file = tmp_path / "isotherm.toml"
    named = [source(name, flags, file) for name in ("port", "collect_port", "late_horizon_days", "host")]
    assert named == ["flag", "environment", str(file), "default"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nope"], 2, "there is no command 'nope'"),
        (["ldger"], 2, "Did you mean `isotherm ledger`?"),
        (["up", "--prot", "1"], 2, "--port"),
        (["up", "--port", "x"], 2, "--port"),
        (["up", "--port", "99999"], 1, "port:"),
        (["up", "--host", "0.0.0.0"], 1, "`token`"),
        (["collect", "--collect-host", "0.0.0.0"], 1, "`clients`"),
        (["ledger", "--data", "/nowhere/at/all"], 1, "no such data folder"),
        (["import", "/nowhere.jsonl"], 1, "no such file"),
        (["export", "--client", "../x", "--screen", "s"], 1, "is not a client id"),
        (["lake", "ls", "--client", "../x"], 1, "is not a client id"),
        (["lake", "compare", "--client", "../x"], 1, "is not a client id"),
        (["lake", "cat", "--client", "../x"], 1, "is not a client id"),
        (["dead", "ls", "--client", "../x"], 1, "is not a client id"),
        (["rollup", "--from", "2026-01-01", "--to", "2026-01-02", "--client", "../x"], 1, "is not a client id"),
        (["rollup", "--from", "2026-01-01"], 1, "both --from and --to"),
        (["rollup", "--from", "2026-01-01T00:30", "--to", "2026-01-02"], 1, "full hours"),
        (["up", "--config", "/nowhere.toml"], 1, "no such settings file"),
    ],
)
def test_mistakes_are_told_in_one_paragraph(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("isotherm: ")
    assert "Traceback" not in captured.err


def test_what_is_to_land_once_is_no_folder_with_a_mistyped_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mistyped = tmp_path / "daat"
    assert run(["land", "--once", "--data", str(mistyped)]) == 1
    assert "no such data folder" in capsys.readouterr().err
    assert not mistyped.exists()


def test_every_command_of_the_lake_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lake", "--help"]) == 0
    assert "Find raw events: of a batch" in capsys.readouterr().out


def test_config_hides_the_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "--data", str(tmp_path), "--token", "secret-word"]) == 0
    assert "secret-word" not in capsys.readouterr().out


def test_a_child_sees_what_its_parent_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Everything(data=tmp_path, clients="a,b", land_formats="jsonl,parquet", token="t", port=1).settings()
    for name, value in processes.environment(chosen).items():
        monkeypatch.setenv(name, value)
    assert Everything().settings().model_dump() == chosen.model_dump() | {"data": tmp_path.absolute()}


def test_only_one_up_per_folder(tmp_path: Path) -> None:
    lock = processes.UpLock(tmp_path)
    assert processes.up_holds(tmp_path)
    running = processes.Running(4711, "1", 0, "http://127.0.0.1:1", "http://127.0.0.1:2")
    processes.write_running(tmp_path, running)
    with pytest.raises(IsothermError, match="4711"):
        processes.UpLock(tmp_path)
    assert processes.read_running(tmp_path) == running
    lock.close()
    assert processes.read_running(tmp_path) is None
    processes.UpLock(tmp_path).close()


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} .*--collect-port"):
            processes.claim("127.0.0.1", port, "collect_port")
    processes.claim("127.0.0.1", processes.free_port("127.0.0.1"), "port").close()


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-02-02", 1_769_990_400_000),
        ("2026-02-02T10:00", 1_770_026_400_000),
        ("2026-02-02T10:00:00Z", 1_770_026_400_000),
        ("2026-02-02T12:00:00+02:00", 1_770_026_400_000),
        ("1770026400000", 1_770_026_400_000),
    ],
)
def test_moments(text: str, ms: int) -> None:
    assert moments.hour_edge(text, "--from") == ms


def test_a_moment_that_is_none_is_refused() -> None:
    with pytest.raises(IsothermError, match="--from tomorrow"):
        moments.parse_moment("tomorrow", "--from")


def grades(settings: Settings) -> dict[str, str]:
    return {finding.check: finding.grade for finding in doctor.examine(settings)}


def free(tmp_path: Path, **more: object) -> Settings:
    return Settings(data=tmp_path / "data", port=0, collect_port=0, **more)  # type: ignore[arg-type]


def test_the_doctor_finds_nothing_in_a_healthy_place(tmp_path: Path) -> None:
    assert "error" not in grades(free(tmp_path)).values()


def test_the_doctor_names_what_is_wrong(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "holiday.jpg").write_bytes(b"")
    assert grades(free(tmp_path))["data"] == "error"
    (data / "log").mkdir()
    (data / "log" / "format.json").write_text('{"format": 99}')
    (data / "isotherm.db").write_bytes(b"not a database, for sure" * 50)
    found = grades(free(tmp_path, disk_reserve_bytes=1 << 60, host="0.0.0.0"))
    assert found["data"] == "warning"
    for check in ("log", "db", "disk", "exposure"):
        assert found[check] == "error", check
    assert all(f.advice for f in doctor.examine(free(tmp_path)) if f.grade != "ok")


@pytest.mark.parametrize(("revision", "grade"), [(None, "ok"), ("0001", "ok"), ("9999", "error")])
def test_the_doctor_opens_what_the_program_opens(tmp_path: Path, revision: str | None, grade: str) -> None:
    path = tmp_path / "data" / "isotherm.db"
    engine = open_db(f"sqlite://{path}")
    if revision:
        with writing(engine) as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :found"), {"found": revision})
    engine.dispose()
    assert grades(free(tmp_path))["db"] == grade


def test_the_doctor_knows_network_file_systems(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"none / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    assert doctor.machine.file_system(tmp_path / "data", mounts) == "nfs4"
    assert doctor.machine.file_system(Path("/etc"), mounts) == "ext4"
