"""What the lander's lines say: which offsets of which partition, when it landed and when it could not."""

import pytest
from landing import NOW, World, event, record
from structlog.testing import capture_logs


def test_a_landing_names_its_offsets(world: World) -> None:
    world.append(*(record("a", f"b{i}", [event(NOW)]) for i in range(3)))
    with capture_logs() as lines:
        assert world.lander().drain() == 3
    [line] = [one for one in lines if one["event"] == "landed"]
    assert line | {"files": 0} == {
        "event": "landed", "log_level": "debug", "partition": 0, "first": 0, "last": 2, "files": 0,
    }  # fmt: skip
    assert line["files"] == len(list(world.manifest.listed(format="parquet")))


def test_a_failure_says_where_it_was(world: World) -> None:
    def full(step: str) -> None:
        raise OSError("no space left on device")

    world.append(*(record("a", f"b{i}", [event(NOW)]) for i in range(3)))
    with pytest.raises(OSError, match="no space") as met:
        world.lander(full).step(force=True)
    assert met.value.__notes__ == ["while landing offsets 0 to 2 of partition 0"]
    assert world.lander().drain() == 3
