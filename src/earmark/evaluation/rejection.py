"""Sounds of no class: how well they are told from known ones, thresholds that keep them out, noise that gets in."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.inference.classifier import Classifier
from earmark.sound.level import Colour, make_noise, measure_level_db

KNOWN_KEPT = 0.95  # where the share of unknown clips let in is read off
RIGHT_KEPT = 0.8  # of the right answers, at least so many clear a threshold
FEWEST_CLIPS = 5  # a class with fewer of either kind takes the threshold of all classes together
COLOURS: tuple[Colour, ...] = ("white", "pink")
NOISE_LEVELS_DB = (-60, -50, -40, -30, -20, -10)
TAKES = 3  # sounds of each colour and level
NOISE_SOUNDS = len(COLOURS) * len(NOISE_LEVELS_DB) * TAKES
LONGEST_NOISE_S = 5.0
CLASSES_TOLD = 3


class Scored(NamedTuple):
    """What some clips were taken for, and how surely."""

    guess: NDArray[np.integer]  # (clips,), class
    score: NDArray[np.floating]  # (clips,), its probability
    right: NDArray[np.bool_]  # (clips,)


class Trial(NamedTuple):
    """One class left out: what is said of clips of the others, and of its own."""

    left_out: int
    known: Scored
    unknown: Scored


def strike_out(probabilities: NDArray[np.floating], left_out: Sequence[int]) -> NDArray[np.floating]:
    """The probabilities of the other classes, made to add up to 1 again: a softmax without these outputs.

    Args:
        probabilities: (clips, classes).
        left_out: Classes.

    Returns:
        (clips, classes), 0 for those left out.

    Example:
        >>> strike_out(np.array([[0.5, 0.3, 0.2]]), [0]).round(2).tolist()
        [[0.0, 0.6, 0.4]]
    """
    kept = np.array(probabilities, dtype=np.float64)
    kept[:, list(left_out)] = 0.0
    return kept / np.maximum(kept.sum(1, keepdims=True), np.finfo(np.float64).tiny)


def try_without(
    left_out: int, probabilities: NDArray[np.floating], truth: NDArray[np.integer], known: NDArray[np.bool_]
) -> Trial:
    """A trial from the answers of a model without the class.

    Args:
        left_out: The class.
        probabilities: (clips, classes), 0 for what the model does not know.
        truth: (clips,), the class of each clip.
        known: (clips,), whether it is of a class that the model knows.
    """
    guess = probabilities.argmax(1)
    scored = Scored(guess, probabilities.max(1), guess == truth)
    return Trial(left_out, _choose(scored, known), _choose(scored, truth == left_out))


def measure_detection(known: NDArray[np.floating], unknown: NDArray[np.floating]) -> dict[str, float]:
    """How well a score tells sounds of known classes from others, wherever the line is drawn.

    Args:
        known: Scores of sounds of known classes; higher means surer.
        unknown: Scores of others.

    Returns:
        ``auroc``: the chance that a known sound scores higher than an unknown one, ties counting half; ``fpr95``: the
        share of unknown sounds that get in where the line lets 95 % of the known ones in.

    Example:
        >>> measure_detection(np.array([0.9, 0.8, 0.7]), np.array([0.6, 0.75]))
        {'auroc': 0.8333333333333334, 'fpr95': 0.5}

    Source:
        Hendrycks, D., & Gimpel, K. (2017). A Baseline for Detecting Misclassified and Out-of-Distribution Examples.
    """
    from sklearn.metrics import roc_auc_score

    truth = np.repeat([1, 0], [len(known), len(unknown)])
    needed = int(np.ceil(KNOWN_KEPT * len(known)))
    line = np.sort(known)[::-1][needed - 1]
    return {
        "auroc": float(roc_auc_score(truth, np.concatenate([known, unknown]))),
        "fpr95": float((unknown >= line).mean()),
    }


def choose_thresholds(labels: Sequence[str], trials: Sequence[Trial]) -> dict[str, float]:
    """What the probability of each class must reach to be an answer.

    For each class, of the clips taken for it: the line at which the share of right answers let in is farthest above
    the share of unknown clips let in (Youden's J), of those lines that let in 80 % of the right answers; the lowest of
    equal ones, in the middle between two scores. A class with fewer than five clips of either kind gets the line of
    all classes together. Wrong answers on known clips have no say.

    Args:
        labels: Class names.
        trials: From clips that the models did not learn from, and never from test clips.

    Returns:
        A threshold for each label, from 0 to 1.

    Example:
        >>> known = Scored(np.zeros(5, int), np.array([0.9, 0.9, 0.8, 0.8, 0.4]), np.ones(5, bool))
        >>> unknown = Scored(np.zeros(5, int), np.array([0.3, 0.3, 0.5, 0.5, 0.6]), np.zeros(5, bool))
        >>> choose_thresholds(["dog"], [Trial(1, known, unknown)])
        {'dog': 0.7}

    Source:
        Youden, W. J. (1950). Index for rating diagnostic tests.
    """
    known = _pool([_choose(trial.known, trial.known.right) for trial in trials])
    unknown = _pool([trial.unknown for trial in trials])
    common = _draw_line(known.score, unknown.score)
    thresholds = {}
    for position, label in enumerate(labels):
        inside, outside = known.score[known.guess == position], unknown.score[unknown.guess == position]
        enough = min(len(inside), len(outside)) >= FEWEST_CLIPS
        thresholds[label] = _draw_line(inside, outside) if enough else common
    return thresholds


def measure_rejection(labels: Sequence[str], trials: Sequence[Trial], thresholds: dict[str, float]) -> dict[str, Any]:
    """How the thresholds and the score do on trials they were not chosen on: each left-out class counts alike.

    Args:
        labels: Class names.
        trials: One a left-out class; one without clips of either kind is passed over.
        thresholds: For each label.

    Returns:
        ``auroc``, ``fpr95``, ``unknown_accepted`` (the share of clips of no class that still gets an answer) and
        ``known_accepted``, means over the left-out classes, and ``classes``, a row of them for each (``label``,
        ``clips``).

    Example:
        >>> known = Scored(np.array([0, 0]), np.array([0.9, 0.6]), np.array([True, True]))
        >>> unknown = Scored(np.array([0]), np.array([0.7]), np.array([False]))
        >>> figures = measure_rejection(["dog", "rain"], [Trial(1, known, unknown)], {"dog": 0.8, "rain": 0.5})
        >>> figures["auroc"], figures["known_accepted"], figures["unknown_accepted"]
        (0.5, 0.5, 0.0)
    """
    needed = np.array([thresholds[label] for label in labels])
    rows = []
    for trial in trials:
        if not len(trial.known.score) or not len(trial.unknown.score):
            continue
        accepted = {
            f"{name}_accepted": float((scored.score >= needed[scored.guess]).mean())
            for name, scored in (("known", trial.known), ("unknown", trial.unknown))
        }
        detection = measure_detection(trial.known.score, trial.unknown.score)
        rows.append({"label": labels[trial.left_out], "clips": len(trial.unknown.score), **detection, **accepted})
    if not rows:
        return {}
    names = ("auroc", "fpr95", "known_accepted", "unknown_accepted")
    return {name: float(np.mean([row[name] for row in rows])) for name in names} | {"classes": rows}


def ask_about_noise(classifier: Classifier, on_progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """What a model makes of noise, with its own thresholds: three sounds of each colour and level.

    Args:
        classifier: Asked about sounds as long as its window, five seconds at most.
        on_progress: Called with (sounds heard, all sounds).

    Returns:
        ``noise``: rows of ``colour``, ``level_db``, ``sounds``, ``accepted`` (the share that gets an answer), ``label``
        (what most are taken for) and ``score`` (its mean probability there); ``sure_on_noise``: the classes that noise
        gets in as, with ``label``, ``sounds`` (how many of all) and ``score``.
    """
    length = min(classifier.window, round(LONGEST_NOISE_S * classifier.sample_rate))
    kinds = [(colour, level_db) for colour in COLOURS for level_db in NOISE_LEVELS_DB]
    sounds = [
        make_noise(colour, length, level_db=level_db, seed=take) for colour, level_db in kinds for take in range(TAKES)
    ]
    heard = []
    for begin in range(0, len(sounds), TAKES):
        heard.append(classifier.score(sounds[begin : begin + TAKES]))
        if on_progress is not None:
            on_progress(begin + TAKES, len(sounds))
    scores = np.concatenate(heard)
    levels_db = np.array([measure_level_db(sound) for sound in sounds])
    accepted = classifier.decision.accepts(classifier.labels, scores, levels_db, multi_label=classifier.multi_label)
    guess, score = scores.argmax(1), scores.max(1)
    rows = []
    for place, (colour, level_db) in enumerate(kinds):
        these = slice(TAKES * place, TAKES * (place + 1))
        most = int(np.bincount(guess[these]).argmax())
        rows.append(
            {
                "colour": colour,
                "level_db": level_db,
                "sounds": TAKES,
                "accepted": float(accepted[these].mean()),
                "label": classifier.labels[most],
                "score": float(score[these][guess[these] == most].mean()),
            }
        )
    sure = [
        {"label": label, "sounds": int(mine.sum()), "score": float(score[mine].mean())}
        for position, label in enumerate(classifier.labels)
        if (mine := accepted & (guess == position)).any()
    ]
    return {"noise": rows, "sure_on_noise": sorted(sure, key=lambda row: -row["sounds"])}


def tell_rejection(rejection: dict[str, Any]) -> list[str]:
    """What a model card says of sounds of no class, in sentences; nothing if nothing is known.

    Args:
        rejection: As a report has it.
    """
    told = []
    if rejection.get("thresholds"):
        told.append(
            f"With `earmark predict --reject` it says `unknown` where it is not sure enough. {rejection['sentence']}"
        )
    if "unknown_accepted" in rejection:
        told.append(
            f"With that, {rejection['unknown_accepted']:.0%} of the clips of a class that was left out still got an "
            f"answer, and {rejection['known_accepted']:.0%} of the others did (AUROC {rejection['auroc']:.2f}; where "
            f"95 % of the others get in, {rejection['fpr95']:.0%} of its clips do too)."
        )
    if sure := rejection.get("sure_on_noise"):
        names = ", ".join(f"{row['label']} ({row['score']:.0%} sure)" for row in sure[:CLASSES_TOLD])
        told.append(f"Plain noise, white or pink, passes for: {names}.")
    return told


def _draw_line(inside: NDArray[np.floating], outside: NDArray[np.floating]) -> float:
    """The lowest line that keeps the share let in of ``inside``, 80 % at least, farthest above that of ``outside``."""
    values = np.unique(np.concatenate([inside, outside]))
    lines = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2])
    right, foreign = (1 - np.searchsorted(np.sort(side), lines) / max(len(side), 1) for side in (inside, outside))
    gain = np.where(right >= RIGHT_KEPT, (right - foreign).round(12), -np.inf)
    return float(round(lines[gain.argmax()], 6))


def _choose(scored: Scored, rows: NDArray[np.bool_]) -> Scored:
    return Scored(scored.guess[rows], scored.score[rows], scored.right[rows])


def _pool(parts: Sequence[Scored]) -> Scored:
    return Scored(
        np.concatenate([part.guess for part in parts]),
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.right for part in parts]),
    )
