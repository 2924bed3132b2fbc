"""What the OpenAPI document says of bodies and answers."""

from typing import Any

from earmark.serving.problems import KINDS, MEDIA_TYPE

DESCRIPTION = """Sounds in, labels with probabilities out.

Send sounds as `multipart/form-data`, or one as the body itself; any format that Earmark decodes. Errors are
`application/problem+json` with one sentence that says what is wrong and what to do.

Live sound goes through the WebSocket `/v1/stream`: the first message is JSON such as
`{"sample_rate": 16000, "encoding": "s16le"}` (or `f32le`; mono; with a `token` where one is asked for), then come the
samples as binary messages, at the end `{"type": "end"}`. The answers are JSON with a `type`: `ready`, `window`,
`event`, `end`, `problem`.
"""

_SOUND = {"type": "string", "format": "binary"}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "array", "items": _SOUND}}}
            },
            "audio/*": {"schema": _SOUND},
            "application/octet-stream": {"schema": _SOUND},
        },
    }
}
_PREDICTION = [{"label": "Rain", "score": 0.97}, {"label": "Sea waves", "score": 0.02}]
_EVENT = {"start_s": 12.5, "end_s": 17.5, "label": "Dog bark", "score": 0.93}
_SETTINGS = {"window_s": 5.0, "hop_s": 2.5, "thresholds": {"Dog bark": 0.5}, "smooth": 1, "min_duration_s": 0.0}
_MODEL = {
    "name": "model",
    "labels": ["Rain", "Sea waves"],
    "sample_rate": 32_000,
    "window_s": 5.0,
    "multi_label": False,
    "thresholds": {"Rain": 0.8},
    "silence_db": -60.0,
    "limits": {"body_mb": 100.0, "duration_s": 3600.0, "files": 100},
    "version": "0.1.0",
}


def _describe(example: dict[str, Any], *problems: str) -> dict[int | str, dict[str, Any]]:
    answers: dict[int | str, dict[str, Any]] = {
        200: {"description": "Answered.", "content": {"application/json": {"example": example}}}
    }
    for name in problems:
        kind = KINDS[name]
        problem = {"type": f"/docs#{name}", "title": kind.title, "status": kind.status, "detail": "One sentence."}
        answers[kind.status] = {"description": kind.title, "content": {MEDIA_TYPE: {"example": problem}}}
    return answers


_PROBLEMS = ("no-file", "token", "too-slow", "too-large", "wrong-type", "unreadable", "busy")
CLASSIFY_RESPONSES = _describe(
    {"results": [{"file": "rain.ogg", "prediction": _PREDICTION, "duration_s": 5.0}]}, *_PROBLEMS
)
TIMELINE_RESPONSES = _describe(
    {"results": [{"file": "yard.flac", "events": [_EVENT], "settings": _SETTINGS, "duration_s": 600.0}]}, *_PROBLEMS
)
MODEL_RESPONSES = _describe(_MODEL, "token")
