"""Between the network and MLflow's scoring app: what a request may be, and what an answer may say.

Measured on the scoring app alone: JSON nested 100,000 deep, an integer of 5,000 digits and a missing Content-Type are
answered with 500; refusals echo the request and hold a traceback with the server's paths; nothing bounds the length of
a request, the time it takes to arrive or the number that are decoded at once.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

ROUTES = {"/invocations": "POST", "/ping": "GET", "/health": "GET", "/version": "GET"}
JSON = "application/json"
FORMATS = ("instances", "inputs", "dataframe_records", "dataframe_split")
"""The keys of MLflow's protocol, one of which holds the images."""
ECHO = re.compile(r"^Failed to predict data '.*\nError: ", re.DOTALL)
"""How MLflow begins the message of a refusal: with the whole request."""
LONGEST_MESSAGE = 1000
FAULT = "the request failed; the server's log says why"
"""What a client learns of a fault that is not its own."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    `body`: bytes of one request; `waiting`: bytes of all requests that are here; `images`: of one request; `seconds`
    for a request to arrive; `at_once`: requests that are decoded and computed at the same time.
    """

    body: int = 64 << 20
    waiting: int = 256 << 20
    images: int = 256
    seconds: float = 30
    at_once: int = 2

    @property
    def values(self) -> int:
        """Commas and brackets in a request's JSON: base64 has none, and a request needs fewer than ten an image."""
        return 10 * self.images + 100


class RefusedError(Exception):
    """A request that is answered with `status` and `message`, and reaches nobody."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Guard:
    """An ASGI app around MLflow's: refuses with 4xx and a reason, never with a traceback or an echo."""

    def __init__(self, app: App, limits: Limits) -> None:
        self._app, self._limits = app, limits
        self._slots = asyncio.Semaphore(limits.at_once)
        self._bytes = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the life of the server; it knows no websockets
            await self._app(scope, receive, send)
            return
        answer = Answer(send)
        try:
            _require_route(scope)
            if scope["method"] == "POST":
                await self._judge(scope, receive, answer)
            else:
                await self._app(scope, receive, answer.keep)
            await answer.send()
        except RefusedError as error:
            await answer.refuse(error.status, error.message)
        except Exception:
            logger.exception("a request failed")
            await answer.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, FAULT)

    async def _judge(self, scope: MutableMapping[str, Any], receive: Receive, answer: "Answer") -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        _require_json(headers.get("content-type"))
        arrived: list[bytes] = []
        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._receive(headers, receive, arrived)
        except TimeoutError:
            raise RefusedError(
                HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive within {self._limits.seconds:g} s"
            ) from None
        else:
            body = b"".join(arrived)
            async with self._slots:
                await asyncio.to_thread(require_images, body, self._limits)
                await self._app(scope, _replayed(body, receive), answer.keep)
        finally:
            self._bytes -= sum(map(len, arrived))

    async def _receive(self, headers: dict[str, str], receive: Receive, arrived: list[bytes]) -> None:
        """Fill `arrived` with the parts of the body; what is too long is read to its end, so that it is answered."""
        stated = headers.get("content-length", "0")
        if stated.isdecimal() and int(stated) > self._limits.body and "expect" in headers:
            raise self._too_long()  # the client waits for permission to send it
        length, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(HTTPStatus.BAD_REQUEST, "the connection ended before the request was whole")
            part, more = message.get("body", b""), message.get("more_body", False)
            length += len(part)
            if length > self._limits.body:
                continue
            if self._bytes + len(part) > self._limits.waiting:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests are waiting; try again later")
            self._bytes += len(part)
            arrived.append(part)
        if length > self._limits.body:
            raise self._too_long()

    def _too_long(self) -> RefusedError:
        allowed = self._limits.body >> 20
        return RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request has more than the {allowed} MiB allowed; send fewer"
        )


class Answer:
    """Holds what the app answers until it is whole; errors are worded anew, as JSON with `error_code` and `message`."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message = {}
        self._body = b""

    async def keep(self, message: Message) -> None:
        """Take a message of the app's."""
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")

    async def send(self) -> None:
        """Send what was kept."""
        status = HTTPStatus(self._start["status"])
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            await self.refuse(status, FAULT)
        elif status >= HTTPStatus.BAD_REQUEST:
            await self.refuse(status, _reason(self._body))
        else:
            await self._send(self._start)
            await self._send({"type": "http.response.body", "body": self._body})

    async def refuse(self, status: HTTPStatus, message: str) -> None:
        """Send an error."""
        content = {"error_code": status.name, "message": message[:LONGEST_MESSAGE]}
        body = json.dumps(content).encode()
        headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
        await self._send({"type": "http.response.start", "status": int(status), "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def require_images(body: bytes, limits: Limits) -> None:
    """Raise RefusedError unless `body` is JSON of MLflow's protocol with 1 to `limits.images` rows."""
    if sum(map(body.count, (b",", b"[", b"{"))) > limits.values:  # before Python makes objects of them
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the JSON has more values than {limits.images} images need")
    try:
        content = json.loads(body)
    except RecursionError:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the JSON is nested too deeply") from None
    except ValueError as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "text or a number that cannot be read"
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"the request is not valid JSON: {reason}") from None
    given = [name for name in FORMATS if isinstance(content, dict) and name in content]
    if len(given) != 1:
        raise RefusedError(
            HTTPStatus.BAD_REQUEST,
            "the JSON needs exactly one of instances, inputs, dataframe_records and dataframe_split, such as "
            '{"instances": [{"image": "<base64 of an image file>"}]}',
        )
    rows = content[given[0]]
    if given[0] == "dataframe_split":
        rows = rows.get("data") if isinstance(rows, dict) else None
    if isinstance(rows, dict):  # columns by name
        rows = next(iter(rows.values()), None)
    if isinstance(rows, list) and len(rows) > limits.images:
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{len(rows)} images in one request; at most {limits.images} are allowed",
        )


def _require_route(scope: MutableMapping[str, Any]) -> None:
    allowed = ROUTES.get(scope["path"])
    if allowed is None:
        raise RefusedError(HTTPStatus.NOT_FOUND, f"nothing is here; known are {', '.join(ROUTES)}")
    if scope["method"] != allowed:
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"{scope['path']} takes {allowed}")


def _require_json(content_type: str | None) -> None:
    kind, *parameters = [part.strip().lower() for part in (content_type or "").split(";")]
    if kind != JSON or parameters not in ([], ["charset=utf-8"]):
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the request needs the header Content-Type: {JSON}")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that hands out the whole body, then what really comes (the end of the connection)."""
    handed_out = False

    async def replay() -> Message:
        nonlocal handed_out
        if handed_out:
            return await receive()
        handed_out = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _reason(body: bytes) -> str:
    """The message of a refusal of MLflow's, without the request that it repeats and without its traceback."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, TypeError, KeyError):
        return "the request was refused"
    return ECHO.sub("", str(message))
