"""The guard around a scoring app that is a few lines: what reaches the app, and what comes back."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from pipeline.serving.guard import Guard
from pipeline.serving.request import Limits

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
) -> tuple[int, dict]:
    answers: list[dict] = []

    async def send(message: dict) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/invocations",
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
