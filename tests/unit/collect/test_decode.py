"""Content codings: the same text comes out, and nothing larger than the limit is ever held."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from isotherm.collect.decode import check_content_type, coding_of, json_text
from isotherm.errors import Problem
from isotherm.events import MAX_BODY_BYTES


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


def status_of(body: bytes, coding: str | None) -> int:
    with pytest.raises(Problem) as caught:
        json_text(body, coding)
    return caught.value.status


@given(st.binary(max_size=300), st.sampled_from(sorted(PACKERS)))
def test_every_coding_gives_the_text_back(text: bytes, coding: str) -> None:
    assert json_text(PACKERS[coding](text), coding.upper()) == text


@given(st.binary(max_size=300))
def test_bare_deflate_too(text: bytes) -> None:
    assert json_text(raw_deflate(text), "deflate") == text


@pytest.mark.parametrize("coding", sorted(PACKERS))
@pytest.mark.parametrize(("size", "expected"), [(MAX_BODY_BYTES, 202), (MAX_BODY_BYTES + 1, 413), (64 << 20, 413)])
def test_the_limit_is_exact_and_memory_bounded(coding: str, size: int, expected: int) -> None:
    packed = PACKERS[coding](b" " * size)
    tracemalloc.start()
    try:
        if expected == 202:
            assert len(json_text(packed, coding)) == size
        else:
            assert status_of(packed, coding) == expected
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_BODY_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", sorted(PACKERS))
def test_every_cut_is_refused(coding: str) -> None:
    packed = PACKERS[coding](b'{"some": "text that is long enough to be packed, packed, packed"}')
    for end in range(len(packed)):
        assert status_of(packed[:end], coding) == 400


@pytest.mark.parametrize("coding", sorted(PACKERS))
def test_what_follows_is_refused(coding: str) -> None:
    packed = PACKERS[coding](b"text")
    assert status_of(packed + b"garbage", coding) == 400
    assert status_of(packed + packed, coding) == 400


@pytest.mark.parametrize("at", [-8, -1])
def test_gzip_checksum_and_length_are_checked(at: int) -> None:
    packed = bytearray(gzip.compress(b"text"))
    packed[at] ^= 1
    assert status_of(bytes(packed), "gzip") == 400


def test_zstd_windows_are_bounded() -> None:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    packed = packer.compress(b" " * (1 << 20)) + packer.flush()
    assert status_of(packed, "zstd") in (400, 413)


def test_gzip_is_recognised_without_a_header() -> None:
    assert json_text(gzip.compress(b"{}"), None) == b"{}"
    assert json_text(gzip.compress(b"{}"), "identity") == b"{}"


def test_one_layer_only() -> None:
    assert status_of(b"x", "gzip, gzip") == 415
    assert status_of(b"x", "compress") == 415
    assert coding_of("identity, gzip") == "gzip"
    twice = gzip.compress(gzip.compress(b"{}"))
    assert json_text(twice, "gzip")[:2] == b"\x1f\x8b"


@pytest.mark.parametrize(
    "value", [None, "application/json", "APPLICATION/JSON;charset=UTF-8", "text/plain", "text/plain; x=y"]
)
def test_content_types_taken(value: str | None) -> None:
    check_content_type(value)


@pytest.mark.parametrize("value", ["text/html", "application/json; charset=utf-16", "multipart/form-data", "json"])
def test_content_types_refused(value: str) -> None:
    with pytest.raises(Problem) as caught:
        check_content_type(value)
    assert caught.value.status == 415
