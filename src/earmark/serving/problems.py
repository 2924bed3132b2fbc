"""What went wrong, as HTTP tells it: application/problem+json with the sentence that the command line gives."""

from dataclasses import dataclass
from typing import Any

from earmark.errors import EarmarkError, ModelError, RunError, SoundError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its HTTP status, and what all problems of the kind are called."""

    status: int
    title: str


KINDS = {
    "unreadable": Kind(422, "The sound cannot be read"),
    "no-answer": Kind(422, "The model has no answer"),
    "wrong-value": Kind(422, "A value is not allowed"),
    "no-file": Kind(400, "There is no sound in the request"),
    "incomplete": Kind(400, "The request is not whole"),
    "token": Kind(401, "The token is missing or wrong"),
    "not-found": Kind(404, "There is nothing at this address"),
    "wrong-method": Kind(405, "This address is asked in another way"),
    "too-slow": Kind(408, "The upload took too long"),
    "too-large": Kind(413, "The request is too large"),
    "too-long": Kind(413, "The sound is too long"),
    "wrong-type": Kind(415, "The content type is not one of sound"),
    "failed": Kind(500, "The service failed"),
    "busy": Kind(503, "The service is busy"),
}


class Refusal(EarmarkError):  # noqa: N818 - the service's answer, not a fault of its own
    """What a service does not do, and why.

    Args:
        kind: One of `KINDS`.
        sentence: What is wrong and what to do.

    Example:
        >>> describe_problem(Refusal("busy", "Try again."))["status"]
        503
    """

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def describe_problem(error: EarmarkError, file: str = "") -> dict[str, Any]:
    """The body of a problem, as RFC 9457 has it; ``type`` leads to where the service explains the kind.

    Args:
        error: What happened.
        file: Which of the files it happened to, where there are several.

    Example:
        >>> describe_problem(SoundError("a.wav is empty."), "a.wav")["type"]
        '/docs#unreadable'
    """
    kind = find_kind(error)
    entry = {"type": f"/docs#{kind}", "title": KINDS[kind].title, "status": KINDS[kind].status, "detail": str(error)}
    return entry | ({"file": file} if file else {})


def find_kind(error: EarmarkError) -> str:
    """Which of `KINDS` an error is."""
    if isinstance(error, Refusal):
        return error.kind
    kinds = {SoundError: "unreadable", ModelError: "no-answer", RunError: "wrong-value"}
    return next((kind for known, kind in kinds.items() if isinstance(error, known)), "failed")
