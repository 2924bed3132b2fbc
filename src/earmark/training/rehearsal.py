"""A run in miniature on a few clips, to learn what each of its parts costs on this machine."""

import io
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.clips import Clips
from earmark.data.store import FEW_FILES, count_decoders, decode_blocks
from earmark.data.waveforms import ClipWaveforms, load_waveforms
from earmark.evaluation.evaluate import Answers, ask_model, load_sound
from earmark.evaluation.report import render_report
from earmark.evaluation.report_clips import make_card
from earmark.evaluation.report_reasons import explain_mistakes
from earmark.evaluation.sound_sample import sample_clips
from earmark.inference.classifier import Classifier
from earmark.inference.torch_network import TorchNetwork
from earmark.sound.level import measure_level_db
from earmark.training.build import fit_window, save_model
from earmark.training.fit import encode_clips, fit_model
from earmark.training.journal import Record
from earmark.training.learners import Learner, build_learner
from earmark.training.memory import remember_clips
from earmark.training.recipe import Recipe

CLIPS = 2 * (FEW_FILES - 1)  # decoded in two lots, each small enough to be decoded by this process
EPOCHS = 3  # of the first short training; the first of a training's epochs is slower and does not count
FEWEST_BATCHES, MOST_BATCHES = 2, 40  # of the second's epochs; the first's have one: the difference is theirs
LONGER_EPOCHS = 4  # of the second
DECODER_START_S = 2.0  # of the processes that decode
LONG_S = 2.0  # what takes so long is not done twice to be timed
LONGER_EPOCH_S, LONGEST_EPOCH_S = 0.4, 2.0  # filled with batches: the longer, the less chance has a say in it
LONGER_SHARE = 0.05  # of the time for timing, which the second's epochs may fill within these bounds
SLOW_BATCHES = 8  # where fewer fit into such a time, all else in an epoch is next to nothing beside them


class _OutOfTimeError(Exception):
    """Timing took longer than it may."""


@dataclass(frozen=True)
class Costs:
    """What the parts of a run cost, seconds.

    Args:
        encode_s: Computing the features of a clip once; 0 where they are computed in every step.
        start_s: Beginning a training.
        begin_s: The share of that for each training clip.
        epoch_s: An epoch, beside its batches.
        batch_s: A batch.
        ask_s: Asking the model about a clip.
        explain_s: Explaining a mistake, beside drawing it.
        window_s: Of the clips this was measured on.
    """

    encode_s: float
    start_s: float
    begin_s: float
    epoch_s: float
    batch_s: float
    ask_s: float
    explain_s: float
    window_s: float

    def scale(self, window_s: float) -> "Costs":
        """The costs at another window: what hears sound costs in proportion to it.

        What is summed up once costs by the length of the clips, whatever the window.
        """
        if self.encode_s:
            return replace(self, window_s=window_s)
        ratio = window_s / self.window_s
        return replace(
            self,
            begin_s=self.begin_s * ratio,
            batch_s=self.batch_s * ratio,
            ask_s=self.ask_s * ratio,
            explain_s=self.explain_s * ratio,
            window_s=window_s,
        )


@dataclass(frozen=True)
class EndCosts:
    """What the end of a run costs whatever was trained, seconds.

    Args:
        save_s: Writing a model and reading it back.
        sample_s: Measuring what a training clip sounds like, from its file.
        remember_s: Remembering a training clip by its samples.
        draw_s: A clip in the report.
        page_s: The figures, and the report without its clips.
    """

    save_s: float
    sample_s: float
    remember_s: float
    draw_s: float
    page_s: float


def hear_sample(clips: Clips, *, sample_rate: int) -> ClipWaveforms:
    """A few clips of several classes, decoded into the store; those of them that can be heard.

    Args:
        clips: All of them.
        sample_rate: Hz.
    """
    table = clips.table.sample(frac=1.0, random_state=0)
    turn = table.groupby("label").cumcount()
    chosen = table.assign(turn=turn).sort_values("turn", kind="stable").head(CLIPS).drop(columns="turn")
    # In two lots, so small that no processes are started for them.
    halves = [chosen.iloc[: CLIPS // 2], chosen]
    return [load_waveforms(_take(clips, half), sample_rate=sample_rate) for half in halves][-1]


def expect_decoding(clips: Clips, few: ClipWaveforms) -> float:
    """Seconds that decoding will take what the store has not yet.

    Args:
        clips: All of them.
        few: Some of them, which are decoded once more to be timed: keeping few files in the store costs as much as
            keeping many, and they may have been in it.
    """
    missing = few.store.count_missing(clips.table["path"])
    if not missing:
        return 0.0
    seconds: list[float] = []
    for path in dict.fromkeys(few.clips.table["path"]):
        seconds.append(_time(partial(_hear_through, path, few.store.sample_rate))[1])
        if sum(seconds) > LONG_S:
            break
    decoders = count_decoders(missing)
    return missing * float(np.mean(seconds)) / decoders + DECODER_START_S * (decoders > 1)


def measure_costs(
    recipe: Recipe, waveforms: ClipWaveforms, *, most_s: float = float("inf")
) -> tuple[Costs, Learner] | None:
    """What training with a recipe costs on this machine, and what was trained for it.

    Args:
        recipe: With its rate settled.
        waveforms: A few clips.
        most_s: Seconds that the timing itself may take; nothing is returned if its steps take longer, or its first
            ones show that they would.
    """
    began = time.perf_counter()
    recipe = fit_window(recipe, waveforms)
    learner = build_learner(recipe, waveforms.clips.labels, multi_label=waveforms.clips.multi_label)
    encoded, encode_s = None, 0.0
    if learner.encodes_once:
        encoded, encode_s = _time_warm(lambda: encode_clips(learner, waveforms))
    time_epochs = partial(_time_epochs, learner, waveforms, recipe, encoded, stop_at=began + most_s)
    try:
        one = time_epochs(batches=1, epochs=EPOCHS)
        longer_s = np.clip(LONGER_SHARE * most_s / LONGER_EPOCHS, LONGER_EPOCH_S, LONGEST_EPOCH_S)
        batches = int(np.clip(longer_s / one[1], FEWEST_BATCHES, MOST_BATCHES))
        if time.perf_counter() - began + (LONGER_EPOCHS * batches + 1) * one[1] > most_s:
            return None
        more = time_epochs(batches=batches, epochs=LONGER_EPOCHS)
    except _OutOfTimeError:
        return None
    if batches < SLOW_BATCHES:  # what two short times differ by is mostly noise
        batch_s, epoch_s = more[1] / batches, 0.0
    else:
        batch_s = max((more[1] - one[1]) / (batches - 1), 0.0) or one[1]
        epoch_s = max(one[1] - batch_s, 0.0)
    begin_s = max((more[0] - one[0]) / ((batches - 1) * recipe.train.batch_size), 0.0)
    rows = np.arange(len(waveforms))
    classifier = Classifier(TorchNetwork(learner.model.float(), learner.extractor))
    answers, ask_s = _time_warm(lambda: ask_model(classifier, waveforms, rows))
    costs = Costs(
        encode_s=encode_s / len(waveforms),
        start_s=max(one[0] - begin_s * recipe.train.batch_size, 0.0),
        begin_s=begin_s,
        epoch_s=epoch_s,
        batch_s=batch_s,
        ask_s=ask_s / len(waveforms),
        explain_s=_time_explaining(classifier, answers),
        window_s=learner.window / learner.extractor.sampling_rate,
    )
    return costs, learner


def measure_end(learner: Learner, waveforms: ClipWaveforms) -> EndCosts:
    """What the end of a run costs on this machine; what it needs is loaded on the way, and need not be again.

    Args:
        learner: Trained, however little.
        waveforms: A few clips.
    """
    rows = np.arange(len(waveforms))
    with tempfile.TemporaryDirectory(prefix="earmark-") as scratch:
        model = Path(scratch) / "model"

        def save() -> Classifier:
            return save_model(learner, model, card="", waveforms=waveforms, rows=rows[:1])

        classifier, save_s = _time_warm(save)
    _, sample_s = _time_warm(lambda: sample_clips(waveforms.clips, rows))
    _, remember_s = _time(lambda: (remember_clips(waveforms, rows), _measure_levels(waveforms)))
    draw_s, page_s = _time_page(ask_model(classifier, waveforms, rows))
    return EndCosts(save_s, sample_s / len(rows), remember_s / len(rows), draw_s, page_s)


def _time_epochs(
    learner: Learner,
    waveforms: ClipWaveforms,
    recipe: Recipe,
    encoded: Any,
    *,
    batches: int,
    epochs: int,
    stop_at: float,
) -> tuple[float, float]:
    """Seconds until the first epoch begins, about, and of an epoch of so many batches: the median without the first.

    Raises:
        _OutOfTimeError: an epoch ended after ``stop_at``, by `time.perf_counter`.
    """
    rows = np.resize(np.arange(len(waveforms)), batches * recipe.train.batch_size)
    short = replace(recipe, train=replace(recipe.train, epochs=epochs, max_steps=0, select="last"))
    ends: list[float] = []

    def note(record: Record) -> None:
        ends.append(time.perf_counter())
        if ends[-1] > stop_at:
            raise _OutOfTimeError

    began = time.perf_counter()
    # Its lines on standard error would be taken for the training's.
    with tempfile.TemporaryDirectory(prefix="earmark-") as scratch, redirect_stderr(io.StringIO()):
        fitted = fit_model(
            learner,
            waveforms,
            short,
            train_rows=rows,
            validation_rows=np.array([], dtype=int),
            seed=0,
            encoded=encoded,
            folder=Path(scratch),
            title="a few clips",
            on_record=note,
        )
    if fitted.interrupted:
        raise KeyboardInterrupt
    whole_s = time.perf_counter() - began
    epoch_s = float(np.median(np.diff(ends)))
    return max(whole_s - epochs * epoch_s, 0.0), epoch_s


def _time_explaining(classifier: Classifier, answers: Answers) -> float:
    row = {str(name): value for name, value in answers.table.iloc[0].items()}
    waveform, rate = load_sound(row)
    explain = explain_mistakes(classifier, most=2)
    asked = row | ({"added": {classifier.labels[0]: 1.0}} if answers.multi_label else {})
    return _time_warm(lambda: explain(asked, waveform, rate))[1]


def _measure_levels(waveforms: ClipWaveforms) -> list[float]:
    """Twice, as a run does: once to remember them, once to find what is silence."""
    return [measure_level_db(waveforms.read(row)) for _ in range(2) for row in range(len(waveforms))]


def _time_page(answers: Answers) -> tuple[float, float]:
    """Seconds for a clip in a report, and for a report without any."""
    history = [{"epoch": epoch, "loss": 1.0, "accuracy": 0.5} for epoch in (1, 2)]

    def write(count: int) -> None:
        some = replace(answers, table=answers.table.head(count))
        report = {"title": "", "metrics": some.measure(), "history": history}
        render_report(report, some.table, load_sound)

    write(1)  # fonts and what else is looked for once
    _, bare_s = _time(lambda: write(1))
    row = {str(name): value for name, value in answers.table.iloc[-1].items()}
    _, draw_s = _time(lambda: make_card(row, load_sound, with_waveform=True))
    return draw_s, max(bare_s - draw_s, 0.0)


def _hear_through(path: str, sample_rate: int) -> None:
    """Decode a file and keep nothing."""
    deque(decode_blocks(path, sample_rate), maxlen=0)


def _time(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    given = work()
    return given, time.perf_counter() - began


def _time_warm(work: Callable[[], Any]) -> tuple[Any, float]:
    """What work gives, and seconds: of a second time where the first is short, as that also loads what it needs."""
    given, seconds = _time(work)
    return (given, seconds) if seconds > LONG_S else _time(work)


def _take(clips: Clips, table: Any) -> Clips:
    return replace(clips, table=table.reset_index(drop=True))
