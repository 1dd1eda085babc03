"""Recordings to bodies: nothing is lost or doubled, ids follow from content, values arrive as they are."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.cli import recording
from isotherm.cli.recording import Body, Cutter, Plan, bodies, content_hash, parse_mapping
from isotherm.errors import IsothermError


def cut(path: Path, plan: Plan | None = None) -> tuple[list[Body], Cutter]:
    cutter = Cutter(plan or Plan(), content_hash(path))
    with path.open("rb") as raw:
        return list(bodies(path, path.name, cutter, raw)), cutter


def events(found: list[Body]) -> list[dict[str, object]]:
    decoded = [json.loads(body.content) for body in found]
    return [
        event | {"client_id": body["client_id"], "screen_id": body["screen_id"]}
        for body in decoded
        for event in body["events"]
    ]


def row(**fields: object) -> dict[str, object]:
    base: dict[str, object] = {"client_id": "a", "screen_id": "s", "event_time": 1_700_000_000_000}
    return base | {"event_type": "mousemove", "x_norm": 0.25, "y_norm": 0.5} | fields


def lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["s", "t"]), st.integers(0, 9)), max_size=60))
def test_every_row_is_in_exactly_one_body(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, str, int]]
) -> None:
    rows = [row(client_id=c, screen_id=s, x_norm=n / 10) for c, s, n in made]
    found, cutter = cut(lines(tmp_path_factory.mktemp("r") / "x.jsonl", rows))
    assert Counter(json.dumps(e, sort_keys=True) for e in events(found)) == Counter(
        json.dumps(r, sort_keys=True) for r in rows
    )
    assert sorted(n for body in found for n in body.lines) == list(range(1, len(rows) + 1))
    assert cutter.bad == 0


def test_bodies_are_bounded_and_ids_differ(tmp_path: Path) -> None:
    rows = [row(anchor="x" * (900 if i % 7 == 0 else 0)) for i in range(5_000)]
    found, _ = cut(lines(tmp_path / "x.jsonl", rows))
    assert all(len(body.content) <= 400_000 and len(body.lines) <= 1_000 for body in found)
    assert len({json.loads(body.content)["batch_id"] for body in found}) == len(found)
    assert len(events(found)) == 5_000


def test_ids_follow_from_content_mapping_and_shift(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", [row() for _ in range(10)])
    copy = lines(tmp_path / "copy.jsonl", [row() for _ in range(10)])
    ids = lambda p, plan=None: [json.loads(b.content)["batch_id"] for b in cut(p, plan)[0]]  # noqa: E731
    assert ids(path) == ids(path) == ids(copy)
    others = [Plan(shift_days=1), Plan(parse_mapping(["event_type:mousemove=click"])), Plan(client="z")]
    assert len({ids(path)[0], *(ids(path, plan)[0] for plan in others)}) == 4


def test_the_block_size_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lines(tmp_path / "x.jsonl", [row(client_id="ab"[i % 2], x_norm=i / 3_000) for i in range(3_000)])
    whole = [body.content for body in cut(path)[0]]
    monkeypatch.setattr(recording, "BLOCK_BYTES", 777)
    assert [body.content for body in cut(path)[0]] == whole


def test_mapping_and_shift(tmp_path: Path) -> None:
    rows = [
        row(event_type="move", event_time="2020-02-28T23:59:59.5+02:00"),
        row(event_type="drag", event_time=1_582_900_000_000),
        row(event_type="up", event_time="never"),
    ]
    plan = Plan(parse_mapping(["event_type:move=mousemove", "event_type:drag=mousemove"]), shift_days=2)
    found = events(cut(lines(tmp_path / "x.jsonl", rows), plan)[0])
    assert [e["event_type"] for e in found] == ["mousemove", "mousemove", "up"]
    assert [e["event_time"] for e in found] == ["2020-03-01T23:59:59.5+02:00", 1_582_900_000_000 + 172_800_000, "never"]


def test_another_field_can_be_mapped(tmp_path: Path) -> None:
    plan = Plan(parse_mapping(["screen_id:s=home", "client_id:a=shop"]))
    (event,) = events(cut(lines(tmp_path / "x.jsonl", [row()]), plan)[0])
    assert (event["client_id"], event["screen_id"]) == ("shop", "home")


def test_numbers_keep_every_digit(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    digits = "0.28999999999999998001598555674718227237462997436523"
    path.write_text(json.dumps(row())[:-1].replace('"x_norm": 0.25', f'"x_norm": {digits}') + "}\n")
    assert f'"x_norm":{digits}'.encode() in cut(path)[0][0].content


def test_bad_rows_are_counted_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    wrong = ["{not json", "[1]", json.dumps(row(client_id="../x")), json.dumps(row(screen_id="")), '{"client_id": 5}']
    texts = [json.dumps(row()), "", *wrong, "\xff", json.dumps(row(other=[1]))]
    path.write_bytes("\n".join(texts).encode("latin-1"))
    found, cutter = cut(path)
    assert [body.lines for body in found] == [[1, 9]]
    assert cutter.bad == 6
    assert [line for line, _ in cutter.examples] == [3, 4, 5, 6, 7, 8]
    assert events(found)[1]["other"] == [1]


def test_rows_without_ids_take_the_defaults(tmp_path: Path) -> None:
    rows = [{"event_time": 1, "event_type": "view"}, row(extra=1, client_id=None)]
    found = events(cut(lines(tmp_path / "x.jsonl", rows), Plan(client="shop", screen="home"))[0])
    assert {(e["client_id"]) for e in found} == {"shop"}


def test_fields_of_the_batch_stand_on_the_batch(tmp_path: Path) -> None:
    rows = [row(session_id="one"), row(session_id="two"), row(session_id="one", viewport={"w": 1, "h": 2})]
    found = [json.loads(body.content) for body in cut(lines(tmp_path / "x.jsonl", rows))[0]]
    assert [(b.get("session_id"), b.get("viewport")) for b in found] == [
        ("one", None), ("two", None), ("one", {"w": 1, "h": 2})
    ]  # fmt: skip


def test_csv_by_text_and_parquet_by_value(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        "client_id,screen_id,event_time,event_type,x_norm,y_norm,attrs\n"
        'a,s,1700000000000,mousemove,0.10,1,"{""k"": 1}"\n'
        "a,s,2023-11-14T22:13:20Z,click,,oops,\n"
    )
    first, second = events(cut(tmp_path / "x.csv")[0])
    assert first == row(x_norm=0.1, y_norm=1, attrs={"k": 1})
    wanted = row(event_time="2023-11-14T22:13:20Z", event_type="click", y_norm="oops")
    del wanted["x_norm"]
    assert second == wanted
    assert b'"x_norm":0.10' in cut(tmp_path / "x.csv")[0][0].content
    times = pa.array([1_700_000_000_000_000], pa.timestamp("us", "UTC"))
    plain = {name: [value] for name, value in row().items() if name != "event_time"}
    table = pa.table(plain | {"event_time": times, "received_at": times, "viewport_w": [3.0], "viewport_h": [4.0]})
    pq.write_table(table, tmp_path / "x.parquet")
    found = cut(tmp_path / "x.parquet")[0]
    assert events(found) == [row()]
    assert json.loads(found[0].content)["viewport"] == {"w": 3.0, "h": 4.0}


def test_a_cut_gzip_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(row()).encode())[:-4])
    with pytest.raises(IsothermError, match=r"x\.jsonl\.gz: damaged gzip"):
        cut(path)


@pytest.mark.parametrize("text", ["event_type", "event_type:x", ":a=b", "f:=b"])
def test_a_mapping_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(IsothermError, match="FIELD:from=to"):
        parse_mapping([text])
