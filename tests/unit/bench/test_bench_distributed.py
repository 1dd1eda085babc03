"""What the distributed benchmarks make of their figures, and the records they repeat."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "bench" / "results" / "latest.json"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])


def collected(ratio: float) -> dict[str, Any]:
    return {"collect_kafka": {"ratio": ratio}}


@pytest.mark.parametrize(("ratio", "met"), [(0.7, True), (0.699, False)])
def test_the_gate_of_the_collector_on_kafka(ratio: float, met: bool) -> None:
    from bench.distributed import report

    assert [gate[3] for gate in report.gates(collected(ratio))] == [met]


@pytest.mark.parametrize(("per_core", "met"), [(500_000, True), (499_999, False)])
def test_the_gate_of_landing_on_s3(per_core: int, met: bool) -> None:
    from bench.distributed import report

    assert [gate[3] for gate in report.gates({"land_s3": {"isotherm": {"per_core": per_core}}})] == [met]


def test_the_page_is_the_one_that_the_results_give() -> None:
    from bench import report

    assert report.render(json.loads(RESULTS.read_text())) == (ROOT / "docs" / "benchmarks.md").read_text()


def test_a_record_as_another_batch_differs_in_its_ids_alone() -> None:
    from bench.distributed.samples import Sample

    value = b'{"batch_id":"0123456789abcd0000000007","batch":{"batch_id":"0123456789abcd0000000007","events":[]}}'
    sample = Sample("shop|home", value, "shop", "0123456789abcd0000000007", 0)
    renamed = sample.renamed(12)
    envelope = json.loads(renamed.value)
    assert envelope["batch_id"] == envelope["batch"]["batch_id"] == renamed.batch_id == f"{12:024d}"
    assert len(renamed.value) == len(value)
    assert renamed.id != sample.id
