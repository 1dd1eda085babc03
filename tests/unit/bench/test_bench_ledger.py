"""What the benchmark of the ledger makes of its figures."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])


@pytest.mark.parametrize(("added", "cost", "met"), [(6.0, 2.5, True), (9.0, 3.75, False)])
def test_the_ledger_is_held_against_collecting_and_landing(added: float, cost: float, met: bool) -> None:
    """5 CPU seconds of landing and 7 of collecting: what is added to landing is 5/12 of it."""
    from bench import ledger

    quartiles = {"added_percent_quartiles": [1, 2], "inside_percent_quartiles": [0, 0], "blocks": 2, "records": 1}
    found = {"without_cpu_s_per_million": 5.0, "with_cpu_s_per_million": 6.0, "added_percent": added}
    found |= {"inside_percent": 0.0, "events": 200, "page_views": 1} | quartiles
    ingest = {"targets": {"isotherm": {"cpu_s_per_million": 7.0}}}
    assert ledger.gate(found, ingest)[2:] == (f"{cost} %", met)
    said, rows = ledger.describe(found, ingest)
    assert f"it is {cost} % by the rounds, 0.0 % as timed inside" in said
    assert rows[-1] == ("collecting", 7.0)
    assert len(ledger.describe(found, None)[1]) == 2
