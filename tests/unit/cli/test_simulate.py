"""`isotherm simulate`: the label, wrong usage, and what it says about the form of a layout."""

import json
from pathlib import Path

import pytest

from isotherm import cli
from isotherm.cli import simulate
from isotherm.cli.simulation.layout import read_layout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--client", "shop"], "--client shop-simulated"),
        (["--client", "shop-simulated2"], "-simulated"),
        (["--client", "-simulated"], "client id"),
        (["--days", "30"], "29"),
        (["--days", "0.001"], "--days"),
        (["--visitors", "-1"], "below 0"),
        (["--rate", "-3"], "below 0"),
        (["--visitors", "0"], "--live"),
        (["--until", "yesterday"], "--until"),
        (["--screens", "no-such.json"], "no-such.json"),
        (["--to", "127.0.0.1"], "http://HOST:PORT"),
    ],
)
def test_wrong_usage_is_explained(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["simulate", *(f"{a}={b}" for a, b in zip(arguments[::2], arguments[1::2], strict=True))]) == 1
    assert says in capsys.readouterr().err


def test_the_example_in_the_help_is_a_layout(tmp_path: Path) -> None:
    text = simulate.command.__doc__ or ""
    example = text[text.index('`{"site"') + 1 : text.index("]}]}`") + 4]
    file = tmp_path / "layout.json"
    file.write_text(json.dumps(json.loads(example)))
    assert read_layout(file).screens["laptop", "/"].page.targets[0].to == "/bag"
