"""What the service answers: each request by a thread of its own, all of them asking one network."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from earmark.errors import EarmarkError, ModelError, RunError, SoundError
from earmark.inference.classifier import WINDOWS_AT_ONCE, Classifier
from earmark.inference.events import EventFinder
from earmark.inference.timeline import WindowScorer, build_engine
from earmark.serving.hearing import Hearing, make_turn
from earmark.serving.limits import Limits
from earmark.serving.picture import PictureMaker
from earmark.serving.problems import describe_problem
from earmark.serving.uploads import Upload
from earmark.sound.level import measure_level_db
from earmark.sound.windows import average_pieces

LONGEST_BLOCK_S = 60.0  # what one request holds of a sound at a time
SHORTEST_HOP_S, MOST_OVERLAP = 0.05, 20  # of windows: how often any instant may be heard
Entry = dict[str, Any]


@dataclass(frozen=True)
class EventSettings:
    """How events are found, as `earmark.inference.timeline.find_events` takes it; ``None`` leaves it to that."""

    window_s: float | None = None
    hop_s: float | None = None
    threshold: float | None = None
    smooth: int | None = None
    min_duration_s: float | None = None


class Answers:
    """Answers to sounds that were sent.

    Args:
        classifier: One that many threads may ask.
        limits: What one request may ask for.
        on_sound: Told how many seconds of sound were heard.
    """

    def __init__(self, classifier: Classifier, limits: Limits, on_sound: Callable[[float], None]) -> None:
        self.classifier = classifier
        self.limits = limits
        self.stopping = threading.Event()
        self._on_sound = on_sound
        self._turn = make_turn()
        window_s = classifier.window / classifier.sample_rate
        self._block_s = window_s * max(1, min(WINDOWS_AT_ONCE, math.floor(LONGEST_BLOCK_S / window_s)))

    def classify(
        self, uploads: Sequence[Upload], *, top_k: int | None = None, reject: bool = False, picture: bool = False
    ) -> list[Entry]:
        """What each sound is: the answers of `Classifier.classify`.

        Args:
            uploads: The sounds.
            top_k: How many labels; all if not given.
            reject: Put ``unknown`` first where nothing is sure enough.
            picture: Add what a page draws, see `PictureMaker.finish`.

        Raises:
            EarmarkError: the only sound cannot be answered; of several, each has its own ``error`` instead.
        """
        return self._answer_each(uploads, lambda task: self._classify(task, top_k, reject=reject, picture=picture))

    def find_events(self, uploads: Sequence[Upload], settings: EventSettings) -> list[Entry]:
        """What is heard in each sound, and when: the answers of `earmark.inference.timeline.find_events`.

        Raises:
            EarmarkError: as `classify`.
        """
        return self._answer_each(uploads, lambda task: self._find_events(task, settings))

    def _answer_each(self, uploads: Sequence[Upload], answer: Callable[["_Task"], Entry]) -> list[Entry]:
        hearing = Hearing(self.limits, self._turn, self.stopping)
        entries = []
        try:
            for upload in uploads:
                task = _Task(upload, hearing, self.classifier.sample_rate, self._block_s)
                try:
                    entries.append({"file": upload.name, **answer(task), **task.describe()})
                except EarmarkError as error:
                    if len(uploads) == 1:
                        raise
                    entries.append({"file": upload.name, "error": describe_problem(error)})
        finally:
            self._on_sound(hearing.heard_s)
        return entries

    def _classify(self, task: "_Task", top_k: int | None, *, reject: bool, picture: bool) -> Entry:
        scores, lengths, levels_db = [], [], []
        blocks = task.open()
        maker = PictureMaker(self.classifier.sample_rate, task.stated_s) if picture else None
        for block in blocks:
            scores.append(self.classifier.score([block])[0])
            lengths.append(len(block))
            levels_db.append(measure_level_db(block))
            if maker is not None:
                maker.push(block)
        average = average_pieces(np.array(scores), np.array(lengths))
        _check_answer(average, task.upload)
        prediction = (
            self.classifier.name_or_reject(average[None], np.array([max(levels_db)]), top_k)[0]
            if reject
            else self.classifier.name_scores(average, top_k)
        )
        entry = {"prediction": list(prediction)} | ({"rejected": prediction.rejected} if reject else {})
        return entry | ({"picture": maker.finish()} if maker is not None else {})

    def _find_events(self, task: "_Task", settings: EventSettings) -> Entry:
        scorer, finder = build_finder(self.classifier, settings)
        events = []
        for block in task.open(as_far_as_it_goes=True):
            windows = scorer.push(block)
            for window in windows:
                _check_answer(window.probabilities, task.upload)
            events += finder.push(windows)
        events += finder.push(scorer.finish()) + finder.finish()
        events.sort(key=lambda event: (event.start_s, event.end_s, event.label))
        return {"events": [asdict(event) for event in events], "settings": describe_settings(scorer, finder)}


class _Task:
    """One sound of a request, on its way through."""

    def __init__(self, upload: Upload, hearing: Hearing, sample_rate: int, block_s: float) -> None:
        self.upload = upload
        self.stated_s = 0.0
        self._hearing = hearing
        self._sample_rate = sample_rate
        self._block_s = block_s
        self._length = 0
        self._fault = ""

    def open(self, *, as_far_as_it_goes: bool = False) -> Iterator[np.ndarray]:
        """Its blocks, each a whole number of windows; ``stated_s`` is then known.

        A sound that breaks midway is a SoundError, or, as far as it goes, ends there with a warning.
        """
        self.stated_s, blocks = self._hearing.decode(
            self.upload, sample_rate=self._sample_rate, block_s=self._block_s, on_fault=self._note
        )
        return self._measure(blocks, as_far_as_it_goes)

    def describe(self) -> Entry:
        """What there is to say of the sound itself."""
        entry: Entry = {"duration_s": round(self._length / self._sample_rate, 6)}
        return entry | ({"warning": self._fault} if self._fault else {})

    def _measure(self, blocks: Iterator[np.ndarray], as_far_as_it_goes: bool) -> Iterator[np.ndarray]:
        try:
            for block in blocks:
                self._length += len(block)
                yield block
        except SoundError as error:
            if not (as_far_as_it_goes and self._length):
                raise
            self._note(str(error))

    def _note(self, fault: str) -> None:
        self._fault = fault


def build_finder(classifier: Classifier, settings: EventSettings) -> tuple[WindowScorer, EventFinder]:
    """The window engine and the finder of events, as `find_events` uses them.

    Raises:
        RunError: a setting out of its range, or windows so many that they would take the service from the others.
    """
    scorer, finder = build_engine(classifier, **asdict(settings))
    least_s = max(SHORTEST_HOP_S, scorer.window_s / MOST_OVERLAP)
    if scorer.hop_s < 0.999 * least_s:
        raise RunError(
            f"Windows of {scorer.window_s:g} s that begin every {scorer.hop_s:g} s are too much work for a service; "
            f"give a hop_s of at least {least_s:.3g}."
        )
    return scorer, finder


def describe_settings(scorer: WindowScorer, finder: EventFinder) -> Entry:
    """How events are found, with the defaults filled in, ready for JSON."""
    return {
        "window_s": scorer.window_s,
        "hop_s": scorer.hop_s,
        "thresholds": finder.thresholds,
        "smooth": finder.smooth,
        "min_duration_s": finder.min_duration_s,
    }


def _check_answer(probabilities: np.ndarray, upload: Upload) -> None:
    """Values far beyond full scale, which a file of floats may hold, overflow inside a model."""
    if not np.isfinite(probabilities).all():
        raise ModelError(
            f"The model gives no finite answer for {upload.name}; bring its samples to the range from -1 to 1, best as "
            "16-bit WAV."
        )
