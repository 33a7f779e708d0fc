"""The guard around a scoring app that is a few lines: what reaches the app, and what comes back."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import pytest

from pipeline.serving.guard import BARE, Guard
from pipeline.serving.request import Limits, RefusedError, rewritten

GOOD = b'{"instances": [{"image": "x"}]}'
JSON = (b"content-type", b"application/json")


class Scoring:
    """An app with one answer, which keeps what has reached it."""

    def __init__(self, status: int = 200, content: bytes = b'{"predictions": []}') -> None:
        self.status, self.content = status, content
        self.bodies: list[bytes] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.inside = self.most = 0

    async def __call__(self, scope, receive, send) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.bodies.append((await receive())["body"])
        self.headers = scope["headers"]
        await asyncio.sleep(0.01)
        self.inside -= 1
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": self.content[:5], "more_body": True})
        await send({"type": "http.response.body", "body": self.content[5:]})


def sent(*parts: bytes) -> Callable[[], Awaitable[dict]]:
    """A connection on which a body arrives in parts; after an empty last part nothing comes for a long time."""
    left = list(parts)

    async def receive() -> dict:
        if not left or left == [b""]:
            await asyncio.sleep(60)  # as on a connection that stays open
        part = left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    return receive


async def ask(
    guard: Guard,
    receive: Callable[[], Awaitable[dict]],
    *headers: tuple[bytes, bytes],
    types: tuple[bytes, ...] = (b"application/json",),
    path: str = "/invocations",
) -> tuple[int, dict]:
    answers: list[dict] = []

    async def send(message: dict) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [*((b"content-type", kind) for kind in types), *headers],
    }
    await guard(scope, receive, send)
    assert [answer["type"] for answer in answers] == ["http.response.start", "http.response.body"]
    return answers[0]["status"], json.loads(answers[1]["body"])


def test_a_good_request_reaches_the_app_as_it_was_sent_and_its_answer_the_client():
    app = Scoring()
    assert asyncio.run(ask(Guard(app, Limits()), sent(GOOD[:7], GOOD[7:]))) == (200, {"predictions": []})
    assert [json.loads(body) for body in app.bodies] == [{"dataframe_split": {"columns": ["image"], "data": [["x"]]}}]
    ((name, kind), (_, length)) = app.headers[-2:]
    assert (name, kind, int(length)) == (b"content-type", b"application/json", len(app.bodies[0]))


def of_length(content: bytes) -> list[dict]:
    if content == b"bad":
        raise RefusedError(HTTPStatus.BAD_REQUEST, "image 1 of 1: not an image file")
    return [{"label": str(len(content)), "model_version": "roskd-x/7"}]


@pytest.mark.parametrize("kinds", [(), (b"image/jpeg",), (b"application/x-www-form-urlencoded",)])
def test_the_bare_bytes_of_an_image_are_answered_without_the_app(kinds):
    """The last type is what curl --data-binary names."""
    app = Scoring()
    guard = Guard(app, Limits(), of_length)
    answer = asyncio.run(ask(guard, sent(b"ab", b"cde"), types=kinds, path="/predict"))
    assert answer == (200, {"predictions": [{"label": "5", "model_version": "roskd-x/7"}]})
    assert (app.bodies, guard._bytes) == ([], 0)


@pytest.mark.parametrize(
    ("limits", "body", "kind", "status", "message"),
    [
        (Limits(), b"bad", b"image/png", 400, "image 1 of 1: not an image file"),
        (Limits(body=4), b"abcde", b"image/png", 413, "more than the 0 MiB allowed"),
        (Limits(waiting=4), b"abcde", b"image/png", 503, "too many requests are waiting"),
        (Limits(), GOOD, b"application/json", 415, BARE),
        (Limits(), b"--x", b"Multipart/form-data; boundary=x", 415, BARE),
    ],
)
def test_bare_bytes_have_the_same_limits(limits, body, kind, status, message):
    found, content = asyncio.run(ask(Guard(Scoring(), limits, of_length), sent(body), types=(kind,), path="/predict"))
    assert (found, message in content["message"]) == (status, True), content


def test_a_model_of_an_earlier_version_has_no_answer_to_bare_bytes():
    status, content = asyncio.run(ask(Guard(Scoring(), Limits()), sent(b"x"), types=(), path="/predict"))
    assert (status, "earlier version" in content["message"]) == (404, True)


@pytest.mark.parametrize(
    ("content", "columns", "data"),
    [
        ({"instances": [{"image": "x", "shape": [1, 2, 3]}]}, ["image", "shape"], [["x", [1, 2, 3]]]),
        ({"instances": [{"image": "x"}, {"image": "y", "shape": [1]}]}, ["image", "shape"], [["x", None], ["y", [1]]]),
        ({"inputs": {"image": ["x", "y"], "shape": [None, [1]]}}, ["image", "shape"], [["x", None], ["y", [1]]]),
        ({"inputs": {"image": ["x"], "shape": [None]}}, ["image"], [["x"]]),
        (
            {"dataframe_split": {"columns": ["shape", "a", "image"], "data": [[[1], 0, "x"]]}},
            ["image", "shape"],
            [["x", [1]]],
        ),
    ],
)
def test_shapes_of_raw_pixels_are_handed_on(content, columns, data):
    body = json.loads(rewritten(json.dumps(content).encode(), Limits()))
    assert body == {"dataframe_split": {"columns": columns, "data": data}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"instances": [{"image": "x"}, {"image": "x", "shape": "8x8"}]}, "image 2 of 2: its shape is not"),
        ({"instances": [{"image": "x", "shape": [1, 2.5, 3]}]}, "image 1 of 1: its shape is not"),
        ({"instances": [{"image": "x", "shape": [True, 2, 3]}]}, "image 1 of 1: its shape is not"),
        ({"inputs": {"image": ["x", "y"], "shape": [[1, 2, 3]]}}, "shape needs a list with a shape, or null, for each"),
    ],
)
def test_shapes_that_are_none(content, message):
    with pytest.raises(RefusedError, match=message):
        rewritten(json.dumps(content).encode(), Limits())


LONG = b'{"instances": [{"image": "' + b"x" * 100 + b'"}]}'


SPLIT = b'{"dataframe_split": {"columns": ["image"], "data": [["x"], ["x"]]}}'


@pytest.mark.parametrize(
    ("limits", "parts", "headers", "status", "message"),
    [
        (Limits(body=100), (LONG[:60], LONG[60:]), (), 413, "more than the 0 MiB allowed"),
        (Limits(body=100), (b"",), ((b"expect", b"100-continue"), (b"content-length", b"101")), 413, "more than"),
        (Limits(waiting=100), (LONG,), (), 503, "too many requests are waiting"),
        (Limits(seconds=0.05), (b"{", b""), (), 408, "did not arrive within 0.05 s"),
        (Limits(images=1), (b'{"inputs": {"image": ["x", "x"]}}',), (), 413, "2 images in one request; at most 1 "),
        (Limits(seconds=0.05, body=5), (b"{}" * 9, b""), (), 413, "more than"),
        (Limits(seconds=0.05, body=5), (b"{", b""), ((b"content-length", b"9" * 12),), 413, "more than"),
        (Limits(images=1), (SPLIT,), (), 413, "2 images"),
        (Limits(images=1), (b'{"instances": [' + b"0," * 200 + b"0]}",), (), 400, "more values than 1 images need"),
    ],
)
def test_what_is_too_much_reaches_nobody(limits, parts, headers, status, message):
    app = Scoring()
    guard = Guard(app, limits)
    found, content = asyncio.run(ask(guard, sent(*parts), *headers))
    assert (found, message in content["message"]) == (status, True), content
    assert app.bodies == []
    assert guard._bytes == 0


def test_a_request_that_ends_early_reaches_nobody():
    async def gone() -> dict:
        return {"type": "http.disconnect"}

    app = Scoring()
    assert asyncio.run(ask(Guard(app, Limits()), gone))[0] == 400
    assert app.bodies == []


@pytest.mark.parametrize(
    "kinds", [(), (b"text/csv",), (b"application/json", b"text/csv"), (b"text/csv", b"application/json")]
)
def test_anything_but_one_content_type_of_json_is_refused(kinds):
    app = Scoring()
    status, content = asyncio.run(ask(Guard(app, Limits()), sent(GOOD), types=kinds))
    assert (status, app.bodies) == (415, [])
    assert content["message"] == "the request needs the header Content-Type: application/json"


@pytest.mark.parametrize("kind", [b"application/json", b'Application/JSON; charset="UTF-8"', b"application/json;"])
def test_json_may_be_named_as_the_standard_allows(kind):
    assert asyncio.run(ask(Guard(Scoring(), Limits()), sent(GOOD), types=(kind,)))[0] == 200


def test_a_request_whose_client_goes_while_it_waits_is_not_computed():
    app = Scoring()
    guard = Guard(app, Limits(at_once=1))
    parts = [{"type": "http.request", "body": GOOD, "more_body": False}, {"type": "http.disconnect"}]

    async def gone() -> dict:
        return parts.pop(0)

    async def both() -> None:
        first = asyncio.create_task(ask(guard, sent(GOOD)))
        await asyncio.sleep(0.005)
        answers: list[dict] = []

        async def send(message: dict) -> None:
            answers.append(message)

        await guard({"type": "http", "method": "POST", "path": "/invocations", "headers": [JSON]}, gone, send)
        assert answers == []
        assert (await first)[0] == 200

    asyncio.run(both())
    assert len(app.bodies) == 1
    assert guard._bytes == 0


def test_as_many_requests_are_computed_at_once_as_the_server_takes_on():
    app = Scoring()
    guard = Guard(app, Limits(at_once=2))

    async def many() -> list[tuple[int, dict]]:
        return await asyncio.gather(*(ask(guard, sent(GOOD)) for _ in range(6)))

    assert [status for status, _ in asyncio.run(many())] == [200] * 6
    assert (len(app.bodies), app.most) == (6, 2)


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (400, {"message": "image 1 of 1: damaged", "stack_trace": "Traceback: /srv/x.py"}, "image 1 of 1: damaged"),
        (400, {"message": "Failed to predict data '   image\n0  secret'. \nError: no rows"}, "no rows"),
        (400, {"message": "x" * 5000}, "x" * 1000),
        (415, b"not JSON", "the request was refused"),
        (500, {"message": "secret"}, "the request failed; the server's log says why"),
    ],
)
def test_an_error_repeats_neither_the_request_nor_what_the_server_is(status, content, message):
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    found, answer = asyncio.run(ask(Guard(Scoring(status, content), Limits()), sent(GOOD)))
    assert (found, answer["message"]) == (status, message)
    assert set(answer) == {"error_code", "message"}


def test_an_app_that_fails_is_a_500_whose_reason_is_in_the_log_alone(caplog):
    async def failing(*_: object) -> None:
        raise KeyError("secret")

    status, answer = asyncio.run(ask(Guard(failing, Limits()), sent(GOOD)))
    assert (status, answer["message"]) == (500, "the request failed; the server's log says why")
    assert "secret" in caplog.text


def test_the_app_leaves_the_package_models_to_the_registered_model():
    """Importing the repository's own copy first would compute with other code than the model was logged with."""
    script = "import sys, pipeline.serving.app; print([name for name in sys.modules if name.split('.')[0] == 'models'])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
