"""A time to be ready in: what fits is chosen from what a few clips cost on this machine, and told beforehand."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from earmark.data.clips import Clips
from earmark.data.splits import Split
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import RecipeError, RunError
from earmark.evaluation.rejection import LONGEST_NOISE_S, NOISE_SOUNDS
from earmark.evaluation.report_clips import EXAMPLES, MISTAKES
from earmark.evaluation.sound_sample import MOST_RECORDINGS
from earmark.pages.layout import span
from earmark.progress import say
from earmark.training.build import fit_window
from earmark.training.learners import STATISTICS_CLIPS
from earmark.training.leaving_out import FEWEST_CLIPS, ROUNDS
from earmark.training.recipe import Recipe, load_recipe
from earmark.training.rehearsal import Costs, EndCosts, expect_decoding, hear_sample, measure_costs, measure_end
from earmark.training.search_space import apply_values
from earmark.training.sections import TrainSection

LADDER = ("cnn", "quick")
"""The recipes to choose from, the most accurate first where there is time for it."""

NARROWER = 0.5
EXPECTED_SHARE = 0.5  # of the mistakes that a report would show; how many there will be, nobody knows beforehand
EXPLAINING_SHARE = 0.1  # of the rest of the run, which explaining mistakes may take
SPARE_SHARE = 0.05  # of the budget, left for what no estimate sees
TIMING_SHARE = 0.5  # of the time to spare, which timing a costlier candidate may take
WORTHWHILE_SHARE = 0.5  # of the budget, to be spare before a costlier candidate is timed
LEAST_EPOCHS = 10
LEAST_STEPS = 300
LEAST_GIVEN_EPOCHS = 3  # of a recipe that somebody asked for
ROUND_UP_S = 5
TOLD_FROM_S = 5.0
TINY_S = 1e-9

_PARTS = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_budget(text: str) -> float:
    """A time as people write it, in seconds.

    Raises:
        RunError: it is no time, or none at all.

    Example:
        >>> parse_budget("90s"), parse_budget("10m"), parse_budget("1h30m"), parse_budget("45")
        (90.0, 600.0, 5400.0, 45.0)
    """
    written = text.strip().lower().replace(" ", "")
    # A bare number counts seconds only where it stands alone: 1h30 is not half a minute after the hour.
    found = _PARTS.fullmatch(f"{written}s" if written.replace(".", "", 1).isdecimal() else written)
    parts = found.groups(default="0") if found else ("0", "0", "0")
    seconds = sum(float(part) * unit for part, unit in zip(parts, (3600, 60, 1), strict=True))
    if seconds <= 0:
        raise RunError(f"--budget {text!r} is no time; write it as 90s, 10m, 1h30m, or plain seconds.")
    return seconds


@dataclass(frozen=True)
class Parts:
    """How many clips play which part, how many classes there are, and how often a head is trained again."""

    train: int
    validation: int
    test: int
    classes: int
    retrainings: int

    @property
    def clips(self) -> int:
        """All of them."""
        return self.train + self.validation + self.test

    @property
    def learnt_again(self) -> int:
        """Those that a head learns from again: without some of the classes, and without a part where none validates."""
        share = 1 - 1 / max(self.retrainings, 1)
        return max(1, round(self.train * (share if self.validation else share**2)))


@dataclass(frozen=True)
class Plan:
    """What was chosen, and when it will be done.

    Args:
        recipe: With the epochs that fit.
        budget_s: What was given.
        announced_s: The whole run, from its start.
        sentence: What was chosen, why, and how long it takes.
        explained_mistakes: How many the report explains at most, so that its end does not hang on how many there are.
    """

    recipe: Recipe
    budget_s: float
    announced_s: float
    sentence: str
    explained_mistakes: int

    def tell(self) -> dict[str, Any]:
        """The ``budget`` of a report."""
        return {
            "budget_s": self.budget_s,
            "announced_s": round(self.announced_s, 1),
            "sentence": self.sentence,
            "explained_mistakes": self.explained_mistakes,
        }


class Budget:
    """A budget whose clock runs from when it is made.

    Args:
        seconds: How long everything may take.
        candidates: Recipes to choose from, the best first; see `list_candidates`.
        given: Somebody asked for the recipe, so that it need not be worth its time.
        began: When the clock began to run, by `time.perf_counter`; now if not given.

    Example:
        >>> budget = Budget(600.0, list_candidates(None))
        >>> [recipe.name for recipe in budget.candidates]
        ['cnn', 'cnn', 'quick']
    """

    def __init__(
        self, seconds: float, candidates: Sequence[Recipe], *, given: bool = False, began: float | None = None
    ) -> None:
        self.seconds = seconds
        self.candidates = list(candidates)
        self.given = given
        self._began = time.perf_counter() if began is None else began
        self._costs: dict[int, Costs] = {}
        self._end: EndCosts | None = None

    @property
    def spent_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._began

    def rehearse(self, clips: Clips, split: Split, settled: Recipe) -> None:
        """Time decoding, and training and what follows it, on a few clips; refuse what cannot be done.

        Args:
            clips: All clips.
            split: Who plays which part.
            settled: The first candidate with the seed and the sample rate that count; all candidates take them.

        Raises:
            RunError: the budget is too small for the cheapest candidate.
        """
        self.candidates = [_settle(recipe, settled) for recipe in self.candidates]
        assert isinstance(settled.audio.sample_rate, int)
        few = hear_sample(clips, sample_rate=settled.audio.sample_rate)
        parts, decode_s = _count_parts(split, clips), expect_decoding(clips, few)
        most_s = self.seconds - self.spent_s - decode_s
        # From the cheapest on, as long as timing the next leaves the time that those timed before need.
        for place in reversed(range(len(self.candidates))):
            measured = measure_costs(self.candidates[place], few, most_s=most_s)
            if measured is None:
                break
            self._costs[place], learner = measured
            if self._end is None:
                self._end = measure_end(learner, few)
                if self._fit_epochs(place, parts, decode_s) is None:
                    raise self._refuse(parts, decode_s)
            least_s = self._estimate(place, parts, self._least_epochs(place, parts))
            slack_s = self.seconds - self.spent_s - decode_s - least_s
            if slack_s < WORTHWHILE_SHARE * self.seconds:
                break
            most_s = TIMING_SHARE * slack_s
        if not self._costs:
            raise RunError(
                f"A budget of {span(self.seconds)} is too small for {self.candidates[-1].name} on this machine: "
                "decoding and a few steps, to learn what they cost, take longer than that."
            )
        if decode_s > TOLD_FROM_S:
            say(f"Decoding takes about {span(decode_s)} of the budget of {span(self.seconds)}.")

    def settle(self, waveforms: ClipWaveforms, split: Split) -> Plan:
        """What fits into the rest of the time, now that all clips are decoded.

        Args:
            waveforms: The clips and their sound.
            split: Who plays which part.

        Returns:
            What was chosen; it is also told on standard error.
        """
        for place, costs in self._costs.items():
            window_s = fit_window(self.candidates[place], waveforms).audio.window_s
            if isinstance(window_s, float):
                self._costs[place] = costs.scale(window_s)
        parts = _count_parts(split, waveforms.clips)
        cheapest = max(self._costs)
        # If timing and decoding took longer than expected, the least is done all the same, and the sentence says so.
        place, epochs = self._choose(parts) or (cheapest, self._least_epochs(cheapest, parts))
        announced_s = self.spent_s + self._estimate(place, parts, epochs)
        own = self.candidates[place]
        recipe = replace(own, train=replace(own.train, epochs=epochs))
        explained = self._count_explained(place, parts, self._estimate_bare(place, parts, epochs))
        sentence = self._tell(place, epochs, parts, announced_s, explained)
        plan = Plan(recipe, self.seconds, announced_s, sentence, explained)
        say(plan.sentence)
        return plan

    def _choose(self, parts: Parts) -> tuple[int, int] | None:
        """The best candidate that fits, and for how many epochs; nothing if none does."""
        for place in sorted(self._costs):
            epochs = self._fit_epochs(place, parts, 0.0)
            if epochs is not None:
                return place, epochs
        return None

    def _refuse(self, parts: Parts, decode_s: float) -> RunError:
        cheapest = max(self._costs)
        needed_s = self.spent_s + decode_s + self._estimate(cheapest, parts, self._least_epochs(cheapest, parts))
        least_s = ROUND_UP_S * math.ceil(needed_s / (1 - SPARE_SHARE) ** 2 / ROUND_UP_S)
        return RunError(
            f"A budget of {span(self.seconds)} is too small for these {parts.clips} clips on this machine; "
            f"the least that would do is about --budget {least_s}s."
        )

    def _fit_epochs(self, place: int, parts: Parts, decode_s: float) -> int | None:
        """How many epochs fit, no more than the recipe has; nothing if they are too few to be worth it."""
        bare_s = self._estimate_bare(place, parts, 0)
        epoch_s = self._estimate_bare(place, parts, 1) - bare_s
        rest_s = (1 - SPARE_SHARE) * self.seconds - self.spent_s - decode_s
        left_s = rest_s - min(_expect(MISTAKES) * self._costs[place].explain_s, EXPLAINING_SHARE * rest_s) - bare_s
        epochs = min(self.candidates[place].train.epochs, int(left_s / epoch_s) if left_s > 0 else 0)
        return epochs if epochs >= self._least_epochs(place, parts) else None

    def _least_epochs(self, place: int, parts: Parts) -> int:
        train = self.candidates[place].train
        if self.given:
            return min(train.epochs, LEAST_GIVEN_EPOCHS)
        return min(train.epochs, max(LEAST_EPOCHS, math.ceil(LEAST_STEPS / _count_batches(train, parts.train))))

    def _estimate(self, place: int, parts: Parts, epochs: int) -> float:
        """Seconds from the beginning of the training to the end of the run."""
        bare_s = self._estimate_bare(place, parts, epochs)
        return bare_s + _expect(self._count_explained(place, parts, bare_s)) * self._costs[place].explain_s

    def _count_explained(self, place: int, parts: Parts, bare_s: float) -> int:
        """How many mistakes may be explained, if all else takes so long."""
        affordable = EXPLAINING_SHARE * bare_s / max(_expect(1) * self._costs[place].explain_s, TINY_S)
        return int(min(MISTAKES, parts.test, max(1, affordable)))

    def _estimate_bare(self, place: int, parts: Parts, epochs: int) -> float:
        """`_estimate` without the explanations."""
        costs, end, train = self._costs[place], self._end, self.candidates[place].train
        assert end is not None
        asked = parts.test + parts.validation + min(1.0, LONGEST_NOISE_S / costs.window_s) * NOISE_SOUNDS
        begin_s = costs.start_s + costs.begin_s * min(parts.train, STATISTICS_CLIPS)
        training_s = begin_s + epochs * _epoch_s(costs, train, parts.train, parts.validation)
        # A head is trained again without some of the classes, for the thresholds.
        again_s = begin_s + epochs * _epoch_s(costs, train, parts.learnt_again, parts.validation)
        retraining_s = parts.retrainings * again_s if costs.encode_s else 0.0
        kept_s = end.save_s + end.sample_s * min(parts.train, MOST_RECORDINGS) + end.remember_s * parts.train
        drawn = _expect(min(MISTAKES, parts.test)) + min(EXAMPLES, parts.classes)
        report_s = end.page_s + end.draw_s * drawn
        return costs.encode_s * parts.clips + training_s + retraining_s + costs.ask_s * asked + kept_s + report_s

    def _tell(self, place: int, epochs: int, parts: Parts, announced_s: float, explained: int) -> str:
        own = self.candidates[place].train.epochs
        length = f"all its {own} epochs" if epochs == own else f"{epochs} epochs instead of {own}"
        chosen = f"{self._name(place)} for {length}"
        told = f"Budget {span(self.seconds)}: {chosen}, done about {span(announced_s)} after the start"
        told += ", as timed on a few of the clips."
        if explained < min(MISTAKES, parts.test):
            told += f" There is time to explain {explained} mistake{'s' * (explained > 1)} in the report."
        if announced_s > self.seconds:
            return f"{told} That is more than the budget: decoding, or the timing itself, took longer than expected."
        better = max((other for other in self._costs if other < place), default=None)
        if better is None:
            return told
        needed_s = self.spent_s + self._estimate(better, parts, self._least_epochs(better, parts))
        needed = span(needed_s / (1 - SPARE_SHARE))
        return f"{told} {self._name(better)} would need at least {needed}."

    def _name(self, place: int) -> str:
        name = self.candidates[place].name
        narrower = place > 0 and self.candidates[place - 1].name == name
        return f"{name} with half its widths" if narrower else name


def list_candidates(recipe: Recipe | None, overrides: Sequence[str] = ()) -> list[Recipe]:
    """What a budget may choose from, the most accurate first where there is time for it.

    Args:
        recipe: The recipe that somebody asked for, of which size and epochs are chosen; nothing for a free choice.
        overrides: ``"section.key=value"``, for a free choice.

    Raises:
        RecipeError: a recipe that counts its steps, which leaves nothing to choose.
    """
    asked = [load_recipe(name, overrides) for name in LADDER] if recipe is None else [recipe]
    found = []
    for one in asked:
        if one.train.max_steps:
            raise RecipeError("--budget chooses how long to train, and so does train.max_steps; leave one of them out.")
        found.append(one)
        if one.model.name == "cnn":
            found.append(apply_values(one, {"model.widths": NARROWER}))
    return found


def open_budget(
    seconds: float, recipe: Recipe | None, overrides: Sequence[str] = (), *, began: float | None = None
) -> Budget:
    """A budget for a recipe that somebody asked for, or for whatever fits."""
    return Budget(seconds, list_candidates(recipe, overrides), given=recipe is not None, began=began)


def _settle(recipe: Recipe, settled: Recipe) -> Recipe:
    rate, seed = settled.audio.sample_rate, settled.train.seed
    return replace(recipe, audio=replace(recipe.audio, sample_rate=rate), train=replace(recipe.train, seed=seed))


def _count_parts(split: Split, clips: Clips) -> Parts:
    train, validation, test = (len(split.rows(part)) for part in ("train", "validation", "test"))
    classes = len(clips.labels)
    retrainings = 0 if clips.multi_label or classes < 3 or train < FEWEST_CLIPS else min(ROUNDS, classes)
    return Parts(train, validation, test, classes, retrainings)


def _expect(mistakes: int) -> float:
    """As many as lie in the middle of what may come."""
    return EXPECTED_SHARE * mistakes


def _count_batches(train: TrainSection, clips: int) -> int:
    return max(1, math.ceil(clips / train.batch_size))


def _epoch_s(costs: Costs, train: TrainSection, clips: int, validation: int) -> float:
    # A last batch that is not full costs less where sound is heard, and as much where only a head learns.
    batches = _count_batches(train, clips) if costs.encode_s else clips / train.batch_size
    return costs.epoch_s + batches * costs.batch_s + validation * costs.ask_s
