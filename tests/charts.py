"""The Helm chart as text and as manifests, for tests."""

import functools
import subprocess
from pathlib import Path
from typing import Any

import yaml
from services.tools import folder

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "isotherm"
CASES = sorted((CHART / "ci").glob("*.yaml"))
ROLES = ("collect", "land", "rollup", "stream", "serve")

Manifest = dict[str, Any]


def template(*values: Path, sets: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """`helm template` of the chart; `sets` are NAME=VALUE."""
    options = [part for path in values for part in ("--values", str(path))]
    options += [part for pair in sets for part in ("--set", pair)]
    command = [str(folder("helm") / "helm"), "template", "release", str(CHART), "--namespace", "isotherm", *options]
    return subprocess.run(command, capture_output=True, text=True)


@functools.cache
def manifests(case: Path, sets: tuple[str, ...] = ()) -> list[Manifest]:
    """What the chart makes of a file of values."""
    done = template(case, sets=sets)
    assert done.returncode == 0, done.stderr
    return [made for made in yaml.safe_load_all(done.stdout) if made]


def of_kind(found: list[Manifest], kind: str) -> dict[str, Manifest]:
    """The manifests of a kind by the role they are for, or by name where they are for none."""
    return {
        made["metadata"]["labels"].get("app.kubernetes.io/component", made["metadata"]["name"]): made
        for made in found
        if made["kind"] == kind
    }


def workloads(found: list[Manifest]) -> dict[str, Manifest]:
    """What runs each role: a Deployment, or a StatefulSet where it keeps something."""
    made = of_kind(found, "Deployment") | of_kind(found, "StatefulSet")
    return {role: made[role] for role in sorted(made)}


def pod(deployment: Manifest) -> dict[str, Any]:
    return deployment["spec"]["template"]["spec"]


def container(deployment: Manifest) -> dict[str, Any]:
    [only] = pod(deployment)["containers"]
    return only
