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
from http import HTTPStatus
from typing import Any

from pipeline.serving.request import Limits, RefusedError, rewritten

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Answerer = Callable[[bytes], list[dict[str, Any]]]
"""Returns the predictions for one image file; raises RefusedError."""

PREDICT = "/predict"
ROUTES = {"/invocations": "POST", PREDICT: "POST", "/ping": "GET", "/health": "GET", "/version": "GET"}
JSON = "application/json"
ECHO = re.compile(r"^Failed to predict data '.*\nError: ", re.DOTALL)
"""How MLflow begins the message of a refusal of the model's: with the whole request."""
LONGEST_MESSAGE = 1000
BARE = f"{PREDICT} takes the bare bytes of one image file: curl --data-binary @photo.jpg; JSON goes to /invocations"
FAULT = "the request failed; the server's log says why"
"""What a client learns of a fault that is not its own."""

logger = logging.getLogger(__name__)


class Guard:
    """An ASGI app around MLflow's: refuses with 4xx and a reason, never with a traceback or an echo.

    What passes is handed on in one form of MLflow's protocol, so that the app has nothing left to refuse but images.
    The bare bytes of an image file are answered by `answerer`, without the app.
    """

    def __init__(self, app: App, limits: Limits, answerer: Answerer | None = None) -> None:
        self._app, self._limits, self._answerer = app, limits, answerer
        self._slots = asyncio.Semaphore(limits.at_once)
        self._bytes = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # lifespan events; websockets are not supported
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
            await answer.refuse(error.status, error.message, close=True)
        except Exception:
            logger.exception("a request failed")
            await answer.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, FAULT)

    async def _judge(self, scope: MutableMapping[str, Any], receive: Receive, answer: "Answer") -> None:
        if scope["path"] == PREDICT:
            self._require_bare_image(scope)
        else:
            _require_json(scope)
        incoming = Incoming(_header(scope, b"content-length"), waits=bool(_header(scope, b"expect")))
        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._receive(incoming, receive)
        except TimeoutError:
            if incoming.is_longer_than(self._limits.body):
                raise self._too_long() from None
            reason = f"the request did not arrive within {self._limits.seconds:g} s"
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, reason) from None
        else:
            gone = asyncio.create_task(receive())  # type: ignore[arg-type]
            try:
                async with self._slots:
                    if not gone.done():  # a client that has gone while its request waited needs no answer
                        await self._answer(scope, incoming, gone, answer)
            finally:
                gone.cancel()
        finally:
            self._bytes -= incoming.held

    async def _answer(
        self, scope: MutableMapping[str, Any], incoming: "Incoming", gone: "asyncio.Task[Message]", answer: "Answer"
    ) -> None:
        if scope["path"] == PREDICT:
            assert self._answerer is not None
            answer.predictions(await asyncio.to_thread(self._answerer, incoming.body()))
            return
        body = await asyncio.to_thread(rewritten, incoming.body(), self._limits)
        headers = [
            (name, value) for name, value in scope["headers"] if name not in (b"content-type", b"content-length")
        ]
        headers += [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
        await self._app({**scope, "headers": headers}, _replayed(body, gone), answer.keep)

    async def _receive(self, incoming: "Incoming", receive: Receive) -> None:
        """Take in the body; what is too long is read to its end, so that the client gets to the answer."""
        if incoming.waits and incoming.is_longer_than(self._limits.body):
            raise self._too_long()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(HTTPStatus.BAD_REQUEST, "the connection ended before the request was whole")
            part, more = message.get("body", b""), message.get("more_body", False)
            incoming.length += len(part)
            if incoming.length > self._limits.body:
                continue
            if self._bytes + len(part) > self._limits.waiting:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests are waiting; try again later")
            self._bytes += len(part)
            incoming.keep(part)
        if incoming.length > self._limits.body:
            raise self._too_long()

    def _require_bare_image(self, scope: MutableMapping[str, Any]) -> None:
        if self._answerer is None:
            raise RefusedError(
                HTTPStatus.NOT_FOUND, "this model was registered by an earlier version, which knows /invocations alone"
            )
        if _header(scope, b"content-type").lower().startswith((JSON, "multipart/")):
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, BARE)

    def _too_long(self) -> RefusedError:
        allowed = self._limits.body >> 20
        return RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request has more than the {allowed} MiB allowed; send fewer"
        )


class Incoming:
    """A body on its way. `waits`: the client sends it when it is told to; `held`: its bytes that are kept here."""

    def __init__(self, stated: str, *, waits: bool) -> None:
        self.waits, self.length, self.held = waits, 0, 0
        self._stated = int(stated) if stated.isdecimal() and len(stated) < 20 else 0
        self._parts: list[bytes] = []

    def is_longer_than(self, limit: int) -> bool:
        """Whether it is, by what has come or by what the client has announced."""
        return max(self.length, self._stated) > limit

    def keep(self, part: bytes) -> None:
        """Add the next part."""
        self._parts.append(part)
        self.held += len(part)

    def body(self) -> bytes:
        """Return the whole; it is no longer kept here."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class Answer:
    """Holds what the app answers until it is whole; errors are reworded, as JSON with `error_code` and `message`."""

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

    def predictions(self, found: list[dict[str, Any]]) -> None:
        """Take predictions, which are sent as MLflow's app sends its own."""
        self._body = json.dumps({"predictions": found}).encode()
        headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(self._body)).encode())]
        self._start = {"type": "http.response.start", "status": int(HTTPStatus.OK), "headers": headers}

    async def send(self) -> None:
        """Send what was kept; nothing, where the app was not asked because the client has gone."""
        if not self._start:
            return
        status = HTTPStatus(self._start["status"])
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("the scoring app answered %s: %s", int(status), self._body[:LONGEST_MESSAGE])
            await self.refuse(status, FAULT)
        elif status >= HTTPStatus.BAD_REQUEST:
            await self.refuse(status, _reason(self._body))
        else:
            await self._send(self._start)
            await self._send({"type": "http.response.body", "body": self._body})

    async def refuse(self, status: HTTPStatus, message: str, *, close: bool = False) -> None:
        """Send an error; `close`: then end the connection, of whose request not all may have been read."""
        content = {"error_code": status.name, "message": message[:LONGEST_MESSAGE]}
        body = json.dumps(content).encode()
        headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
        headers += [(b"connection", b"close")] if close else []
        await self._send({"type": "http.response.start", "status": int(status), "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _require_route(scope: MutableMapping[str, Any]) -> None:
    allowed = ROUTES.get(scope["path"])
    if allowed is None:
        raise RefusedError(HTTPStatus.NOT_FOUND, f"nothing is here; known are {', '.join(ROUTES)}")
    if scope["method"] != allowed:
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"{scope['path']} takes {allowed}")


def _require_json(scope: MutableMapping[str, Any]) -> None:
    kind, *parameters = [part.strip().lower() for part in _header(scope, b"content-type").split(";")]
    if kind != JSON or {part.replace('"', "") for part in parameters if part} - {"charset=utf-8"}:
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the request needs the header Content-Type: {JSON}")


def _header(scope: MutableMapping[str, Any], name: bytes) -> str:
    """A header's value; empty where it is not there, or more than once."""
    values = [value for key, value in scope["headers"] if key.lower() == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


def _replayed(body: bytes, gone: "asyncio.Task[Message]") -> Receive:
    """A `receive` that hands out the whole body, then the end of the connection."""
    handed_out = False

    async def replay() -> Message:
        nonlocal handed_out
        if handed_out:
            return await asyncio.shield(gone)
        handed_out = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _reason(body: bytes) -> str:
    """The message of a refusal of the model's, without the request that MLflow repeats and without its traceback."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, TypeError, KeyError):
        return "the request was refused"
    return ECHO.sub("", str(message))
