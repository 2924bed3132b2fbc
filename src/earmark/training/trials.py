"""The trials of a search: Optuna proposes, a training answers on the validation clips, hopeless ones end early.

All of it lies in one SQLite file. A trial that was killed counts for nothing and is proposed again, with the same
values: what Optuna draws hangs on the seed and on the trials that are finished, and on nothing else.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import set_seed

from earmark.data.splits import Split
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import RunError
from earmark.training.batches import EncodedClips
from earmark.training.fit import fit_model
from earmark.training.journal import VALIDATION_FIGURES, Record
from earmark.training.learners import build_learner
from earmark.training.recipe import Recipe
from earmark.training.search_space import Dimension, apply_values

STUDY_FILE, STUDY_NAME = "trials.db", "search"
RANDOM_TRIALS = 8  # before Optuna has enough to learn from
UNPRUNED_TRIALS = 4  # finished, before one is held against their median
WARM_UP_SHARE = 0.4  # of the epochs, before a trial may be ended: until then rates are high and figures say little


@dataclass(frozen=True)
class Trial:
    """One trial that has ended.

    Args:
        number: From 1; the first has the recipe's own values.
        values: Setting -> what was tried; for widths the factor.
        figure: The validation figure that it is judged by, 0 to 1; of a pruned one the last.
        pruned: It was ended early because it was worse than the median of those before.
        epochs: How many it was trained for.
        seconds: How long it took.
    """

    number: int
    values: dict[str, Any]
    figure: float
    pruned: bool
    epochs: int
    seconds: float


class HopelessError(Exception):
    """A trial is not worth its remaining epochs."""


class Study:
    """The trials in a folder, there or to come.

    Args:
        folder: Where ``trials.db`` lies or will lie.
        space: What is searched.
        epochs: Of a whole training.
        seed: Decides what is proposed.
    """

    def __init__(self, folder: Path, space: Sequence[Dimension], *, epochs: int, seed: int) -> None:
        optuna = load_optuna()
        from sqlalchemy import URL

        self.space = space
        self.seed = seed
        address = URL.create("sqlite", database=str(folder / STUDY_FILE)).render_as_string()
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=int(np.ceil(WARM_UP_SHARE * epochs))
        )
        self.study = optuna.create_study(
            storage=address, study_name=STUDY_NAME, direction="maximize", pruner=pruner, load_if_exists=True
        )
        self._forget_killed()

    def list_trials(self) -> list[Trial]:
        """Those that have ended, in their order."""
        ended = self.study.get_trials(deepcopy=False, states=self._ended_states())
        return [
            Trial(
                number,
                dict(trial.params),
                float(trial.value or 0.0),
                trial.state.name == "PRUNED",
                trial.user_attrs["epochs"],
                trial.user_attrs["seconds"],
            )
            for number, trial in enumerate(ended, start=1)
        ]

    def ask(self) -> Any:
        """The next trial of Optuna's, the recipe's own values first."""
        optuna = load_optuna()
        ended = len(self.study.get_trials(deepcopy=False, states=self._ended_states()))
        # A sampler of its own for each trial: one that is continued proposes what it would have without the kill.
        drawn = int(np.random.SeedSequence((self.seed, ended)).generate_state(1)[0])
        self.study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=RANDOM_TRIALS)
        if ended == 0 and not self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,)):
            self.study.enqueue_trial({dimension.setting: dimension.own for dimension in self.space})
        return self.study.ask({dimension.setting: _draw_from(dimension) for dimension in self.space})

    def tell(self, trial: Any, figure: float | None, *, epochs: int, seconds: float, pruned: bool = False) -> None:
        """How a trial ended; without a figure it counts for nothing."""
        states = load_optuna().trial.TrialState
        if figure is None:
            self.study.tell(trial, state=states.FAIL)
            return
        trial.set_user_attr("epochs", epochs)
        trial.set_user_attr("seconds", round(seconds, 2))
        # Of a pruned trial Optuna keeps what was reported last.
        self.study.tell(trial, None if pruned else figure, state=states.PRUNED if pruned else states.COMPLETE)

    def weigh_settings(self) -> dict[str, float]:
        """Setting -> share of what differs between whole trials that it accounts for; empty if there are too few."""
        optuna = load_optuna()
        whole = [trial for trial in self.list_trials() if not trial.pruned]
        if len(whole) < 4 or len({trial.figure for trial in whole}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.seed)
        shares = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        return {setting: float(share) for setting, share in shares.items()}

    def _forget_killed(self) -> None:
        states = load_optuna().trial.TrialState
        for trial in self.study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            self.study.tell(trial.number, state=states.FAIL)

    def _ended_states(self) -> tuple[Any, ...]:
        states = load_optuna().trial.TrialState
        return (states.COMPLETE, states.PRUNED)


def load_optuna() -> Any:
    """The package, told to keep quiet.

    Raises:
        RunError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise RunError('The search needs Optuna; `pip install "earmark[tune]"` brings it.') from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def choose_best(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest figure among those trained to their end; of equals the earliest."""
    return max((trial for trial in trials if not trial.pruned), key=lambda trial: (trial.figure, -trial.number))


def run_trial(
    study: Study,
    waveforms: ClipWaveforms,
    split: Split,
    recipe: Recipe,
    encoded: EncodedClips | None,
    *,
    seed: int,
    title: str,
) -> bool:
    """Train once with what Optuna proposes, and tell it how that went.

    Args:
        study: The trials so far.
        waveforms: The clips and their sound.
        split: Who learns and who validates.
        recipe: What is searched around, with rate and window settled.
        encoded: What never changes, if it was computed once.
        seed: Of the training, the same for all.
        title: What is trained, in the progress line.

    Returns:
        Whether it ended by itself; otherwise somebody pressed Ctrl-C.
    """
    trial = study.ask()
    tried = apply_values(recipe, trial.params)
    # Every epoch is asked about on the validation clips; which one counts is for `_judge`.
    patience = tried.train.patience if tried.train.select == "validation" else tried.train.epochs
    validated = _validate(tried, patience)
    set_seed(seed)
    learner = build_learner(validated, waveforms.clips.labels, multi_label=waveforms.clips.multi_label)
    history: list[Record] = []

    def watch(record: Record) -> None:
        history.append(record)
        trial.report(_read_figure(record), step=int(record["epoch"]))
        if trial.should_prune() and record["epoch"] < tried.train.epochs:
            raise HopelessError

    began, pruned, interrupted = time.perf_counter(), False, False
    try:
        fitted = fit_model(
            learner,
            waveforms,
            validated,
            train_rows=split.rows("train"),
            validation_rows=split.rows("validation"),
            seed=seed,
            encoded=encoded,
            title=title,
            on_record=watch,
            keeps_best=False,
        )
        interrupted = fitted.interrupted
    except HopelessError:
        pruned = True
    except KeyboardInterrupt:
        interrupted = True
    figure = None if interrupted else _judge(history, tried)
    study.tell(trial, figure, epochs=len(history), seconds=time.perf_counter() - began, pruned=pruned)
    return not interrupted


def _judge(history: Sequence[Record], recipe: Recipe) -> float:
    """The figure of the epoch that the recipe would keep: the best where it chooses one, else the last."""
    figures = [_read_figure(record) for record in history]
    return max(figures) if recipe.train.select == "validation" else figures[-1]


def _read_figure(record: Mapping[str, Any]) -> float:
    return next(float(record[f"validation_{name}"]) for name in VALIDATION_FIGURES if f"validation_{name}" in record)


def _validate(recipe: Recipe, patience: int) -> Recipe:
    return replace(recipe, train=replace(recipe.train, select="validation", patience=patience))


def _draw_from(dimension: Dimension) -> Any:
    distributions = load_optuna().distributions
    if isinstance(dimension.own, bool):
        return distributions.CategoricalDistribution([True, False])
    if isinstance(dimension.own, int):
        return distributions.IntDistribution(int(dimension.low), int(dimension.high))
    return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
