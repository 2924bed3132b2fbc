"""A model with all that it needs to answer many at once; whoever opens one closes it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import Any

import earmark
from earmark.inference.classifier import Classifier
from earmark.serving.admission import Admission
from earmark.serving.answers import Answers, Entry
from earmark.serving.gate import TokenCheck
from earmark.serving.limits import Limits
from earmark.serving.metrics import Metrics
from earmark.serving.shared_network import BATCH_WINDOWS, SharedNetwork


class Service:
    """A model behind limits.

    Args:
        classifier: The model.
        name: What it is called.
        limits: What it takes on.
        token: Whoever has it may ask; blank: everybody.
        batch_windows: Windows in one run of the model; 1 answers each request by itself.

    Example:
        >>> service = Service(classifier, name="birds")                      # doctest: +SKIP
        >>> service.answers.classify([Upload("rain.ogg", content)], top_k=1)  # doctest: +SKIP
        [{'file': 'rain.ogg', 'prediction': [{'label': 'Rain', 'score': 0.97}], 'duration_s': 5.0}]
        >>> service.close()                                                  # doctest: +SKIP
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        name: str,
        limits: Limits | None = None,
        token: str = "",
        batch_windows: int = BATCH_WINDOWS,
    ) -> None:
        self.name = name
        self.limits = limits or Limits()
        self.admission = Admission(self.limits)
        self.metrics = Metrics(self.admission)
        self.check_token = TokenCheck(token)
        self.asks_token = bool(token)
        self._network = SharedNetwork(classifier.network, max_windows=batch_windows, on_batch=self.metrics.count_batch)
        self.classifier = Classifier(self._network)
        self.answers = Answers(self.classifier, self.limits, self.metrics.count_sound)
        # A thread for each that is let in: a short sound never waits for a long one to end.
        self._pool = ThreadPoolExecutor(self.limits.max_working, thread_name_prefix="answer")
        self.stream_pool = ThreadPoolExecutor(self.limits.max_streams, thread_name_prefix="stream")

    @property
    def is_well(self) -> bool:
        """Whether the model answers."""
        return self._network.is_alive

    async def answer(self, work: Callable[[], list[Entry]]) -> list[Entry]:
        """Do the work of a request in a thread, if there is room.

        Raises:
            Refusal: too many are at work.
        """
        with self.admission.work():
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def describe(self) -> dict[str, Any]:
        """What the model hears and says, and how much of it may be asked; ready for JSON."""
        decision = self.classifier.decision
        return {
            "name": self.name,
            "labels": list(self.classifier.labels),
            "sample_rate": self.classifier.sample_rate,
            "window_s": self.classifier.window / self.classifier.sample_rate,
            "multi_label": self.classifier.multi_label,
            "thresholds": dict(decision.thresholds),
            "silence_db": decision.silence_db,
            "limits": {
                "body_mb": self.limits.max_body_mb,
                "duration_s": self.limits.max_duration_s,
                "files": self.limits.max_files,
            },
            "version": earmark.__version__,
        }

    def close(self) -> None:
        """Break off what is still at work, which is nothing after a clean shutdown, and let go of all threads."""
        self.answers.stopping.set()
        self._pool.shutdown(cancel_futures=True)
        self.stream_pool.shutdown(cancel_futures=True)
        self._network.close()


def name_model(model: str) -> str:
    """What a model is called, from where it lies, without telling where that is.

    Example:
        >>> name_model("/home/me/runs/birds/model/"), name_model("birds.onnx"), name_model("owner/name")
        ('birds', 'birds', 'name')
    """
    path = PurePath(model)
    named = path.parent if path.name == "model" and path.parent.name else path
    return (named.stem if named.suffix == ".onnx" else named.name) or "model"
