"""One network that many threads ask: what waits is answered together."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import numpy as np

from earmark.errors import ModelError
from earmark.inference.classifier import Network
from earmark.sound.windows import group_by_length

# On two cores a window took a fifth less in runs of 2 to 8 than alone; larger runs gain nothing, and others wait.
BATCH_WINDOWS = 4


@dataclass(frozen=True)
class _Question:
    waveforms: list[np.ndarray]
    answer: "Future[np.ndarray]" = field(default_factory=Future)


class SharedNetwork:
    """A network behind one thread, which takes the questions that wait, up to a number of windows, in one run.

    It waits for nobody: alone, a question is answered at once; what comes meanwhile is the next batch. It is a
    `Network` itself, so a `Classifier` that asks it may be used by many threads.

    Args:
        network: What answers.
        max_windows: Windows in one run; with 1 each question is answered by itself.
        on_batch: Told how many windows and questions each run held.

    Example:
        >>> shared = SharedNetwork(network)                    # doctest: +SKIP
        >>> Classifier(shared).classify("rain.ogg", top_k=1)   # doctest: +SKIP
        [{'label': 'Rain', 'score': 0.97}]
    """

    def __init__(
        self,
        network: Network,
        *,
        max_windows: int = BATCH_WINDOWS,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> None:
        self.sample_rate = network.sample_rate
        self.labels = network.labels
        self.window = network.window
        self.shortest = network.shortest
        self.ignores_padding = network.ignores_padding
        self.multi_label = network.multi_label
        self.decision = network.decision
        self.max_windows = max_windows
        self._network = network
        self._on_batch = on_batch or (lambda windows, questions: None)
        self._waiting: SimpleQueue[_Question | None] = SimpleQueue()
        self._next: _Question | None = None  # taken from the queue, too large for the batch before
        self._closed = False
        self._thread = threading.Thread(target=self._answer_all, name="model", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether questions are answered."""
        return self._thread.is_alive()

    def run(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Logits (windows, classes), float32, of waveforms of at most ``window`` samples; waits for its turn."""
        if self._closed:
            raise ModelError("The service ends and answers no more; start it again.")
        question = _Question(list(waveforms))
        self._waiting.put(question)
        return question.answer.result()

    def close(self) -> None:
        """Answer what was asked, then nothing more."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join()

    def _answer_all(self) -> None:
        while batch := self._take():
            self._on_batch(sum(len(question.waveforms) for question in batch), len(batch))
            try:
                self._answer(batch)
            except Exception as error:  # whatever it is, those who wait are told, and the next are answered
                self._answer_one_by_one(batch, error)

    def _take(self) -> list[_Question]:
        """The questions of the next run; none when all is over."""
        first = self._next or self._waiting.get()
        self._next = None
        if first is None:
            return []
        batch, windows = [first], len(first.waveforms)
        while windows < self.max_windows:
            try:
                question = self._waiting.get_nowait()
            except Empty:
                break
            if question is None:
                self._waiting.put(None)
                break
            if windows + len(question.waveforms) > self.max_windows:
                self._next = question
                break
            batch.append(question)
            windows += len(question.waveforms)
        return batch

    def _answer(self, batch: list[_Question]) -> None:
        if len(batch) == 1:
            batch[0].answer.set_result(self._network.run(batch[0].waveforms))
            return
        waveforms = [waveform for question in batch for waveform in question.waveforms]
        logits = np.empty((len(waveforms), len(self.labels)), dtype=np.float32)
        lengths = np.maximum([len(waveform) for waveform in waveforms], self.shortest)
        for chosen in group_by_length(
            lengths,
            max_items=self.max_windows,
            max_samples=self.max_windows * self.window,
            only_equal=not self.ignores_padding,
        ):
            logits[chosen] = self._network.run([waveforms[place] for place in chosen])
        parts = np.split(logits, np.cumsum([len(question.waveforms) for question in batch])[:-1])
        for question, part in zip(batch, parts, strict=True):
            question.answer.set_result(part)

    def _answer_one_by_one(self, batch: list[_Question], error: Exception) -> None:
        """One question that the network fails at shall not cost the others their answers."""
        for question in batch:
            if len(batch) == 1:
                question.answer.set_exception(error)
                return
            try:
                question.answer.set_result(self._network.run(question.waveforms))
            except Exception as own_error:
                question.answer.set_exception(own_error)
