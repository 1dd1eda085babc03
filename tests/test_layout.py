"""Who may import whom: a stage imports the vocabulary, the store, itself, stages before it, and the log's port."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "isotherm"
VOCABULARY = ("adapters", "clock", "config", "errors", "events", "metrics", "settings_file")
STAGES = ("collect", "eventlog", "land", "rollup", "serve", "view")
BESIDE = ("govern", "store")
COPIES = "backup"
"""Copies what other parts keep: from the lake, the log and the maps; only `cli` uses it."""
COPIED = ("land", "rollup")
LOG_PORT = "isotherm.eventlog.port"


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of our own modules that the file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "isotherm")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module and node.module.split(".")[0] == "isotherm":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def allowed(importer: str, name: str) -> bool:
    part = part_of(name)
    if importer in VOCABULARY:
        return part in (*VOCABULARY, "__version__")
    if part in (*VOCABULARY, "__version__", importer):
        return True
    if importer == "cli":
        return True
    if importer in BESIDE or part == COPIES:
        return False
    if importer == COPIES:
        return part in (*BESIDE, *COPIED) or name.startswith(LOG_PORT)
    if part in BESIDE or name.startswith(LOG_PORT):
        return True
    earlier = STAGES[: STAGES.index(importer)]
    # The log's adapters are chosen by URL: nobody imports them, only the port.
    return part in earlier and part != "eventlog"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_follow_the_event(path: Path) -> None:
    importer = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if importer in ("__init__", "__main__"):
        importer = "cli" if importer == "__main__" else "config"
    wrong = [name for name in imports(path) if not allowed(importer, name)]
    assert not wrong, f"{importer} may not import {', '.join(wrong)}"


def test_folders_are_the_stages() -> None:
    folders = {p.name for p in SOURCE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= {*STAGES, *BESIDE, COPIES, "cli"}
    assert {p.stem for p in SOURCE.glob("*.py")} <= {*VOCABULARY, "__init__", "__main__"}


def test_no_folder_is_empty() -> None:
    for folder in (p for p in SOURCE.iterdir() if p.is_dir() and p.name != "__pycache__"):
        assert len(list(folder.rglob("*.py"))) > 1, f"{folder.name} holds nothing"


def test_the_rule_bites() -> None:
    assert not allowed("collect", "isotherm.eventlog.lmdb.open_lmdb")
    assert not allowed("land", "isotherm.rollup.grid.CELLS")
    assert not allowed("store", "isotherm.land.manifest.Manifest")
    assert not allowed("serve", "isotherm.cli.main")
    assert not allowed("events", "isotherm.store.db")
    assert not allowed("serve", "isotherm.backup.take.take")
    assert not allowed("backup", "isotherm.serve.deps.Deps")
    assert not allowed("backup", "isotherm.eventlog.lmdb.open_lmdb")
    assert allowed("backup", "isotherm.land.manifest.Manifest")
    assert allowed("rollup", "isotherm.land.manifest.Manifest")
    assert allowed("collect", "isotherm.eventlog.port.open_log")
