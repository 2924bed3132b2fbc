"""The verb `tune`: a search for better settings of a recipe, judged on validation clips alone."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import earmark
from earmark.data.clips import Clips, read_csv, write_csv
from earmark.data.groups import infer_groups
from earmark.data.layouts import read_clips
from earmark.data.splits import Split, is_official, split_clips
from earmark.errors import ClipsError, RunError
from earmark.evaluation.search_page import write_search_page
from earmark.files import write_text_whole
from earmark.pages.layout import span
from earmark.progress import say
from earmark.training.build import check_recipe, fit_window, settle_rate
from earmark.training.gate import check_split
from earmark.training.learners import build_learner
from earmark.training.recipe import Recipe, load_recipe, to_toml
from earmark.training.record import describe_software
from earmark.training.run import encode_once, hear_clips, settle_seed
from earmark.training.run_folder import choose_run_folder, make_run_folder, read_begun, write_begun
from earmark.training.search_space import apply_values, find_space
from earmark.training.trials import Study, Trial, choose_best, load_optuna, run_trial

KIND = "tune"
BEST_FILE, PAGE_FILE, FIGURES_FILE = "best.toml", "search.html", "search.json"


@dataclass(frozen=True)
class Search:
    """A finished search.

    Args:
        folder: Holds ``best.toml``, ``search.html``, ``search.json``, ``trials.db``, ``recipe.toml`` and ``clips.csv``.
        figures: What stands in ``search.json``.
    """

    folder: Path
    figures: dict[str, Any]

    @property
    def best_recipe(self) -> Path:
        """The recipe of the best trial, a TOML file."""
        return self.folder / BEST_FILE


def tune(
    clips: Clips | str | Path,
    recipe: str | Recipe = "cnn",
    *,
    trials: int = 20,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    test_fold: int | None = None,
    budget_s: float | None = None,
    began: float | None = None,
    strict: bool = False,
    allow_leak: bool = False,
) -> Search:
    """Search for better settings of a recipe; the clips that `train` would test on are not even decoded.

    The first trial has the recipe's own values, so that what comes out is never worse than it on the validation clips.
    A trial is judged by the epoch that the recipe would keep: the last one, or with ``train.select = "validation"`` the
    best one. One that is worse than the median of those before it ends early.

    Args:
        clips: Labelled clips, or what they are read from: a folder, a CSV, a known dataset, a dataset's Hub id.
        recipe: A recipe's name, the path of a TOML file, or a `Recipe`.
        trials: How many trainings.
        out: The directory of the search; ``runs/<time>-tune-<recipe>`` if not given.
        overrides: ``"section.key=value"``, as ``--set`` takes them.
        seed: Decides all that is random: the same seed on the same machine finds the same settings.
        test_fold: The published fold that is left out, to be tested on afterwards.
        budget_s: Begin no trial that would end later than so many seconds after the start.
        began: When that was, by `time.perf_counter`; now if not given.
        strict: Refuse clips that cannot be heard instead of leaving them out by name.
        allow_leak: Go on where a group or the same sound is learnt from and validated on.

    Raises:
        ClipsError: clips that do not hold together, or a split that leaks.
        RecipeError: a recipe that does not exist or does not hold together.
        RunError: ``out`` exists already, or Optuna is not installed.

    Example:
        >>> import earmark
        >>> search = earmark.tune("sounds/", recipe="quick", trials=30)   # doctest: +SKIP
        >>> earmark.train("sounds/", recipe=str(search.best_recipe))      # doctest: +SKIP
    """
    began = time.perf_counter() if began is None else began
    load_optuna()
    _check_trials(trials)
    recipe = load_recipe(recipe, overrides)
    recipe, seed = settle_seed(recipe, seed)
    how = recipe.train.split
    clips = clips if isinstance(clips, Clips) else read_clips(clips)
    clips = infer_groups(clips, to_deal=how == "official")
    folder = choose_run_folder(out, f"tune-{recipe.name}")
    # The parts are dealt before anything is heard, as `train` deals them where every clip can be heard.
    split = split_clips(clips, validation=True, test_fold=test_fold, seed=seed, how=how)
    check_recipe(settle_rate(recipe, clips), multi_label=clips.multi_label)
    held = np.isin(split.parts, ("train", "validation"))
    searched = replace(clips, table=clips.table.assign(split=split.parts)[held].reset_index(drop=True))
    waveforms = hear_clips(searched, settle_rate(recipe, searched), strict=strict)
    parts = waveforms.clips.table["split"].to_numpy(dtype=object)
    if missing := {"train", "validation"} - set(parts):
        raise ClipsError(
            f"No clip of the {missing.pop()} part can be heard; the first: {waveforms.left_out[0]['reason']}"
        )
    leaks = check_split(waveforms, parts, how=how, allow_leak=allow_leak)
    make_run_folder(folder)
    write_text_whole(folder / "recipe.toml", to_toml(recipe))
    write_csv(waveforms.clips, folder / "clips.csv")
    published = is_official(clips) or "fold" in clips.table or "split" in clips.table
    if not published:
        write_csv(replace(clips, table=clips.table.assign(split=split.parts)), folder / "split.csv")
    begun = {
        "seed": seed,
        "trials": trials,
        "source": clips.source,
        "layout": clips.layout,
        "grouping": clips.grouping,
        "left_out": waveforms.left_out,
        "left_alone": int((split.parts == "test").sum()),
        "protocol": split.protocol,
        "notes": [*leaks.notes, *([leaks.consequence] if leaks.found and leaks.consequence else [])],
        "train_on": clips.source if published else str(folder / "split.csv"),
        "test_fold": test_fold,
    }
    write_begun(folder, KIND, begun)
    return _search(folder, searched, recipe, begun, began, budget_s)


def resume_tune(
    folder: str | Path, *, trials: int | None = None, budget_s: float | None = None, began: float | None = None
) -> Search:
    """Continue a search that was killed, or add trials to one; it ends as it would have uninterrupted.

    Args:
        folder: Of the search.
        trials: How many in all; as many as were asked for when it began if not given.
        budget_s: Begin no trial that would end later than so many seconds after the start.
        began: When that was, by `time.perf_counter`; now if not given.

    Raises:
        RunError: no search there.
    """
    began = time.perf_counter() if began is None else began
    folder = Path(folder)
    begun = read_begun(folder, KIND)
    load_optuna()
    if trials is not None:
        _check_trials(trials)
        begun["trials"] = trials
    known = {name: begun[name] for name in ("source", "layout", "grouping")}
    clips = replace(read_csv(folder / "clips.csv"), **known)
    return _search(folder, clips, load_recipe(str(folder / "recipe.toml")), begun, began, budget_s)


def _check_trials(trials: int) -> None:
    if trials < 1:
        raise RunError(f"trials = {trials} leaves nothing to do; use 1 or more.")


def _search(
    folder: Path, clips: Clips, recipe: Recipe, begun: dict[str, Any], began: float, budget_s: float | None
) -> Search:
    """All trials that are not there yet, the best recipe, and the page."""
    settled = settle_rate(recipe, clips)
    waveforms = hear_clips(clips, settled, strict=False)
    settled = fit_window(settled, waveforms)
    split = Split(waveforms.clips.table["split"].to_numpy(dtype=object), begun["protocol"])
    learner = build_learner(settled, waveforms.clips.labels, multi_label=waveforms.clips.multi_label)
    encoded = encode_once(learner, waveforms)
    study = Study(folder, find_space(recipe), epochs=recipe.train.epochs, seed=begun["seed"])
    n_trials = begun["trials"]
    _say_space(study)
    while (done := len(study.list_trials())) < n_trials:
        spent_s = time.perf_counter() - began
        if budget_s is not None and done and spent_s + _usual_s(study.list_trials()) > budget_s:
            say(f"The budget is spent: {done} of {n_trials} trials. `earmark tune --resume {folder}` goes on.")
            break
        title = f"{recipe.name}, trial {done + 1} of {n_trials}"
        if not run_trial(study, waveforms, split, settled, encoded, seed=begun["seed"], title=title):
            say(f"Trials that ended are kept: `earmark tune --resume {folder}` goes on after them.")
            raise KeyboardInterrupt
        _tell_trial(study.list_trials(), n_trials)
    return _conclude(folder, recipe, study, begun, multi_label=clips.multi_label, split=split)


def _conclude(
    folder: Path, recipe: Recipe, study: Study, begun: dict[str, Any], *, multi_label: bool, split: Split
) -> Search:
    trials = study.list_trials()
    best = choose_best(trials)
    described = f"{recipe.name} as a search over {len(trials)} trials found it on validation clips."
    found = replace(apply_values(recipe, best.values), name=f"{recipe.name}-tuned", description=described)
    write_text_whole(folder / BEST_FILE, to_toml(found))
    figures = {
        "title": f"Search around {recipe.name} on {Path(begun['source']).stem}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "earmark": earmark.__version__,
        "recipe": recipe.name,
        "seed": begun["seed"],
        "figure": "validation mAP" if multi_label else "validation accuracy",
        "protocol": _tell_protocol(recipe, split, begun["left_alone"]),
        "notes": [*begun["notes"], *_caution(best, trials, split)],
        "left_out": begun["left_out"],
        "space": [dimension.describe() for dimension in study.space],
        "factors": [dimension.setting for dimension in study.space if dimension.is_factor],
        "trials": [asdict(trial) for trial in trials],
        "asked_for": begun["trials"],
        "best": best.number,
        "best_recipe": str(folder / BEST_FILE),
        "importance": study.weigh_settings(),
        "next": _tell_next(folder, begun),
        **describe_software(),
    }
    write_text_whole(folder / FIGURES_FILE, json.dumps(figures, ensure_ascii=False, indent=1))
    write_search_page(folder / PAGE_FILE, figures)
    return Search(folder, figures)


def _tell_protocol(recipe: Recipe, split: Split, left_alone: int) -> str:
    kept = "the best epoch" if recipe.train.select == "validation" else "the last epoch, which the recipe keeps,"
    return (
        f"Each trial learned from {len(split.rows('train'))} clips and was judged by {kept} on "
        f"{len(split.rows('validation'))} validation clips. The {left_alone} test clips were left out of the search: "
        "not one was decoded or asked about."
    )


def _caution(best: Trial, trials: Sequence[Trial], split: Split) -> list[str]:
    """What a reader should know before believing the best figure."""
    clips = len(split.rows("validation"))
    notes = [
        f"The best of {len(trials)} figures on {clips} clips owes something to luck; what the recipe is worth, "
        "the test clips tell, once, after the training with it."
    ]
    first = trials[0]
    if best.number == 1:
        notes.append("No trial was better than the recipe as it is, so best.toml holds just that.")
    elif (best.figure - first.figure) * clips < 2 * np.sqrt(clips * first.figure * (1 - first.figure)):
        notes.append(
            f"The gain over the recipe as it is, {100 * (best.figure - first.figure):.1f} points, is within what "
            f"{clips} clips can tell from chance."
        )
    return notes


def _tell_next(folder: Path, begun: dict[str, Any]) -> str:
    fold = f" --test-fold {begun['test_fold']}" if begun["test_fold"] is not None else ""
    return f"earmark train {_quote(begun['train_on'])} --recipe {_quote(str(folder / BEST_FILE))}{fold}"


def _quote(argument: str) -> str:
    import shlex

    return shlex.quote(argument)


def _usual_s(trials: Sequence[Trial]) -> float:
    """What a trial takes that is not ended early, seconds."""
    return float(np.median([trial.seconds for trial in trials if not trial.pruned]))


def _say_space(study: Study) -> None:
    say("Searched, and nothing else: " + "; ".join(dimension.describe() for dimension in study.space) + ".")


def _tell_trial(trials: Sequence[Trial], n_trials: int) -> None:
    last, best = trials[-1], choose_best(trials)
    outcome = f"ended early after {last.epochs} epochs at" if last.pruned else "validation figure"
    left_s = float(np.mean([trial.seconds for trial in trials])) * (n_trials - len(trials))
    left = f"; about {span(left_s)} left" if left_s > 0 else ""
    say(
        f"Trial {last.number} of {n_trials}: {outcome} {100 * last.figure:.1f} %, {span(last.seconds)}; "
        f"best {100 * best.figure:.1f} % (trial {best.number}){left}"
    )
