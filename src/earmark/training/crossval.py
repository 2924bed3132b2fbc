"""The verb `crossval`: every clip is tested once, by a model that never heard it or its group."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import set_seed

from earmark.data.clips import Clips, write_csv
from earmark.data.layouts import read_clips
from earmark.data.splits import Split, deal_folds, drop_unused, split_clips
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import ClipsError
from earmark.evaluation.evaluate import Answers, ask_model
from earmark.files import write_text_whole
from earmark.inference.classifier import Classifier
from earmark.training.batches import EncodedClips
from earmark.training.build import check_recipe, fit_window, settle_rate
from earmark.training.fit import fit_model
from earmark.training.journal import OnRecord, Record
from earmark.training.learners import Learner, build_learner
from earmark.training.recipe import Recipe, load_recipe, to_tables, to_toml
from earmark.training.record import describe_model, describe_run
from earmark.training.run import (
    Run,
    choose_run_folder,
    encode_once,
    hear_clips,
    make_run_folder,
    settle_seed,
    write_answers,
)
from earmark.training.trackers import Trackers, check_trackers, open_trackers


def crossval(
    clips: Clips | str | Path,
    recipe: str | Recipe = "cnn",
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    folds: int = 5,
    strict: bool = False,
    track: Sequence[str] = (),
) -> Run:
    """Train once a fold, test each model on the fold it did not hear, and pool the answers.

    Published folds are used as they are. With ``train.select = "validation"`` the fold after the tested one chooses
    the epoch; with ``"last"`` all others train and nothing is chosen. Nothing is ever chosen on a tested fold.

    Args:
        clips: Labelled clips, or the folder or CSV they are read from.
        recipe: A recipe's name, the path of a TOML file, or a `Recipe`.
        out: The run directory; ``runs/<time>-crossval-<recipe>`` if not given.
        overrides: ``"section.key=value"``, as ``--set`` takes them.
        seed: Decides all that is random; the recipe's own if not given.
        folds: How many to deal where none are published.
        strict: Refuse clips that cannot be heard instead of leaving them out by name.
        track: Trackers that follow the trainings; see `earmark.train`.

    Returns:
        A run with pooled figures and a table of folds; it holds no model.

    Raises:
        ClipsError: clips that do not hold together, or a class too small for so many folds.

    Example:
        >>> import earmark
        >>> run = earmark.crossval("esc10.csv", recipe="quick")   # doctest: +SKIP
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
    clips = drop_unused(clips if isinstance(clips, Clips) else read_clips(clips))
    recipe, seed = settle_seed(recipe, seed)
    # Faults show before the decoding, and before anything is written.
    folder = choose_run_folder(out, f"crossval-{recipe.name}")
    validation = recipe.train.select == "validation"
    dealt = len(set(deal_folds(clips, folds=folds, seed=seed)[0].tolist()))
    if validation and dealt < 3:
        raise ClipsError(
            f"One fold is tested and one chooses the epoch, so {dealt} folds leave none to learn from; "
            "use three or more, or train.select=last."
        )
    recipe = settle_rate(recipe, clips)
    check_recipe(recipe, multi_label=clips.multi_label)
    check_trackers(track)
    waveforms = hear_clips(clips, recipe, strict=strict)
    fold_of, origin = deal_folds(waveforms.clips, folds=folds, seed=seed)
    table = waveforms.clips.table.assign(fold=pd.array(fold_of, dtype="Int64"))
    waveforms = replace(waveforms, clips=replace(waveforms.clips, table=table))
    recipe = fit_window(recipe, waveforms)
    make_run_folder(folder)
    write_text_whole(folder / "recipe.toml", to_toml(recipe))
    write_csv(waveforms.clips, folder / "clips.csv")
    chosen = (
        "the fold after the tested one chooses the epoch, the others train"
        if validation
        else "all others train and the last epoch is kept, so nothing is chosen"
    )
    protocol = f"{origin}: each is tested once, by a model that did not hear it; {chosen}. All answers are pooled."
    report = describe_run("crossval", recipe, waveforms, None, protocol, seed=seed)
    with open_trackers(track, folder=folder, title=report["title"], recipe_tables=to_tables(recipe)) as trackers:
        pooled = _answer_folds(waveforms, recipe, report, trackers, validation=validation, seed=seed)
        trackers.log_report(report, pooled.table)
        report["trackers"] = trackers.hints()
    write_answers(folder, report, pooled)
    return Run(folder, report)


def _answer_folds(
    waveforms: ClipWaveforms,
    recipe: Recipe,
    report: dict[str, Any],
    trackers: Trackers,
    *,
    validation: bool,
    seed: int,
) -> Answers:
    """What is said about every clip by the model that did not hear it; the figures go into the report."""
    clips = waveforms.clips
    encoded = None
    answers, figures = [], []
    train_s = 0.0
    tested_folds = sorted(clips.table["fold"].unique().tolist())
    for fold in tested_folds:
        split = split_clips(clips, validation=validation, test_fold=fold, seed=seed)
        set_seed(seed)
        learner = build_learner(recipe, clips.labels, multi_label=clips.multi_label)
        if learner.note and learner.note not in report["notes"]:
            report["notes"].append(learner.note)
        # Folds differ only after what never changes.
        encoded = encode_once(learner, waveforms) if encoded is None else encoded
        part, seconds = _answer_fold(
            waveforms,
            recipe,
            learner,
            split,
            encoded,
            seed=seed,
            title=f"{recipe.name}, fold {fold}/{len(tested_folds)}",
            on_record=partial(_log_epoch, trackers, fold),
        )
        report["model"] = describe_model(learner, recipe)
        train_s += seconds
        answers.append(part.table)
        figures.append(_summarise_fold(fold, part, seed))
    pooled = Answers(pd.concat(answers, ignore_index=True), clips.labels, clips.multi_label)
    report["metrics"] = pooled.measure(seed=seed)
    report["folds"] = figures
    primary = report["metrics"]["primary"]
    values = np.array([figure[primary] for figure in figures])
    report["fold_mean"] = {primary: float(values.mean()), "deviation": float(values.std(ddof=1))}
    report["timing"]["train_s"] = round(train_s, 2)
    return pooled


def _answer_fold(
    waveforms: ClipWaveforms,
    recipe: Recipe,
    learner: Learner,
    split: Split,
    encoded: EncodedClips | None,
    *,
    seed: int,
    title: str,
    on_record: OnRecord,
) -> tuple[Answers, float]:
    """What a learner says about one fold once it has learnt from the others, and how long it learnt, seconds."""
    began = time.perf_counter()
    fitted = fit_model(
        learner,
        waveforms,
        recipe,
        train_rows=split.rows("train"),
        validation_rows=split.rows("validation"),
        seed=seed,
        encoded=encoded,
        title=title,
        on_record=on_record,
    )
    if fitted.interrupted:
        raise KeyboardInterrupt
    seconds = time.perf_counter() - began
    classifier = Classifier(learner.model.float(), learner.extractor)
    return ask_model(classifier, waveforms, split.rows("test")), seconds


def _log_epoch(trackers: Trackers, fold: int, record: Record) -> None:
    trackers.log_epoch({**record, "fold": fold})


def _summarise_fold(fold: int, answers: Answers, seed: int) -> dict[str, Any]:
    metrics = answers.measure(seed=seed)
    figures = {name: metrics[name]["value"] for name in (metrics["primary"], "macro_f1")}
    return {"fold": fold, "clips": len(answers.table), **figures}
