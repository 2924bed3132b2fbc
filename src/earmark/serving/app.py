"""The service's addresses: REST, a WebSocket, a page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

import earmark
import earmark.pages
from earmark.errors import EarmarkError
from earmark.serving.answers import EventSettings
from earmark.serving.gate import FAULT, Gate, render_problem, write_json
from earmark.serving.metrics import MEDIA_TYPE as METRICS_TYPE
from earmark.serving.openapi import BODY, CLASSIFY_RESPONSES, DESCRIPTION, MODEL_RESPONSES, TIMELINE_RESPONSES
from earmark.serving.problems import KINDS, Refusal
from earmark.serving.service import Service
from earmark.serving.stream import answer_stream
from earmark.serving.uploads import Upload, read_uploads
from earmark.serving.values import explain_values

PAGE = Path(__file__).with_name("page")
STYLE = Path(earmark.pages.__file__).with_name("style.css")

TopK = Annotated[int | None, Query(ge=1, description="How many labels; all if not given.")]
Reject = Annotated[
    bool, Query(description="Put `unknown` first where nothing is sure enough, or the sound is silence.")
]
Picture = Annotated[bool, Query(description="Add the envelope and the mel spectrogram, as the page draws them.")]
Window = Annotated[float | None, Query(description="Length of a window, seconds; the model's own if not given.")]
Hop = Annotated[float | None, Query(description="From one window to the next, seconds; half a window if not given.")]
Threshold = Annotated[
    float | None, Query(description="What a label must reach; the model's own, else 0.5, if not given.")
]
Shortest = Annotated[float | None, Query(description="Shorter gaps are closed, shorter events left out, seconds.")]
Smooth = Annotated[int | None, Query(le=999, description="Windows averaged, an odd number.")]


def build_app(service: Service) -> ASGIApp:
    """The application that answers for a service; its lifespan closes the service.

    Args:
        service: What answers.

    Returns:
        An ASGI application, for uvicorn or any other server.

    Example:
        >>> app = build_app(Service(classifier, name="birds"))   # doctest: +SKIP
    """

    @asynccontextmanager
    async def closing(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title=f"Earmark: {service.name}",
        description=DESCRIPTION,
        version=earmark.__version__,
        docs_url=None,  # it would load its parts from elsewhere; ours is at /docs
        redoc_url=None,
        lifespan=closing,
    )
    _add_sounds(app, service)
    _add_state(app, service)
    _add_page(app)
    _add_problems(app)
    app.openapi()["x-problems"] = {name: asdict(kind) for name, kind in KINDS.items()}
    return Gate(app, admission=service.admission, metrics=service.metrics, check_token=service.check_token)


def _add_sounds(app: FastAPI, service: Service) -> None:
    async def receive(request: Request, work: Any) -> Response:
        """The sounds of a request, and what ``work`` makes of them."""
        service.admission.check()
        with service.admission.hold() as hold:
            uploads: list[Upload] = await read_uploads(request, service.limits, hold)
            results = await service.answer(lambda: work(uploads))
        return Response(write_json({"results": results}), media_type="application/json")

    @app.post("/v1/classify", summary="What is it?", responses=CLASSIFY_RESPONSES, openapi_extra=BODY)
    async def classify(
        request: Request, top_k: TopK = None, reject: Reject = False, picture: Picture = False
    ) -> Response:
        """Labels with probabilities, highest first, for one or several sounds."""
        return await receive(
            request, lambda uploads: service.answers.classify(uploads, top_k=top_k, reject=reject, picture=picture)
        )

    @app.post("/v1/timeline", summary="What is heard when?", responses=TIMELINE_RESPONSES, openapi_extra=BODY)
    async def timeline(
        request: Request,
        window_s: Window = None,
        hop_s: Hop = None,
        threshold: Threshold = None,
        smooth: Smooth = None,
        min_duration_s: Shortest = None,
    ) -> Response:
        """Events with beginning and end, for one or several sounds of any length."""
        settings = EventSettings(window_s, hop_s, threshold, smooth, min_duration_s)
        return await receive(request, lambda uploads: service.answers.find_events(uploads, settings))

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await answer_stream(websocket, service.classifier, service.admission, service.stream_pool, service.check_token)


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/v1/model", summary="Which model is this?", responses=MODEL_RESPONSES)
    async def model() -> Response:
        """Its labels, what it hears, and the limits of the service."""
        return Response(write_json(service.describe()), media_type="application/json")

    @app.get("/healthz", summary="Is it well?")
    async def health() -> JSONResponse:
        """200 while the model answers, 503 when it no longer does."""
        return JSONResponse(
            {"status": "ok" if service.is_well else "the model does not answer", "asks_token": service.asks_token},
            200 if service.is_well else 503,
        )

    @app.get("/metrics", summary="How much has it done?")
    async def metrics() -> Response:
        """Counts for Prometheus, in its text format."""
        return Response(service.metrics.write(), media_type=METRICS_TYPE)


def _add_page(app: FastAPI) -> None:
    for path, file in {"/": PAGE / "index.html", "/docs": PAGE / "docs.html", "/style.css": STYLE}.items():
        app.get(path, include_in_schema=False)(_give(file))
    app.mount("/page", StaticFiles(directory=PAGE))


def _give(file: Path) -> Any:
    async def give() -> FileResponse:
        return FileResponse(file, headers={"cache-control": "no-cache"})

    return give


def _add_problems(app: FastAPI) -> None:
    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, EarmarkError)
        problem, headers = render_problem(error)
        return Response(write_json(problem), problem["status"], headers)

    async def refuse_values(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return await refuse(request, Refusal("wrong-value", explain_values(error.errors())))

    async def refuse_address(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            fault = Refusal(
                "wrong-method", f"{request.url.path} does not take {request.method}; /docs says what it takes."
            )
        else:
            fault = Refusal("not-found", "There is nothing at this address; /docs lists what there is.")
        return await refuse(request, fault)

    async def refuse_fault(request: Request, _: Exception) -> Response:
        return await refuse(request, FAULT)

    app.add_exception_handler(Exception, refuse_fault)
    app.add_exception_handler(EarmarkError, refuse)
    app.add_exception_handler(RequestValidationError, refuse_values)
    app.add_exception_handler(HTTPException, refuse_address)
