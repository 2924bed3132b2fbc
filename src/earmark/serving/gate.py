"""What every request passes: room, token, a look at the clock, and an answer of the right form whatever happens."""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earmark.errors import EarmarkError, ServiceError
from earmark.serving.admission import Admission
from earmark.serving.metrics import Metrics
from earmark.serving.problems import MEDIA_TYPE, RETRY_AFTER_S, Refusal, describe_problem

FAULT = Refusal("failed", "Something went wrong in the service; its log has the details.")
OPEN_PATHS = ("/", "/docs", "/healthz", "/openapi.json", "/style.css")
OPEN_FOLDER = "/page/"
DRAIN_S, DRAIN_PAUSE_S = 5.0, 0.5
# Nothing that a page of ours shows comes from elsewhere, and nobody else frames it.
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "frame-ancestors 'none'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class TokenCheck:
    """Whether a token is the service's; compared in a time that tells nothing about it.

    Args:
        token: What must be sent; blank lets everybody in.

    Raises:
        ServiceError: a token that does not fit into a header.
        Refusal: when called with another token.

    Example:
        >>> TokenCheck("secret")("secret")
    """

    def __init__(self, token: str) -> None:
        if not all("!" <= letter <= "~" for letter in token):
            raise ServiceError("The token must fit into a header; take letters, digits and signs of ASCII, no spaces.")
        self._token = token

    def __call__(self, given: str) -> None:
        if self._token and not hmac.compare_digest(given.encode(), self._token.encode()):
            raise Refusal("token", "This service asks for a token; send it as `Authorization: Bearer TOKEN`.")


class Gate:
    """The outermost of the service, as pure ASGI.

    Args:
        app: What answers.
        admission: Lets requests in.
        metrics: Counts them.
        check_token: Asked for all but the page and the documentation.
    """

    def __init__(
        self, app: ASGIApp, *, admission: Admission, metrics: Metrics, check_token: Callable[[str], None]
    ) -> None:
        self.app = app
        self._admission = admission
        self._metrics = metrics
        self._check_token = check_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # A stream says its token in its first message: browsers cannot send headers with it.
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        began_s = time.perf_counter()
        try:
            with self._admission.receive():
                if scope["path"] not in OPEN_PATHS and not scope["path"].startswith(OPEN_FOLDER):
                    self._check_token(exchange.header(b"authorization").removeprefix("Bearer "))
                await self.app(scope, exchange.receive, exchange.send)
        except EarmarkError as error:
            await exchange.refuse(error)
        except Exception:  # a fault of ours: the client hears of it, the log has the traceback
            logging.getLogger("uvicorn.error").exception("A request failed")
            await exchange.refuse(FAULT)
        finally:
            self._metrics.count_request(scope["path"], exchange.status, time.perf_counter() - began_s)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.status = 0
        self._whole = False  # the request's body has been received
        self._asked = False

    def header(self, name: bytes) -> str:
        return next((value.decode("latin-1") for key, value in self._scope["headers"] if key == name), "")

    async def receive(self) -> Message:
        self._asked = True
        message = await self._receive()
        self._whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message["headers"],
                *((name.encode(), value.encode()) for name, value in HEADERS.items()),
            ]
            if self.status >= 400:
                await self._drain()
        await self._send(message)

    async def refuse(self, error: EarmarkError) -> None:
        """Answer with a problem, unless an answer is already on its way."""
        if self.status:
            return
        problem, headers = render_problem(error)
        start = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": problem["status"], "headers": start})
        await self.send({"type": "http.response.body", "body": write_json(problem)})

    async def _drain(self) -> None:
        """Receive what is still coming, for a moment: a client that is busy sending would not see the answer."""
        if self.header(b"expect").lower() == "100-continue" and not self._asked:
            return  # it waits for leave to send
        deadline_s = time.monotonic() + DRAIN_S
        while not self._whole and time.monotonic() < deadline_s:
            try:
                await asyncio.wait_for(self.receive(), DRAIN_PAUSE_S)
            except TimeoutError:
                return


def render_problem(error: EarmarkError) -> tuple[dict[str, Any], dict[str, str]]:
    """The body and the headers of a problem."""
    problem = describe_problem(error)
    headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store"}
    if problem["status"] == 503:
        headers["retry-after"] = str(RETRY_AFTER_S)
    if problem["status"] == 401:
        headers["www-authenticate"] = "Bearer"
    headers["content-length"] = str(len(write_json(problem)))
    return problem, headers


def write_json(content: Any) -> bytes:
    """JSON as UTF-8; NaN, which is no JSON, is a fault of ours."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
