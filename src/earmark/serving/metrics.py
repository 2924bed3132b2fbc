"""What a service counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from earmark.serving.admission import Admission

MEDIA_TYPE = CONTENT_TYPE_LATEST
ROUTES = (
    "/",
    "/docs",
    "/healthz",
    "/metrics",
    "/openapi.json",
    "/v1/classify",
    "/v1/model",
    "/v1/stream",
    "/v1/timeline",
)
OTHER = "other"  # files of the page, and whatever is asked for that is not there


class Metrics:
    """Counts in a registry of their own, so that two services in one process do not meet.

    Args:
        admission: Who is in.

    Example:
        >>> from earmark.serving.limits import Limits
        >>> metrics = Metrics(Admission(Limits()))
        >>> metrics.count_request("/v1/model", 200, 0.01)
        >>> 'earmark_requests_total{route="/v1/model",status="200"} 1.0' in metrics.write().decode()
        True
    """

    def __init__(self, admission: Admission) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter("earmark_requests", "Requests answered.", ["route", "status"], registry=self.registry)
        self._seconds = Histogram(
            "earmark_request_seconds", "Time from request to answer.", ["route"], registry=self.registry
        )
        self._sound = Counter("earmark_sound_seconds", "Sound heard, seconds.", registry=self.registry)
        self._windows = Histogram(
            "earmark_batch_windows",
            "Windows in one run of the model.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self._questions = Histogram(
            "earmark_batch_questions",
            "Requests answered by one run of the model.",
            buckets=(1, 2, 4, 8, 16),
            registry=self.registry,
        )
        gauges = {
            "requests_open": ("Requests being received or answered.", lambda: admission.requests),
            "requests_working": ("Requests at work or waiting for their turn.", lambda: admission.working),
            "streams_open": ("Live streams.", lambda: admission.streams),
            "body_bytes": ("Bodies in memory, bytes.", lambda: admission.held),
        }
        for name, (words, ask) in gauges.items():
            Gauge(f"earmark_{name}", words, registry=self.registry).set_function(ask)

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """A request to ``path`` was answered."""
        route = path if path in ROUTES else OTHER
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_sound(self, seconds: float) -> None:
        """Sound was heard."""
        self._sound.inc(seconds)

    def count_batch(self, windows: int, questions: int) -> None:
        """The model ran once."""
        self._windows.observe(windows)
        self._questions.observe(questions)

    def write(self) -> bytes:
        """All counts, in Prometheus' text format."""
        return generate_latest(self.registry)
