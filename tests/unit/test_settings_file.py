"""A settings file that cannot be used: the error says where, and what to write instead."""

import os
from pathlib import Path

import pytest

from isotherm.cli import run
from isotherm.config import load_settings
from isotherm.errors import ConfigError


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"foo = [", "(at end of document)"),
        (b"port = 1\nport = 2\n", "Cannot overwrite a value (at line 2, column 9)"),
        (b'port = 1\nlog = "\xff"\n', "byte 0xff is no UTF-8, at line 2"),
    ],
)
@pytest.mark.parametrize("command", ["status", "config", "doctor", "up"])
def test_a_file_that_is_no_toml_is_named_with_the_place(
    tmp_path: Path, content: bytes, why: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "isotherm.toml"
    file.write_bytes(content)
    assert run([command, "--data", str(tmp_path)]) != 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"{file}: is no TOML (" in said
    assert why in said
    assert said.endswith("mend that line, or move the file away")


def test_a_setting_that_is_misspelt_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    assert wrong(tmp_path, "verify_smple = 3") == [
        "verify_smple: there is no such setting (did you mean verify_sample?); `isotherm config --reference` lists all"
    ]


def test_a_setting_that_is_like_no_other_is_told(tmp_path: Path) -> None:
    assert wrong(tmp_path, "quux = 3\nport = 'x'") == [
        "port: Input should be a valid integer, unable to parse string as an integer",
        "quux: there is no such setting; `isotherm config --reference` lists all",
    ]


@pytest.mark.parametrize("line", ["retention = 90", "retention.shop = 90"])
def test_days_of_single_clients_that_are_no_table_are_told_with_one(tmp_path: Path, line: str) -> None:
    (said,) = wrong(tmp_path, line)
    assert "write a table per client, such as [retention.shop] with the line raw = 90" in said
    assert load_settings(data=tmp_path, retention='{"shop": {"raw": 90}}').kept_days("raw", "shop") == 90


def test_options_that_are_no_table_are_told(tmp_path: Path) -> None:
    (said,) = wrong(tmp_path, "kafka_options = 5")
    assert said.startswith("kafka_options: write a table of texts in the settings file")


def test_days_of_single_clients_are_read_from_such_a_table(tmp_path: Path) -> None:
    (tmp_path / "isotherm.toml").write_text("[retention.shop]\nraw = 90\n")
    assert load_settings(data=tmp_path).kept_days("raw", "shop") == 90


@pytest.mark.parametrize("hidden", ["file", "folder"])
def test_a_file_of_another_user_says_who_may_read_it(
    tmp_path: Path, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "isotherm.toml"
    file.write_text("port = 1\n")

    def refuses(self: Path, **_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(self))

    # Not by chmod: the user who runs the tests may be root, who may read everything.
    monkeypatch.setattr(Path, "read_bytes" if hidden == "file" else "is_file", refuses)
    with pytest.raises(ConfigError, match=f"{file}: this user may not read it; run the command as the user whom"):
        load_settings(data=tmp_path)


def wrong(folder: Path, content: str) -> list[str]:
    """The lines of the error, one per setting."""
    file = folder / "isotherm.toml"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(data=folder)
    file.unlink()
    first, *lines = str(caught.value).splitlines()
    assert first == f"settings are not usable ({file}):"
    return sorted(line.strip() for line in lines)
