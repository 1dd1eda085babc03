"""Backgrounds: what people upload comes back as a harmless picture, and whatever is none is refused."""

import asyncio
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image, PngImagePlugin

from isotherm.serve import picture
from isotherm.serve.app import create_app
from isotherm.serve.routes import background
from isotherm.store.db import reading
from isotherm.store.tables import backgrounds

HOME = {"client_id": "shop", "screen_id": "/home"}
PATH = "/v1/background"
GRADIENT = np.linspace(0, 255, 60 * 80 * 3).astype(np.uint8).reshape(60, 80, 3)


@pytest.fixture
def empty(make_world: Callable[..., Any]) -> Any:
    """A deployment without any maps."""
    return make_world()


@pytest.fixture
def api(empty: Any) -> Iterator[Any]:
    with empty.client() as client:
        yield client


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def rgb() -> Image.Image:
    return Image.fromarray(GRADIENT)


def put(api: Any, body: bytes, media_type: str = "image/png", **more: Any) -> Any:
    return api.put(
        PATH, params=HOME | more.pop("params", {}), content=body, headers={"content-type": media_type}, **more
    )


def stored(api: Any, body: bytes, media_type: str = "image/png") -> Image.Image:
    """The picture as a browser gets it after this upload."""
    told = put(api, body, media_type)
    assert told.status_code == 200, told.text
    answer = api.get(PATH, params=HOME)
    assert answer.headers["content-type"] == "image/webp"
    image = Image.open(BytesIO(answer.content))
    assert image.format == "WEBP"
    assert told.json() == {
        "w": image.width, "h": image.height, "bytes": len(answer.content), "version": answer.headers["etag"].strip('"'),
    }  # fmt: skip
    image.load()
    return image


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(w: int, h: int, rows: bytes) -> bytes:
    """A PNG of eight bits of grey whose pixels are what the caller says, however many."""
    head = struct.pack(">IIBBBBB", w, h, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("WEBP", {"quality": 90})],
)
def test_each_format_comes_back_as_webp(api: Any, kind: str, options: dict[str, Any]) -> None:
    image = stored(api, encoded(rgb(), kind, **options), f"image/{kind.lower()}")
    assert (image.size, image.mode) == ((80, 60), "RGB")
    assert np.abs(np.asarray(image).astype(int) - GRADIENT).mean() < 8


def test_what_counts_is_the_content_not_its_label(api: Any) -> None:
    assert stored(api, encoded(rgb(), "JPEG"), "image/png; charset=binary").size == (80, 60)


def test_nothing_of_the_file_but_its_pixels_is_kept(api: Any) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "<script>alert(1)</script>")
    for body, media_type in (
        (encoded(rgb(), "PNG", pnginfo=info, exif=exif), "image/png"),
        (encoded(rgb(), "JPEG", exif=exif, comment=b"<script>alert(1)</script>"), "image/jpeg"),
        (encoded(rgb(), "PNG") + b"<html><script>alert(1)</script></html>PK\x05\x06", "image/png"),
    ):
        image = stored(api, body, media_type)
        assert not image.getexif()
        assert not {"comment", "exif", "icc_profile", "xmp"} & image.info.keys()
        content = api.get(PATH, params=HOME).content
        assert b"script" not in content
        assert b"camera" not in content


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_set_upright(api: Any, orientation: int) -> None:
    upright = Image.new("RGB", (40, 20), "white")
    upright.paste((255, 0, 0), (0, 0, 10, 10))
    back = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}.get(orientation)
    turned = upright if back is None else upright.transpose(picture._UPRIGHT[back])  # pyright: ignore[reportPrivateUsage]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = stored(api, encoded(turned, "JPEG", exif=exif, quality=95), "image/jpeg")
    assert image.size == (40, 20)
    red = np.asarray(image)[..., 1] < 128
    assert red[:8, :8].all()
    assert not red[:, 14:].any()


def palette() -> Image.Image:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 250, 0, 0])
    image.paste(0, (0, 0, 4, 8))
    return image


@pytest.mark.parametrize(
    ("body", "left", "right"),
    [
        (encoded(palette(), transparency=0), (255, 255, 255), (250, 0, 0)),
        (encoded(Image.new("RGBA", (8, 8), (0, 0, 255, 0))), (255, 255, 255), (255, 255, 255)),
        (encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 128))), (127, 127, 127), (127, 127, 127)),
        (encoded(Image.new("LA", (8, 8), (40, 255))), (40, 40, 40), (40, 40, 40)),
        (encoded(Image.new("1", (8, 8), 1)), (255, 255, 255), (255, 255, 255)),
        (encoded(Image.fromarray(np.full((8, 8), 257 * 100, np.uint16))), (100, 100, 100), (100, 100, 100)),
        (encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=95), (0, 255, 255), (0, 255, 255)),
    ],
    ids=["palette", "clear", "half", "grey-alpha", "one-bit", "sixteen-bit", "cmyk"],
)
def test_every_kind_of_pixel_lands_on_white(api: Any, body: bytes, left: Any, right: Any) -> None:
    media_type = "image/jpeg" if body.startswith(b"\xff\xd8") else "image/png"
    pixels = np.asarray(stored(api, body, media_type)).astype(int)
    assert np.abs(pixels[:, :3] - left).max() <= 12
    assert np.abs(pixels[:, 5:] - right).max() <= 12


def test_of_an_animation_the_first_frame_is_kept(api: Any) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("WEBP", "PNG"):
        body = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        image = stored(api, body, f"image/{kind.lower()}")
        assert getattr(image, "n_frames", 1) == 1
        assert np.abs(np.asarray(image)[0, 0].astype(int) - (255, 0, 0)).max() <= 12


@pytest.mark.parametrize(
    ("size", "kept"), [((2_881, 100), (2_880, 100)), ((5_760, 4_000), (2_880, 2_000)), ((1, 20_000), (1, 16_383))]
)
def test_large_images_are_scaled_down_in_proportion(api: Any, size: tuple[int, int], kept: tuple[int, int]) -> None:
    assert stored(api, encoded(Image.new("L", size, 200))).size == kept


def bomb(w: int, h: int) -> bytes:
    return png_of(w, h, b"")


@pytest.mark.parametrize(
    "body",
    [bomb(1, 100_000), bomb(20_001, 1), bomb(8_001, 8_000), bomb(12_000, 12_000), bomb(65_000, 65_000), bomb(0, 5)],
    ids=["tall", "wide", "64-MP-and-a-bit", "144-MP", "4-GP", "no-width"],
)
def test_too_many_pixels_are_refused_before_they_are_decoded(
    api: Any, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(picture, "_on_white", never)
    answer = put(api, body)
    assert answer.status_code == 422
    assert api.get(PATH, params=HOME).status_code == 404


def text_bomb() -> bytes:
    good = encoded(rgb())
    text = chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(200_000_000)))
    return good[:33] + text + good[33:]


DAMAGED = {
    "nothing": b"",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "html": b"<!doctype html><script>alert(1)</script>",
    "gif": encoded(Image.new("P", (4, 4)), "GIF"),
    "bmp": encoded(rgb(), "BMP"),
    "tiff": encoded(rgb(), "TIFF"),
    "signature only": b"\x89PNG\r\n\x1a\n",
    "truncated png": encoded(rgb())[:-200],
    "truncated jpeg": encoded(rgb(), "JPEG")[:-200],
    "truncated webp": encoded(rgb(), "WEBP")[:-100],
    "no pixels": png_of(60, 60, b""),
    "text bomb": text_bomb(),
    "broken checksum": encoded(rgb()).replace(b"IDAT", b"IDAU", 1),
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_picture_is_refused(api: Any, body: bytes) -> None:
    answer = put(api, body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "image" in answer.json()["detail"]
    assert "object at" not in answer.text
    assert api.get(PATH, params=HOME).status_code == 404


@pytest.mark.parametrize(
    "media_type", ["", "image/svg+xml", "text/html", "image/gif", "application/octet-stream", "png"]
)
def test_another_media_type_is_refused_unread(api: Any, media_type: str) -> None:
    assert put(api, encoded(rgb()), media_type).status_code == 415


def test_a_body_is_read_up_to_the_limit_only(api: Any) -> None:
    assert put(api, bytes(picture.MAX_BYTES + 1)).status_code == 413
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 40 * picture.MAX_BYTES:
            sent += 1 << 20
            yield bytes(1 << 20)

    answer = api.put(PATH, params=HOME, content=endless(), headers={"content-type": "image/png"})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert put(api, bytes(picture.MAX_BYTES)).status_code == 422


def test_a_tag_answers_304_and_a_new_picture_has_a_new_one(api: Any) -> None:
    first = put(api, encoded(rgb())).json()["version"]
    assert put(api, encoded(rgb())).json()["version"] == first
    answer = api.get(PATH, params=HOME)
    assert answer.headers["etag"] == f'"{first}"'
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("inline")
    again = api.get(PATH, params=HOME, headers={"if-none-match": f'"{first}"'})
    assert (again.status_code, again.content) == (304, b"")
    assert put(api, encoded(Image.new("RGB", (9, 9)))).json()["version"] != first
    assert api.get(PATH, params=HOME, headers={"if-none-match": f'"{first}"'}).status_code == 200


def test_it_can_be_forgotten(api: Any) -> None:
    put(api, encoded(rgb()))
    for _ in range(2):
        answer = api.delete(PATH, params=HOME)
        assert (answer.status_code, answer.content) == (204, b"")
    gone = api.get(PATH, params=HOME)
    assert (gone.status_code, gone.headers["content-type"]) == (404, "application/problem+json")


def test_the_list_of_screens_tells_of_it(world: Any) -> None:
    with world.client() as api:
        told = put(api, encoded(rgb())).json()
        for client_id, kept in (("shop", {"w": 80, "h": 60, "version": told["version"]}), ("bank", None)):
            rows = api.get("/v1/screens", params={"client_id": client_id}).json()["screens"]
            assert {row["screen_id"]: row["background"] for row in rows}["/home"] == kept


def test_another_client_s_picture_is_never_shown_replaced_or_deleted(api: Any) -> None:
    bank = {"client_id": "bank", "screen_id": "/home"}
    mine = put(api, encoded(rgb())).json()
    assert api.get(PATH, params=bank).status_code == 404
    tag = {"if-none-match": f'"{mine["version"]}"'}
    assert api.get(PATH, params=bank, headers=tag).status_code == 404
    other = put(api, encoded(Image.new("RGB", (7, 7))), params=bank).json()
    assert api.get(PATH, params=HOME).headers["etag"] == f'"{mine["version"]}"'
    assert api.delete(PATH, params=bank).status_code == 204
    assert api.get(PATH, params=HOME).status_code == 200
    assert other["version"] != mine["version"]


@pytest.mark.parametrize(
    ("params", "field"),
    [({"client_id": "../shop"}, "client_id"), ({"screen_id": "a|b"}, "screen_id"), ({"screen_id": "\n"}, "screen_id")],
)
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_ids_are_checked(api: Any, method: str, params: dict[str, str], field: str) -> None:
    body = {"content": encoded(rgb()), "headers": {"content-type": "image/png"}} if method == "PUT" else {}
    answer = api.request(method, PATH, params=HOME | params, **body)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_a_page_of_another_origin_changes_nothing(api: Any, method: str, headers: dict[str, str]) -> None:
    put(api, encoded(rgb()))
    answer = api.request(method, PATH, params=HOME, headers=headers | {"content-type": "image/png"})
    assert answer.status_code == 403
    assert api.get(PATH, params=HOME).status_code == 200


def test_where_clients_are_declared_no_other_keeps_pictures(make_world: Callable[..., Any]) -> None:
    with make_world(clients=["shop"]).client() as api:
        assert put(api, encoded(rgb())).status_code == 200
        assert put(api, encoded(rgb()), params={"client_id": "other"}).status_code == 404


def test_a_client_keeps_so_much_and_no_more(api: Any, empty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MAX_PICTURES", 2)
    for name in ("a", "b", "b"):
        assert put(api, encoded(rgb()), params={"screen_id": name}).status_code == 200
    full = put(api, encoded(rgb()), params={"screen_id": "c"})
    assert (full.status_code, "DELETE" in full.json()["detail"]) == (409, True)
    assert put(api, encoded(rgb()), params={"client_id": "bank"}).status_code == 200
    monkeypatch.setattr(background, "MAX_PICTURES", 9)
    monkeypatch.setattr(background, "MAX_CLIENT_BYTES", 100)
    assert put(api, encoded(rgb()), params={"screen_id": "c"}).status_code == 409
    with reading(empty.engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(backgrounds)).scalar_one() == 3


def test_a_token_guards_it(make_world: Callable[..., Any]) -> None:
    with make_world(token="secret").client() as api:
        assert put(api, encoded(rgb())).status_code == 401
        assert api.get(PATH, params=HOME).status_code == 401
        api.headers["authorization"] = "Bearer secret"
        assert put(api, encoded(rgb())).status_code == 200


async def half_sent(app: Any, status: list[int]) -> None:
    """An upload whose sender says nothing after the first bytes."""
    said = iter([{"type": "http.request", "body": b"\x89PNG", "more_body": True}])
    forever = asyncio.Event()

    async def receive() -> Any:
        return next(said, None) or await forever.wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "PUT", "scheme": "http"}
    scope |= {"path": PATH, "raw_path": PATH.encode(), "query_string": b"client_id=shop&screen_id=s", "root_path": ""}
    scope |= {"headers": [(b"host", b"localhost"), (b"content-type", b"image/png")], "client": None, "state": {}}
    await app(scope, receive, send)


def test_slow_senders_are_sent_away_and_only_so_many_are_served(
    empty: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_PATIENCE_S", 3.0)
    status: list[int] = []

    async def crowd() -> None:
        app = create_app(empty.deps())
        await asyncio.gather(*(half_sent(app, status) for _ in range(background._BODIES + 3)))

    asyncio.run(crowd())
    assert sorted(status) == [400] * background._BODIES + [503] * 3
    assert put(api, encoded(rgb())).status_code == 200


def test_uploads_at_once_are_all_kept(api: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: put(api, encoded(rgb()), params={"screen_id": f"s{n}"}), range(8)))
        assert {answer.status_code for answer in answers} == {200}
