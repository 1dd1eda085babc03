"""Pictures that people upload, made harmless: checked, decoded within limits, and encoded anew.

Nothing of the bytes that came in is kept, so a file that is also a script, or carries a place and a camera's number,
ends here. Decoders are never let near a file whose header promises more pixels than the limits allow.
"""

from io import BytesIO
from typing import Final, NamedTuple

from PIL import Image, UnidentifiedImageError

from isotherm.errors import Problem

MEDIA_TYPES: Final = ("image/png", "image/jpeg", "image/webp")
STORED_AS: Final = "image/webp"
MAX_BYTES: Final = 12_000_000
MAX_PIXELS: Final = 64_000_000
MAX_SIDE: Final = 20_000
KEPT_W: Final = 2_880
"""A laptop's width at two pixels to one of CSS."""
KEPT_H: Final = 16_383
"""The largest side that WebP has."""

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_QUALITY: Final = 82
_METHOD: Final = 4
_STRIP: Final = 1_024
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets an image upright, by the value of EXIF's orientation."""


class Picture(NamedTuple):
    """A WebP without metadata; `w` and `h` in pixels."""

    w: int
    h: int
    content: bytes


def prepare(data: bytes) -> Picture:
    """The picture to keep: upright, on white, at most KEPT_W by KEPT_H, of an animation the first frame.

    Takes about 0.5 GB for a moment when the image is as large as is allowed. Raises Problem 422 when `data` is no
    PNG, JPEG or WebP, is damaged, or has too many pixels.
    """
    image, turn = _decoded(data)
    if turn is not None:
        image = image.transpose(turn)
    ratio = min(1.0, KEPT_W / image.width, KEPT_H / image.height)
    if ratio < 1:
        size = max(round(image.width * ratio), 1), max(round(image.height * ratio), 1)
        image = image.resize(size, Image.Resampling.LANCZOS)
    out = BytesIO()
    image.save(out, "WEBP", quality=_QUALITY, method=_METHOD)
    return Picture(image.width, image.height, out.getvalue())


def _decoded(data: bytes) -> tuple[Image.Image, Image.Transpose | None]:
    """The pixels on white in mode RGB, and what sets them upright."""
    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            _check_size(*image.size)
            turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
            image.load()
            return _on_white(image), turn
    except Problem:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large() from None
    except UnidentifiedImageError:
        raise Problem(422, "the body is no PNG, JPEG or WebP image, whatever its content-type says") from None
    except Exception as error:  # noqa: BLE001 - on broken files, decoders raise whatever they stumble over
        raise Problem(422, f"the image is damaged and cannot be read: {error}"[:300]) from None


def _check_size(w: int, h: int) -> None:
    if w < 1 or h < 1 or w > MAX_SIDE or h > MAX_SIDE or w * h > MAX_PIXELS:
        raise _too_large()


def _too_large() -> Problem:
    return Problem(
        422,
        f"the image has too many pixels: at most {MAX_PIXELS:,} in all, and {MAX_SIDE:,} on a side; make it smaller",
    )


def _on_white(image: Image.Image) -> Image.Image:
    """Strip by strip: the strips' copies with an alpha channel are small."""
    if image.mode.startswith("I;16") or image.mode == "I":
        # Sixteen bits of grey: the conversion would clip where it ought to divide.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    flat = Image.new("RGB", image.size, "white")
    clear = image.has_transparency_data
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        strip = strip.convert("RGBA" if clear else "RGB")
        flat.paste(strip, (0, top), strip if clear else None)
    return flat
