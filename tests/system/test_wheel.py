"""The wheel, made from the sdist without Node, in an empty environment: install, start, look at it, post, stop."""

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable
from email import message_from_bytes
from importlib.metadata import Distribution, distribution
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from system_helpers import environment, wait_for

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


WITHOUT_NODE = os.environ | {"PATH": os.defpath}


def build(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "build", "--no-isolation", *arguments]
    return subprocess.run(command, cwd=cwd, env=WITHOUT_NODE, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, as others build it."""
    out = tmp_path_factory.mktemp("dist")
    built = build("--outdir", str(out))
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    assert len(list(out.glob("isotherm-*.tar.gz"))) == 1
    (found,) = out.glob("isotherm-*.whl")
    return found


@pytest.mark.parametrize("kind", ["--wheel", "--sdist"])
@pytest.mark.parametrize("lost", ["dashboard/index.html", "sdk/isotherm.js", "dashboard/assets"])
def test_nothing_is_built_without_the_web_files(tmp_path: Path, kind: str, lost: str) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, checkout)
    shutil.copytree(ROOT / "src", checkout / "src", ignore=shutil.ignore_patterns("__pycache__"))
    gone = checkout / "src" / "isotherm" / "view" / "static" / lost
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    refused = build(kind, "--outdir", str(tmp_path), cwd=checkout)
    assert refused.returncode != 0
    assert lost in refused.stdout + refused.stderr
    assert "make web" in refused.stdout + refused.stderr
    assert not [*tmp_path.glob("*.whl"), *tmp_path.glob("*.tar.gz")]


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    package = ROOT / "src" / "isotherm"
    wanted = {
        str(path.relative_to(ROOT / "src"))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert wanted <= held
    assert any(name.endswith(".sql") for name in held)
    assert any(name.endswith("LICENSE") for name in held)
    assert any(name.startswith("isotherm/view/static/dashboard/assets/") for name in held)
    assert "isotherm/view/static/sdk/isotherm.js" in held
    assert "isotherm/view/demo/site/index.html" in held
    assert all(name.startswith("isotherm") for name in held)


def needed(wheel: Path) -> dict[str, Distribution]:
    """What a wheel says it needs, and what that needs in turn, as it is installed here; keys are names."""
    with zipfile.ZipFile(wheel) as archive:
        (named,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        waiting = message_from_bytes(archive.read(named)).get_all("Requires-Dist") or []
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(Requirement(text), frozenset[str]()) for text in waiting]
    while todo:
        one, wanted = todo.pop()
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
            continue
        key = canonicalize_name(one.name), frozenset(one.extras)
        if key in seen:
            continue
        seen.add(key)
        found[key[0]] = distribution(key[0])
        todo += [(Requirement(text), key[1]) for text in found[key[0]].requires or ()]
    return found


def lend(packages: Iterable[Distribution], site: Path) -> None:
    """Links to every file of these packages, compiled ones too, in another environment's place for packages."""
    for package in packages:
        for file in package.files or ():
            link = site / file
            # Two packages may hold one file: chdb and chdb-core do.
            if ".." in file.parts or link.is_symlink():
                continue
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.locate())


def pip(env: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip", "--python", str(env / "bin" / "python"), "--disable-pip-version-check"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("lent", [True, pytest.param(False, marks=pytest.mark.drill)], ids=["lent", "fetched"])
def test_installed_in_an_empty_environment_it_runs(wheel: Path, tmp_path: Path, lent: bool) -> None:
    """With what it says that it needs and nothing else: lent by the environment of the tests, or fetched."""
    bin_folder = tmp_path / "env" / "bin"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    if lent:
        (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
        packages = needed(wheel)
        assert {"litestar", "chdb", "pyarrow", "uvloop"} <= packages.keys()
        assert not {"pytest", "ruff", "isotherm"} & packages.keys()
        lend(packages.values(), site)
    installed = pip(tmp_path / "env", "install", "--quiet", *(("--no-deps",) if lent else ()), str(wheel))
    assert installed.returncode == 0, installed.stderr[-3000:]
    checked = pip(tmp_path / "env", "check")
    assert checked.returncode == 0, checked.stdout
    log = tmp_path / "stderr"
    arguments = ["up", "--data", "data", "--port", "0", "--collect-port", "0"]
    settings = environment(land_flush_seconds=0.5, retile_min_seconds=0.5) | {"PATH": os.defpath}
    with log.open("wb") as said:
        program = subprocess.Popen([str(bin_folder / "isotherm"), *arguments], cwd=tmp_path, env=settings, stderr=said)
    try:
        running = wait_for("the start", lambda: ready(program, tmp_path / "data", log), 180)
        look_at_pages(running["app"], running["collect"])
        now = int(time.time() * 1000)
        event = {"event_time": now, "event_type": "mousemove", "x_norm": 0.29, "y_norm": 1.0}
        body = json.dumps({"client_id": "shop", "screen_id": "home", "events": [event]}).encode()
        request = Request(f"{running['collect']}/events/batch", body, {"content-type": "application/json"})
        with urlopen(request, timeout=30) as response:
            assert json.load(response)["accepted"] == 1
        hour = now - now % 3_600_000
        url = f"{running['app']}/v1/heatmap?client_id=shop&screen_id=home&from={hour}&to={hour + 3_600_000}"
        cells = wait_for("the map", lambda: cells_of(url), 120)
        assert cells == [{"cell_x": 28, "cell_y": 199, "count": 1}]
    finally:
        program.send_signal(signal.SIGTERM)
        code = program.wait(timeout=90)
    assert code == 0, log.read_text()


def look_at_pages(app: str, collect: str) -> None:
    """Every page, script and style that the pages name is there; the tag of the setup page loads."""
    for page in ("/", "/demo/"):
        text = body_of(app + page).decode()
        for name in re.findall(r'(?:src|href)="(/[^"#]+)"', text):
            assert body_of(app + name), name
        assert "make setup" not in text
    facts = json.loads(body_of(f"{app}/v1/sdk"))
    assert facts["collector_url"] == collect
    script = body_of(f"{app}/isotherm.js")
    assert script == body_of(f"{collect}/isotherm.js") == body_of(collect + facts["versioned_path"])
    digest = base64.b64encode(hashlib.sha384(script).digest()).decode()
    assert facts["integrity"] == f"sha384-{digest}"
    assert collect in body_of(f"{app}/demo/").decode()


def body_of(url: str) -> bytes:
    with urlopen(url, timeout=30) as response:
        assert response.status == 200
        return response.read()


def ready(program: "subprocess.Popen[bytes]", data: Path, log: Path) -> dict[str, str] | None:
    assert program.poll() is None, log.read_text()
    try:
        running = json.loads((data / "run.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return running if running["ready"] else None


def cells_of(url: str) -> list[dict[str, int]] | None:
    try:
        with urlopen(url, timeout=30) as response:
            return json.load(response)["cells"] or None
    except URLError as error:
        getattr(error, "close", lambda: None)()
        return None
