"""Who is let in: a bounded number of requests at work, and of bytes in memory; all else is sent away at once.

Everything here runs on the event loop, so nothing needs a lock.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from earmark.serving.limits import MB, Limits
from earmark.serving.problems import Refusal


class Admission:
    """Counts who is in.

    Args:
        limits: How many may be.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.working = 0
        self.streams = 0
        self.held = 0

    @contextmanager
    def receive(self) -> Iterator[None]:
        """Let a request in, whatever it wants.

        Raises:
            Refusal: too many are in.
        """
        if self.requests >= self.limits.max_requests:
            raise _refuse(f"{self.requests} requests are open")
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    def check(self) -> None:
        """Whether there would be room to work, before a body is received in vain."""
        if self.working >= self.limits.max_working:
            raise _refuse(f"{self.working} requests are being answered")

    @contextmanager
    def work(self) -> Iterator[None]:
        """Let a request be answered, now or after those before it."""
        self.check()
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1

    @contextmanager
    def hear(self) -> Iterator[None]:
        """Let a live stream in."""
        if self.streams >= self.limits.max_streams:
            raise _refuse(f"{self.streams} live streams are open")
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    @contextmanager
    def hold(self) -> Iterator["Hold"]:
        """The bytes that one request has in memory."""
        hold = Hold(self)
        try:
            yield hold
        finally:
            self.held -= hold.bytes


class Hold:
    """What one request holds of the memory for bodies."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.bytes = 0

    def take(self, count: int) -> None:
        """Hold ``count`` bytes more.

        Raises:
            Refusal: more than one request may, or more than all together may.
        """
        limits = self.admission.limits
        if self.bytes + count > limits.max_body:
            raise refuse_size(limits)
        if self.admission.held + count > limits.max_held:
            raise _refuse(f"other uploads hold {self.admission.held / MB:.0f} MB of memory")
        self.bytes += count
        self.admission.held += count


def refuse_size(limits: Limits) -> Refusal:
    """What a request with too large a body is told."""
    return Refusal(
        "too-large",
        f"The request is larger than the {limits.max_body_mb:g} MB that this service takes; send a shorter or "
        "compressed sound, fewer files at once, or start the service with a larger --max-body-mb.",
    )


def _refuse(reason: str) -> Refusal:
    return Refusal("busy", f"The service has all it can do ({reason}); try again in a moment.")
