"""The picture of a screen that its maps are drawn on: a screenshot that somebody uploads."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from typing import Final

import anyio
import anyio.to_thread
import msgspec
import sqlalchemy as sa
from anyio import CapacityLimiter
from litestar import Response, delete, get, put
from litestar.exceptions import HTTPException
from sqlalchemy.engine import Connection

from isotherm.errors import Problem
from isotherm.serve import known, params
from isotherm.serve.answer import AnyRequest, has
from isotherm.serve.deps import Deps, InDeps
from isotherm.serve.picture import MAX_BYTES, MEDIA_TYPES, STORED_AS, Picture, prepare
from isotherm.store.db import reading, total, writing
from isotherm.store.tables import backgrounds
from isotherm.store.upsert import upsert

MAX_PICTURES: Final = 2_000
MAX_CLIENT_BYTES: Final = 1 << 30
"""Of one client: screen ids are free to choose, so something has to bound what they keep."""
_BODIES: Final = 8
"""Uploads under way, each of which may hold 12 MB: others are told to come again."""
_PATIENCE_S: Final = 120.0
"""For the whole body: 12 MB come in time over a line of 1 Mbit/s."""
_DECODERS: Final = 1
"""A large picture takes half a gigabyte while it is decoded."""
# Not `sync_to_thread`: with several methods under one path, Litestar wraps such a handler twice.
_NO_STORE: Final = {"cache-control": "no-store"}
_KEPT: Final = ("w", "h", "version", "media_type", "bytes", "content", "updated_at")


@put(
    "/v1/background",
    status_code=200,
    tags=["backgrounds"],
    summary="Keep a picture of a screen",
    request_max_body_size=MAX_BYTES,
)
async def put_background(
    request: AnyRequest, deps: InDeps, client_id: params.ClientId, screen_id: params.ScreenId
) -> Response[bytes]:
    """Keep a PNG, JPEG or WebP of at most 12 MB as the picture that maps of this screen are drawn on.

    It is encoded anew as WebP: upright, on white, at most 2,880 pixels wide, without metadata. The screen need not
    have events yet.
    """
    params.client(client_id)
    params.screen(screen_id)
    _check_type(request.headers.get("content-type", ""))
    await anyio.to_thread.run_sync(_check_client, deps, client_id)
    with _slot(_limiter(request, "pictures_arriving", _BODIES)):
        data = await _body(request)
        decoders = _limiter(request, "pictures_decoded", _DECODERS)
        picture = await anyio.to_thread.run_sync(prepare, data, limiter=decoders)
    members = await anyio.to_thread.run_sync(partial(_keep, deps, client_id, screen_id, picture))
    return Response(msgspec.json.encode(members), media_type="application/json", headers=_NO_STORE)


@get(
    "/v1/background",
    tags=["backgrounds"],
    summary="The picture of a screen",
    media_type=STORED_AS,
)
async def get_background(
    request: AnyRequest, deps: InDeps, client_id: params.ClientId, screen_id: params.ScreenId
) -> Response[bytes]:
    """The picture that maps of this screen are drawn on, as WebP."""
    return await anyio.to_thread.run_sync(_answer, request, deps, client_id, screen_id)


def _answer(request: AnyRequest, deps: Deps, client_id: str, screen_id: str) -> Response[bytes]:
    here = _here(client_id, screen_id)
    with reading(deps.engine) as connection:
        version = connection.execute(sa.select(backgrounds.c.version).where(here)).scalar_one_or_none()
        if version is None:
            raise Problem(404, f"screen {screen_id!r} of client {client_id!r} has no background; PUT one here")
        tag = f'"{version}"'
        headers = {"etag": tag, "cache-control": "private, no-cache"}
        if has(request, tag):
            return Response(b"", status_code=304, headers=headers, media_type=STORED_AS)
        media_type, content = connection.execute(
            sa.select(backgrounds.c.media_type, backgrounds.c.content).where(here)
        ).one()
    headers["content-disposition"] = 'inline; filename="background.webp"'
    return Response(content, headers=headers, media_type=media_type)


@delete(
    "/v1/background",
    status_code=204,
    tags=["backgrounds"],
    summary="Forget the picture of a screen",
)
async def delete_background(deps: InDeps, client_id: params.ClientId, screen_id: params.ScreenId) -> None:
    """Forget the picture of this screen; that there is none is fine."""
    await anyio.to_thread.run_sync(_forget, deps, client_id, screen_id)


def _forget(deps: Deps, client_id: str, screen_id: str) -> None:
    here = _here(client_id, screen_id)
    with writing(deps.engine) as connection:
        connection.execute(sa.delete(backgrounds).where(here))


def _here(client_id: str, screen_id: str) -> sa.ColumnElement[bool]:
    """The row asked for. Raises Problem 400."""
    return (backgrounds.c.client_id == params.client(client_id)) & (backgrounds.c.screen_id == params.screen(screen_id))


def _check_type(content_type: str) -> None:
    given = content_type.partition(";")[0].strip().lower()
    if given not in MEDIA_TYPES:
        raise Problem(415, f"content-type is {given or 'missing'}; a picture is one of {', '.join(MEDIA_TYPES)}")


def _check_client(deps: Deps, client_id: str) -> None:
    """Where clients are declared, those and such that sent events; else any. Raises Problem 404."""
    if deps.settings.clients and client_id not in deps.settings.clients:
        with reading(deps.engine) as connection:
            known.require_client(connection, client_id)


def _limiter(request: AnyRequest, name: str, most: int) -> CapacityLimiter:
    """The application's limiter of this name: one is good for one event loop."""
    state = request.app.state
    if name not in state:
        state[name] = CapacityLimiter(most)
    return state[name]


@contextmanager
def _slot(limiter: CapacityLimiter) -> Generator[None]:
    """One of the places. Raises Problem 503 when all are taken."""
    me = object()
    try:
        limiter.acquire_on_behalf_of_nowait(me)
    except anyio.WouldBlock:
        raise Problem(
            503, "too many pictures are being uploaded; try again in a moment", headers={"retry-after": "5"}
        ) from None
    try:
        yield
    finally:
        limiter.release_on_behalf_of(me)


async def _body(request: AnyRequest) -> bytes:
    """All of the body. Raises Problem 413 when it is too large, and 400 when it takes too long."""
    try:
        with anyio.fail_after(_PATIENCE_S):
            return await request.body()
    except TimeoutError:
        raise Problem(400, f"the picture did not arrive within {_PATIENCE_S:g} s; send a smaller one") from None
    except HTTPException as error:
        if error.status_code != 413:
            raise
        raise Problem(413, f"the picture is larger than {MAX_BYTES:,} bytes") from None


def _keep(deps: Deps, client_id: str, screen_id: str, picture: Picture) -> dict[str, object]:
    members: dict[str, object] = {
        "w": picture.w,
        "h": picture.h,
        "bytes": len(picture.content),
        "version": blake2b(picture.content, digest_size=16).hexdigest(),
    }
    row = {"client_id": client_id, "screen_id": screen_id, "media_type": STORED_AS, "content": picture.content}
    with writing(deps.engine) as connection:
        _check_room(connection, client_id, screen_id, len(picture.content))
        upsert(connection, backgrounds, [row | members | {"updated_at": deps.clock.now_ms()}], update=_KEPT)
    return members


def _check_room(connection: Connection, client_id: str, screen_id: str, size: int) -> None:
    others = sa.select(sa.func.count(), total(backgrounds.c.bytes)).where(
        backgrounds.c.client_id == client_id, backgrounds.c.screen_id != screen_id
    )
    pictures, kept = connection.execute(others).one()
    if pictures >= MAX_PICTURES or kept + size > MAX_CLIENT_BYTES:
        raise Problem(
            409,
            f"client {client_id!r} has {pictures:,} backgrounds of {kept >> 20:,} MiB; {MAX_PICTURES:,} and "
            f"{MAX_CLIENT_BYTES >> 20:,} MiB are the limit: DELETE one first",
        )
