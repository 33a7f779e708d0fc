"""Requests for a server, drawn from a seed: good ones, also of odd files, mixed with bad ones of every kind."""

import base64
import io
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.served import JSON

Generator = np.random.Generator
MOST = 4
"""Images of a request that is not too large."""
CSV = b"sample_id,label\n1,NV\n"


@dataclass(frozen=True)
class Request:
    """A request and what must come back.

    Good: `images`, places in `good_images`, whose predictions are expected. Bad: `status`, and a part of the `message`.
    """

    kind: str
    body: bytes
    path: str = "/invocations"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    images: tuple[int, ...] = ()
    status: int = 200
    message: str = ""


def draw(seed: int, count: int) -> Iterator[Request]:
    """Yield `count` requests, half of them good; every kind of bad one is as likely as the others."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield good(rng) if rng.random() < 0.5 else bad(_one_of(rng, *KINDS), rng)


def good(rng: Generator) -> Request:
    """Return a request of one file's bytes, or of one to four images as JSON."""
    if rng.random() < 0.4:
        place = int(rng.integers(len(_files())))
        return Request("good bytes", _file(place), "/predict", headers={}, images=(place,))
    places = tuple(map(int, rng.integers(len(good_images()), size=rng.integers(1, MOST + 1))))
    return Request("good JSON", _json([_instance(place) for place in places]), images=places)


def bad(kind: str, rng: Generator) -> Request:
    """Return a request of one of KINDS."""
    if kind in WHOLE:
        return WHOLE[kind](rng)
    message, make = INSTANCES[kind]
    count = int(rng.integers(1, MOST + 1))
    place = int(rng.integers(count))
    instances: list[Any] = [_instance(int(one)) for one in rng.integers(len(_files()), size=count)]
    instances[place] = make(rng)
    return Request(kind, _json(instances), status=400, message=f"image {place + 1} of {count}: {message}")


@cache
def good_images() -> tuple[bytes | np.ndarray, ...]:
    """Every image that a server must answer: the bytes of files, and raw pixels, uint8 (H, W, 3)."""
    return (*_files().values(), np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8))


@cache
def _files() -> dict[str, bytes]:
    """Valid files by name; odd ones are among them."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((80, 60))
    grey = coarse.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 3
    return {
        "JPEG": _encoded(coarse, "JPEG"),
        "progressive JPEG": _encoded(coarse, "JPEG", progressive=True),
        "turned JPEG": _encoded(coarse, "JPEG", exif=turned),
        "CMYK JPEG": _encoded(coarse.convert("CMYK"), "JPEG"),
        "grey JPEG": _encoded(grey, "JPEG"),
        "PNG": _encoded(coarse, "PNG"),
        "PNG with opacity": _encoded(coarse.convert("RGBA"), "PNG"),
        "palette PNG": _encoded(coarse.convert("P"), "PNG", transparency=0),
        "16-bit PNG": _encoded(deep, "PNG"),
        "1x1 PNG": _encoded(Image.new("RGB", (1, 1), "blue"), "PNG"),
        "1x300 PNG": _encoded(Image.new("L", (1, 300), 99), "PNG"),
        "16-bit TIFF": _encoded(deep, "TIFF"),
        "1-bit TIFF": _encoded(grey.convert("1"), "TIFF"),
        "BMP": _encoded(coarse, "BMP"),
    }


@cache
def _bomb() -> bytes:
    """100 million pixels in 12 kB."""
    return _encoded(Image.new("1", (10_000, 10_000)), "PNG")


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _file(place: int) -> bytes:
    return list(_files().values())[place]


def _instance(place: int) -> dict[str, Any]:
    image = good_images()[place]
    return {"image": _text(image)} if isinstance(image, bytes) else _raw(list(image.shape))


def _raw(shape: Any) -> dict[str, Any]:
    """Good raw pixels, with a shape that need not be theirs."""
    image = good_images()[-1]
    assert isinstance(image, np.ndarray)
    return {"image": _text(image.tobytes()), "shape": shape}


def _json(instances: list[Any]) -> bytes:
    return json.dumps({"instances": instances}).encode()


def _one_of(rng: Generator, *values: Any) -> Any:
    return values[rng.integers(len(values))]


def _cut_text(rng: Generator) -> str:
    """Base64 that ends after the first of four characters."""
    text = _text(_file(int(rng.integers(len(_files())))))
    return text[: 4 * int(rng.integers(1, len(text) // 4)) + 1]


def _cut_file(rng: Generator) -> bytes:
    """The beginning of a file of which more than the head is there."""
    content = _files()[_one_of(rng, "JPEG", "PNG", "CMYK JPEG", "16-bit PNG")]
    return content[: int(len(content) * rng.uniform(0.6, 0.8))]


def _noise(rng: Generator) -> bytes:
    return b"\x00" + rng.bytes(int(rng.integers(1, 200)))


def _deep(rng: Generator) -> bytes:
    depth = int(rng.integers(500, 100_000))
    return b"[" * depth + b"]" * depth


def _other_shape(rng: Generator) -> Any:
    return _one_of(rng, [9, 7], [9, 7, 2], [-9, -7, 3], [9.0, 7, 3], [True, 63, 3], "9x7x3", [0, 7, 3], {})


def _as_whole(kind: str, status: int, message: str, make: Callable[[Generator], bytes], **options: Any) -> Any:
    """A kind of request that is bad as a whole."""
    return lambda rng: Request(kind, make(rng), status=status, message=message, **options)


def _bare(kind: str, message: str, make: Callable[[Generator], bytes]) -> Any:
    return _as_whole(kind, 400, f"image 1 of 1: {message}", make, path="/predict", headers={})


NOT_BASE64, NO_IMAGE, DAMAGED = "the text is not base64", "not an image file", "cannot be decoded as an image"
LARGE, EMPTY, TYPE = "has 10000 x 10000 pixels", "the file is empty", "the request needs the header Content-Type"
INSTANCES: dict[str, tuple[str, Callable[[Generator], Any]]] = {
    "truncated base64": (NOT_BASE64, lambda rng: {"image": _cut_text(rng)}),
    "a path": (NOT_BASE64, lambda rng: {"image": _one_of(rng, "/etc/passwd", "../x.png", "C:\\images")}),
    "wrong type": ("a value of type ", lambda rng: {"image": _one_of(rng, 5, 2.5, True, [1, 2], {"a": "b"})}),
    "null": ("nothing, where base64", lambda rng: {"image": None}),
    "no key": ("needs the key `image`", lambda rng: _one_of(rng, {"picture": "x"}, "x", 7, None, [])),
    "zero bytes": (EMPTY, lambda rng: {"image": ""}),
    "text as an image": (NO_IMAGE, lambda rng: {"image": _text(CSV)}),
    "noise as an image": (NO_IMAGE, lambda rng: {"image": _text(_noise(rng))}),
    "a pickle": (NO_IMAGE, lambda rng: {"image": _text(pickle.dumps({"a": rng.bytes(9)}))}),
    "cut file": (DAMAGED, lambda rng: {"image": _text(_cut_file(rng))}),
    "decompression bomb": (LARGE, lambda rng: {"image": _text(_bomb())}),
    "shape of other pixels": ("its shape [", lambda rng: _raw(_one_of(rng, [9, 7, 1], [7, 7, 3], [90, 70, 3]))),
    "no shape": ("its shape is not [height", lambda rng: _raw(_other_shape(rng))),
}
"""Kinds of one bad instance, which the answer must name by its place: its message, and what makes it."""
WHOLE: dict[str, Callable[[Generator], Request]] = {
    "huge batch": _as_whole(
        "huge batch",
        413,
        "images in one request; at most",
        lambda rng: _json([{"image": "x"}] * rng.integers(257, 999)),
    ),
    "no rows": _as_whole("no rows", 400, "has no rows", lambda rng: _json([])),
    "deep JSON": _as_whole("deep JSON", 400, "JSON", _deep),
    "5,000 digits": _as_whole(
        "5,000 digits", 400, "cannot be read", lambda rng: b'{"instances": ' + b"7" * 5000 + b"}"
    ),
    "cut JSON": _as_whole("cut JSON", 400, "not valid JSON", lambda rng: _json([_instance(0)])[: rng.integers(1, 99)]),
    "noise": _as_whole("noise", 400, "not valid JSON", _noise),
    "no content type": _as_whole("no content type", 415, TYPE, lambda rng: _json([_instance(0)]), headers={}),
    "CSV": _as_whole("CSV", 415, TYPE, lambda rng: CSV, headers={"Content-Type": "text/csv"}),
    "unknown path": _as_whole(
        "unknown path", 404, "nothing is here", lambda rng: CSV, path="/invocations/../etc/passwd"
    ),
    "GET": _as_whole("GET", 405, "takes POST", lambda rng: b"", method="GET", path="/predict"),
    "bare zero bytes": _bare("bare zero bytes", EMPTY, lambda rng: b""),
    "bare text": _bare("bare text", NO_IMAGE, lambda rng: CSV),
    "bare cut file": _bare("bare cut file", DAMAGED, _cut_file),
    "bare bomb": _bare("bare bomb", LARGE, lambda rng: _bomb()),
    "bare JSON": _as_whole(
        "bare JSON", 415, "takes the bare bytes", lambda rng: _json([_instance(0)]), path="/predict"
    ),
}
"""Kinds of bad requests whose fault is no single instance of several."""
KINDS = (*INSTANCES, *WHOLE)
