"""The lake's files by name in a query: what cannot stand there is refused before anything is read."""

from pathlib import Path

import pytest

from isotherm.config import Settings
from isotherm.errors import IsothermError
from isotherm.land.lake import open_lake
from isotherm.rollup.engines.sources import Sources


@pytest.mark.parametrize("name", ["a,b", "a*", "a?", "{a}", "[a]", "it's", "a\\b"])
def test_a_folder_that_a_query_cannot_name_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    lake = open_lake((tmp_path / name).as_uri(), Settings())
    with pytest.raises(IsothermError, match="the tile engine cannot read a lake whose folder has one of") as refused:
        Sources(lake)
    assert str(tmp_path / name) in str(refused.value)


@pytest.mark.parametrize("name", ["a b", "a(b)", "a|b", "a#b", "a%20b", "a::b", "ä;b", "$a&b"])
def test_other_names_are_taken(tmp_path: Path, name: str) -> None:
    Sources(open_lake((tmp_path / name).as_uri(), Settings()))
