"""The documentation tells the truth: generated pages are current, named files exist, names are explained."""

import re
from pathlib import Path

import pytest

from isotherm.cli import reference
from isotherm.errors import DROP_REASONS, DropReason

ROOT = Path(__file__).parent.parent
PAGES = [
    path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("contract/*.md")) if path.is_file()
]
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)(?:#[^)]*)?\)")
CODE_PATH = re.compile(r"`((?:src|tests|docs|contract|bench|isotherm)/[\w./-]+)`")


@pytest.mark.parametrize("name", reference.PAGES)
def test_generated_pages_are_current(name: str) -> None:
    assert (ROOT / "docs" / "reference" / name).read_text() == reference.PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    for target in LINK.findall(text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for target in CODE_PATH.findall(text):
        assert (ROOT / target).exists() or (ROOT / "src" / target).exists(), f"{page.name} names {target}"


def test_the_readme_walks_through_every_folder() -> None:
    text = (ROOT / "README.md").read_text()
    for folder in (ROOT / "src" / "isotherm").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"src/isotherm/{folder.name}" in text, f"README does not mention {folder.name}"


def test_every_drop_reason_is_explained() -> None:
    assert set(DROP_REASONS) == set(DropReason)


def test_readme_commands_are_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake (\w[\w-]*)\b +#", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_nothing_names_the_machine_it_was_written_on() -> None:
    """Addresses and paths of one machine do not belong in the project."""
    home = re.compile(r"/(?:home|root|Users)/\w+|/work/")
    for path in [*PAGES, ROOT / "Makefile", ROOT / ".ci" / "run", ROOT / "requirements.lock", ROOT / "pyproject.toml"]:
        assert not home.search(path.read_text()), path
