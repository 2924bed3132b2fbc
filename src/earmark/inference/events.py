"""From the scores of windows to events: what was heard, from when to when.

NumPy only, and in one pass: a file of any length, live sound and a service all find their events here.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.errors import RunError
from earmark.inference.decision import Decision

DEFAULT_THRESHOLD = 0.5
DEFAULT_SMOOTH = 1
MOST_SMOOTH = 999
OFF_SHARE = 0.7  # an event that has begun goes on down to this share of what it took to begin
_ROUNDING_S = 1e-9  # what seconds may be off for being counted in samples


@dataclass(frozen=True, eq=False)
class ScoredWindow:
    """A stretch of sound and what a model says of it.

    Args:
        start_s: Where it begins, seconds from the beginning of all that was heard.
        end_s: Where it ends.
        probabilities: (classes,), float64.
        level_db: Its loudest frame, dB of full scale.
    """

    start_s: float
    end_s: float
    probabilities: np.ndarray
    level_db: float


@dataclass(frozen=True)
class Event:
    """A label and the time over which it was heard; ``score`` is the highest probability within it."""

    start_s: float
    end_s: float
    label: str
    score: float


@dataclass
class _Span:
    """An event in the making; it has no end while it runs."""

    start_s: float
    score: float = 0.0
    end_s: float | None = None


class EventFinder:
    """Windows in, events out, as soon as each is over.

    Each instant goes by the window whose middle lies nearest. A label begins where its probability, the mean over
    ``smooth`` windows, reaches its threshold, and ends where it falls below seven tenths of it, or, where labels
    exclude each other, where another label begins. Silence belongs to no event.

    Args:
        labels: Class names, in the order of the probabilities.
        decision: The model's own thresholds, taken where no ``threshold`` is given (0.5 for a label without one), and
            its level of silence.
        threshold: What every label must reach, in (0, 1].
        smooth: Windows over which probabilities are averaged, odd, at most 999; 1 leaves them as they are.
        min_duration_s: Gaps shorter than this within a label are closed; then, events shorter than this are left out.
        multi_label: Every label has events of its own; otherwise only the most probable one of each window has.

    Raises:
        RunError: a value out of its range.

    Example:
        >>> finder = EventFinder(("dog", "rain"), Decision(), multi_label=False)
        >>> finder.push([ScoredWindow(0.0, 1.0, np.array([0.9, 0.1]), -20.0)])
        []
        >>> finder.push([ScoredWindow(1.0, 2.0, np.array([0.2, 0.8]), -20.0)])
        [Event(start_s=0.0, end_s=1.0, label='dog', score=0.9)]
        >>> finder.finish()
        [Event(start_s=1.0, end_s=2.0, label='rain', score=0.8)]
    """

    def __init__(
        self,
        labels: Sequence[str],
        decision: Decision,
        *,
        threshold: float | None = None,
        smooth: int = DEFAULT_SMOOTH,
        min_duration_s: float = 0.0,
        multi_label: bool,
    ) -> None:
        if threshold is not None and not 0 < threshold <= 1:
            raise RunError(f"The threshold is {threshold:g}; it is a probability, so give more than 0, at most 1.")
        if not 1 <= smooth <= MOST_SMOOTH or smooth % 2 == 0:
            raise RunError(
                f"{smooth} windows cannot be averaged round a middle one; give an odd number from 1 to {MOST_SMOOTH}."
            )
        if not 0 <= min_duration_s < math.inf:
            raise RunError(f"The shortest event cannot last {min_duration_s:g} s; give 0 s or more.")
        self.labels = tuple(labels)
        self.silence_db = decision.silence_db
        self.smooth = smooth
        self.min_duration_s = min_duration_s
        self.multi_label = multi_label
        own = [decision.thresholds.get(label, DEFAULT_THRESHOLD) for label in self.labels]
        self._on = np.full(len(self.labels), threshold) if threshold is not None else np.array(own)
        self._recent: deque[ScoredWindow] = deque(maxlen=smooth)  # what an average may still need
        self._undecided = 0  # how many of them wait for those that follow
        self._last: ScoredWindow | None = None  # the last one decided
        self._spans: dict[int, _Span] = {}

    @property
    def thresholds(self) -> dict[str, float]:
        """What each label must reach to begin."""
        return dict(zip(self.labels, self._on.tolist(), strict=True))

    @property
    def open(self) -> list[Event]:
        """What is still running, as far as it was heard; some of it may yet prove too short."""
        if self._last is None:
            return []
        end_s = self._last.end_s
        running = [(index, span) for index, span in self._spans.items() if span.end_s is None]
        return [Event(span.start_s, end_s, self.labels[index], span.score) for index, span in running]

    def push(self, windows: Iterable[ScoredWindow]) -> list[Event]:
        """Hear more windows, in order; returns the events that are now over."""
        closed: list[Event] = []
        for window in windows:
            self._recent.append(window)
            self._undecided += 1
            if self._undecided > self.smooth // 2:
                closed += self._decide_next()
        return closed

    def finish(self) -> list[Event]:
        """Nothing more comes: returns the events that were not over, which end where the last window does."""
        closed: list[Event] = []
        while self._undecided:
            closed += self._decide_next()
        if self._last is not None:
            self._end_all_but([], self._last.end_s)
        return closed + self._release(math.inf)

    def _decide_next(self) -> list[Event]:
        """Go on by one window, of those that wait the first."""
        place = len(self._recent) - self._undecided
        window = self._recent[place]
        self._undecided -= 1
        half = self.smooth // 2
        neighbours = list(self._recent)[max(0, place - half) : place + half + 1]
        scores = np.mean([self._hear(neighbour) for neighbour in neighbours], axis=0)
        start_s = window.start_s if self._last is None else _find_border_s(self._last, window)
        self._last = window
        active = [] if self._is_silent(window) else self._choose(scores)
        self._end_all_but(active, start_s)
        closed = self._release(start_s)
        for index in active:
            span = self._spans.setdefault(index, _Span(start_s))
            span.end_s = None
            span.score = max(span.score, float(scores[index]))
        return closed

    def _is_silent(self, window: ScoredWindow) -> bool:
        return window.level_db < self.silence_db

    def _hear(self, window: ScoredWindow) -> np.ndarray:
        """What a model says of silence is no score."""
        return np.zeros(len(self.labels)) if self._is_silent(window) else window.probabilities

    def _choose(self, scores: np.ndarray) -> list[int]:
        """The labels that are heard now, given those that were."""
        running = [index for index, span in self._spans.items() if span.end_s is None]
        lasting = [index for index in running if scores[index] >= OFF_SHARE * self._on[index]]
        if self.multi_label:
            return sorted({*lasting, *np.flatnonzero(scores >= self._on).tolist()})
        best = int(scores.argmax())
        return [best] if scores[best] >= self._on[best] else lasting

    def _end_all_but(self, active: Sequence[int], end_s: float) -> None:
        for index, span in self._spans.items():
            if span.end_s is None and index not in active:
                span.end_s = end_s

    def _release(self, now_s: float) -> list[Event]:
        """What ended so long ago that nothing can join it, without what was too short."""
        released = []
        for index, span in list(self._spans.items()):
            if span.end_s is None or now_s - span.end_s < self.min_duration_s - _ROUNDING_S:
                continue
            del self._spans[index]
            if span.end_s - span.start_s >= self.min_duration_s - _ROUNDING_S:
                released.append(Event(span.start_s, span.end_s, self.labels[index], span.score))
        return sorted(released, key=lambda event: event.start_s)


def clock(seconds: float) -> str:
    """A place in a sound, to a tenth of a second.

    Example:
        >>> clock(3.25), clock(75.0), clock(7325.96)
        ('0:03.2', '1:15.0', '2:02:06.0')
    """
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


def _find_border_s(window: ScoredWindow, following: ScoredWindow) -> float:
    """Half-way between the middles of two windows; where they do not overlap, this is where they meet."""
    return (window.start_s + window.end_s + following.start_s + following.end_s) / 4
