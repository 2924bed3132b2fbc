"""A long recording, or a live one, window by window: what is heard in it, and when.

One engine cuts the windows for files, live sound, the service and archives, and holds no more sound than it needs.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from earmark.errors import RunError, SoundError
from earmark.inference.classifier import WINDOWS_AT_ONCE, Classifier
from earmark.inference.events import DEFAULT_SMOOTH, Event, EventFinder, ScoredWindow
from earmark.sound.decode import probe, stream
from earmark.sound.level import measure_level_db

__all__ = ["ScoredWindow", "Timeline", "TimelineSettings", "WindowScorer", "build_engine", "find_events"]

# What the model works on at once decides how much memory that takes, and on a processor hardly the speed.
AT_ONCE_S = 10.0
SHORTEST_S = 0.01  # of a window, and from one to the next


class WindowScorer:
    """Samples in, scored windows out, as soon as each is whole.

    Windows begin every ``hop_s``; the last one ends with the sound and may be shorter. With the model's own window and
    a ``hop_s`` as long, they are those that `Classifier.classify` averages. How the samples are cut makes no
    difference; of them, only those are kept that a window to come needs.

    Args:
        classifier: The model.
        window_s: Length of a window, seconds; the model's own, which is the longest, if not given.
        hop_s: From one window to the next, seconds, at most ``window_s``; half of it if not given, so that whatever
            lasts no longer than that lies whole in a window.

    Raises:
        RunError: a value out of its range.

    Example:
        >>> scorer = WindowScorer(classifier, window_s=2.0)                                 # doctest: +SKIP
        >>> [window.start_s for window in scorer.push(waveform) + scorer.finish()]          # doctest: +SKIP
        [0.0, 1.0, 2.0]
    """

    def __init__(self, classifier: Classifier, *, window_s: float | None = None, hop_s: float | None = None) -> None:
        self.classifier = classifier
        self.sample_rate = classifier.sample_rate
        self.window = _choose_window(classifier, window_s)
        self.hop = _choose_hop(self.window, hop_s, self.sample_rate)
        self._held: list[np.ndarray] = []  # the sound from `_begin` on
        self._begin = 0  # of the next window, samples from the beginning
        self._heard = 0  # the end of the last window
        self._received = 0

    @property
    def window_s(self) -> float:
        """Length of a window, seconds."""
        return self.window / self.sample_rate

    @property
    def hop_s(self) -> float:
        """From one window to the next, seconds."""
        return self.hop / self.sample_rate

    @property
    def duration_s(self) -> float:
        """How much sound has come, seconds."""
        return self._received / self.sample_rate

    def push(self, samples: np.ndarray) -> list[ScoredWindow]:
        """Hear more sound.

        Args:
            samples: (samples,), float, mono, at the model's sample rate; any number of them, none included.

        Returns:
            The windows that are now whole.

        Raises:
            SoundError: NaN or infinite samples.
        """
        samples = np.array(samples, dtype=np.float32)  # a copy: a caller may fill its buffer anew
        if samples.ndim != 1:
            raise ValueError(f"samples have shape {samples.shape}; give one row of them")
        if not np.isfinite(samples).all():
            raise SoundError("The sound holds NaN or infinite values; mend the program that it comes from.")
        self._held.append(samples)
        self._received += len(samples)
        if self._received - self._begin < self.window:
            return []
        return self._score_whole(np.concatenate(self._held))

    def finish(self) -> list[ScoredWindow]:
        """The sound is over: the last window, if anything in it is new."""
        if self._received == self._heard:
            return []
        return self._score([np.concatenate(self._held)])

    def _score_whole(self, held: np.ndarray) -> list[ScoredWindow]:
        """Score every window that is whole, and keep the sound that the next one needs."""
        starts = range(0, len(held) - self.window + 1, self.hop)
        scored: list[ScoredWindow] = []
        at_once = min(WINDOWS_AT_ONCE, max(1, round(AT_ONCE_S * self.sample_rate) // self.window))
        for first in range(0, len(starts), at_once):
            chosen = starts[first : first + at_once]
            scored += self._score([held[start : start + self.window] for start in chosen])
        self._held = [held[len(starts) * self.hop :].copy()]  # a slice would keep all of it in memory
        return scored

    def _score(self, windows: list[np.ndarray]) -> list[ScoredWindow]:
        scored = []
        for window, probabilities in zip(windows, self.classifier.score(windows), strict=True):
            self._heard = self._begin + len(window)
            start_s, end_s = self._begin / self.sample_rate, self._heard / self.sample_rate
            scored.append(ScoredWindow(start_s, end_s, probabilities, measure_level_db(window)))
            self._begin += self.hop
        return scored


@dataclass(frozen=True)
class TimelineSettings:
    """How a timeline was made: what `WindowScorer` and `EventFinder` take, with the defaults filled in."""

    window_s: float
    hop_s: float
    thresholds: Mapping[str, float]
    smooth: int
    min_duration_s: float


@dataclass(frozen=True)
class Timeline:
    """What was heard in a recording, and when.

    Args:
        events: By their beginnings.
        duration_s: How much of the recording was heard, seconds.
        sample_rate: At which the model heard it, Hz.
        settings: How it was made.
        fault: Why the recording was not heard to its end; blank if it was.
    """

    events: tuple[Event, ...]
    duration_s: float
    sample_rate: int
    settings: TimelineSettings
    fault: str = ""

    def to_records(self) -> list[dict[str, Any]]:
        """``[{"start_s", "end_s", "label", "score"}, …]``, ready for JSON."""
        return [asdict(event) for event in self.events]


def find_events(
    classifier: Classifier,
    source: str | os.PathLike[str] | bytes,
    *,
    window_s: float | None = None,
    hop_s: float | None = None,
    threshold: float | None = None,
    smooth: int | None = None,
    min_duration_s: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Timeline:
    """The events of a recording of any length, in memory that does not grow with it.

    Args:
        classifier: The model.
        source: A path, or the bytes of a file.
        window_s: See `WindowScorer`, like ``hop_s``.
        hop_s: From one window to the next.
        threshold: See `EventFinder`, like what follows; for every label the model's own, else 0.5, if not given.
        smooth: Windows averaged; 1 if not given.
        min_duration_s: Of an event and of a gap within one; 0 if not given.
        on_progress: Called with (seconds heard, seconds in all).

    Returns:
        The events; where the recording breaks off or turns to NaN midway, those until there, with its ``fault``.

    Raises:
        SoundError: a file of which nothing can be read.
        RunError: a value out of its range.

    Example:
        >>> find_events(classifier, "yard.flac", threshold=0.7).to_records()   # doctest: +SKIP
        [{'start_s': 12.5, 'end_s': 17.5, 'label': 'Dog bark', 'score': 0.93}]
    """
    scorer, finder = build_engine(
        classifier,
        window_s=window_s,
        hop_s=hop_s,
        threshold=threshold,
        smooth=smooth,
        min_duration_s=min_duration_s,
    )
    total_s = math.ceil(probe(source).duration_s)
    events: list[Event] = []
    faults: list[str] = []
    for block in _read_blocks(source, scorer, faults):
        events += finder.push(scorer.push(block))
        if on_progress is not None:
            heard_s = int(scorer.duration_s)
            on_progress(heard_s, max(heard_s, total_s))
    events += finder.push(scorer.finish()) + finder.finish()
    settings = TimelineSettings(scorer.window_s, scorer.hop_s, finder.thresholds, finder.smooth, finder.min_duration_s)
    ordered = tuple(sorted(events, key=lambda event: (event.start_s, event.end_s, event.label)))
    return Timeline(ordered, scorer.duration_s, scorer.sample_rate, settings, " ".join(faults))


def build_engine(
    classifier: Classifier,
    *,
    window_s: float | None = None,
    hop_s: float | None = None,
    threshold: float | None = None,
    smooth: int | None = None,
    min_duration_s: float | None = None,
) -> tuple[WindowScorer, EventFinder]:
    """The window engine and the finder of events of a classifier; what is ``None`` has its default.

    Args:
        classifier: The model.
        window_s: See `WindowScorer`, like ``hop_s``.
        hop_s: Seconds from one window to the next.
        threshold: See `EventFinder`, like what follows.
        smooth: Windows averaged.
        min_duration_s: Seconds.

    Raises:
        RunError: a value out of its range.

    Example:
        >>> scorer, finder = build_engine(classifier, threshold=0.7)   # doctest: +SKIP
        >>> events = finder.push(scorer.push(samples))                 # doctest: +SKIP
    """
    scorer = WindowScorer(classifier, window_s=window_s, hop_s=hop_s)
    finder = EventFinder(
        classifier.labels,
        classifier.decision,
        threshold=threshold,
        smooth=DEFAULT_SMOOTH if smooth is None else smooth,
        min_duration_s=min_duration_s or 0.0,
        multi_label=classifier.multi_label,
    )
    return scorer, finder


def _read_blocks(
    source: str | os.PathLike[str] | bytes, scorer: WindowScorer, faults: list[str]
) -> Iterator[np.ndarray]:
    """The sound as far as it can be read; why there is no more goes into ``faults``, unless there is none at all."""
    begun = False
    try:
        for block in stream(source, sample_rate=scorer.sample_rate, block_s=AT_ONCE_S, on_fault=faults.append):
            begun = True
            yield block
    except SoundError as error:
        if not begun:
            raise
        faults.append(str(error))


def _choose_window(classifier: Classifier, window_s: float | None) -> int:
    if window_s is None:
        return classifier.window
    window = _count_samples(window_s, classifier.sample_rate)
    if not 0 < window <= classifier.window:
        longest_s = classifier.window / classifier.sample_rate
        raise RunError(
            f"This model cannot hear windows of {window_s:g} s; give a length from {SHORTEST_S:g} to {longest_s:g} s."
        )
    return window


def _choose_hop(window: int, hop_s: float | None, sample_rate: int) -> int:
    if hop_s is None:
        return max(1, window // 2)
    hop = _count_samples(hop_s, sample_rate)
    if not 0 < hop <= window:
        raise RunError(
            f"Windows cannot begin every {hop_s:g} s; "
            f"give a step from {SHORTEST_S:g} to {window / sample_rate:g} s, the length of a window."
        )
    return hop


def _count_samples(duration_s: float, sample_rate: int) -> int:
    """0 for what is too short, or no length at all."""
    return round(duration_s * sample_rate) if SHORTEST_S <= duration_s < math.inf else 0
