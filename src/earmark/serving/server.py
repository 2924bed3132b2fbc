"""The server round the service: its socket, its connections, its end."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from earmark.errors import ServiceError
from earmark.serving.stream import MAX_MESSAGE

BACKLOG = 2048
HEAD_S = 15.0  # a request's head must have arrived by then
KEEP_ALIVE_S = 15
GRACE_S = 60  # to answer what was accepted


class Connection(H11Protocol):
    """uvicorn's connection; one that says nothing is closed, where uvicorn would wait for a request for ever."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_S, self._close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        is_asked = self.cycle is not None and not self.cycle.response_complete
        has_left = self.transport.is_closing() or self.transport.get_protocol() is not self  # to a WebSocket
        if self._timer is not None and (is_asked or has_left):
            self._timer.cancel()
            self._timer = None
        elif self._timer is None and not is_asked and not has_left:
            self._timer = self.loop.call_later(HEAD_S, self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _close(self) -> None:
        self._timer = None
        self.transport.close()


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: A name or an address of this machine.
        port: 0 means any that is free.

    Raises:
        ServiceError: there is no such address here, or the port is taken.

    Example:
        >>> with open_socket("127.0.0.1", 0) as listening:
        ...     host, port = listening.getsockname()
        >>> host
        '127.0.0.1'
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServiceError(
            f"{host}:{port} cannot be listened at ({reason}); give another --port, 0 for any that is free, or a --host "
            "that is this machine's."
        ) from error


def name_url(listening: socket.socket) -> str:
    """Where a browser on this machine finds what listens.

    Example:
        >>> with open_socket("127.0.0.1", 0) as listening:
        ...     name_url(listening).rpartition(":")[0]
        'http://127.0.0.1'
    """
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    host = listening.getsockname()[0]
    return host == "::1" or host.startswith("127.")


def run_server(app: ASGIApp, listening: socket.socket, on_start: Callable[[], None]) -> None:
    """Answer until told to end by Ctrl+C or SIGTERM; what was accepted by then is answered first.

    Args:
        app: The application.
        listening: From `open_socket`; closed at the end.
        on_start: Called when requests are answered.
    """
    _allow_many_connections()
    server = build_server(app, on_start)
    # uvicorn raises the signal anew when all is done: then it ends this function, not the process.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def build_server(app: ASGIApp, on_start: Callable[[], None]) -> uvicorn.Server:
    """uvicorn as the service needs it; its ``should_exit`` ends it."""
    logging.getLogger("uvicorn.error").addFilter(_leave_out_strangers)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,  # a small message could unpack to a large one
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    return _Server(config, on_start)


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is there."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _leave_out_strangers(record: logging.LogRecord) -> bool:
    """What is no HTTP at all is answered with 400; a log of it would be somebody else's to fill."""
    return not record.getMessage().startswith(("Invalid HTTP request", "Unsupported upgrade"))


def _allow_many_connections() -> None:
    """As many open files as the system lets this process have."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65_536), hard)
        )
