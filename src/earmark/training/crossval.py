"""The verb `crossval`: every clip is tested once, by a model that never heard it or its group."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import set_seed

from earmark.data.clips import Clips, write_csv
from earmark.data.layouts import read_clips
from earmark.data.splits import Split, deal_folds, split_clips
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import ClipsError
from earmark.evaluation.evaluate import Answers, ask_model
from earmark.files import write_text_whole
from earmark.inference.classifier import Classifier
from earmark.models import EarmarkFeatureExtractor
from earmark.progress import show_progress
from earmark.training.batches import EncodedClips
from earmark.training.build import build_model, check_recipe, fit_window
from earmark.training.fit import caches_encoding, encode_clips, fit_model
from earmark.training.recipe import Recipe, load_recipe, to_toml
from earmark.training.record import describe_model, describe_run
from earmark.training.run import (
    Run,
    choose_run_folder,
    hear_clips,
    make_run_folder,
    refuse_multi_label,
    write_answers,
)


def crossval(
    clips: Clips | str | Path,
    recipe: str | Recipe = "cnn",
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    folds: int = 5,
    strict: bool = False,
) -> Run:
    """Train once a fold, test each model on the fold it did not hear, and pool the answers.

    Published folds are used as they are. With ``train.select = "validation"`` the fold after the tested one chooses
    the epoch; with ``"last"`` all others train and nothing is chosen. Nothing is ever chosen on a tested fold.

    Args:
        clips: Labelled clips, or the folder or CSV they are read from.
        recipe: A recipe's name, the path of a TOML file, or a `Recipe`.
        out: The run directory; ``runs/<time>-crossval-<recipe>`` if not given.
        overrides: ``"section.key=value"``, as ``--set`` takes them.
        seed: Decides all that is random.
        folds: How many to deal where none are published.
        strict: Refuse clips that cannot be heard instead of leaving them out by name.

    Returns:
        A run with pooled figures and a table of folds; it holds no model.

    Raises:
        ClipsError: clips that do not hold together, or a class too small for so many folds.

    Example:
        >>> import earmark
        >>> run = earmark.crossval("esc10.csv", recipe="quick")   # doctest: +SKIP
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
    clips = clips if isinstance(clips, Clips) else read_clips(clips)
    refuse_multi_label(clips)
    # Faults show before the decoding, and before anything is written.
    folder = choose_run_folder(out, f"crossval-{recipe.name}")
    validation = recipe.train.select == "validation"
    dealt = len(set(deal_folds(clips, folds=folds, seed=seed)[0].tolist()))
    if validation and dealt < 3:
        raise ClipsError(
            f"One fold is tested and one chooses the epoch, so {dealt} folds leave none to learn from; "
            "use three or more, or train.select=last."
        )
    check_recipe(recipe)
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
    encoded = _encode_once(recipe, waveforms)
    answers, figures = [], []
    train_s = 0.0
    tested_folds = sorted(set(fold_of.tolist()))
    for fold in tested_folds:
        split = split_clips(waveforms.clips, validation=validation, test_fold=fold, seed=seed)
        title = f"{recipe.name}, fold {fold}/{len(tested_folds)}"
        part, seconds = _answer_fold(waveforms, recipe, split, encoded, report, seed=seed, title=title)
        train_s += seconds
        answers.append(part.table)
        right = part.measure(seed=seed)
        figures.append(
            {
                "fold": fold,
                "clips": len(part.table),
                "accuracy": right["accuracy"]["value"],
                "macro_f1": right["macro_f1"]["value"],
            }
        )
    pooled = Answers(pd.concat(answers, ignore_index=True), waveforms.clips.labels)
    accuracies = np.array([figure["accuracy"] for figure in figures])
    report["folds"] = figures
    report["fold_mean"] = {"accuracy": float(accuracies.mean()), "deviation": float(accuracies.std(ddof=1))}
    report["timing"]["train_s"] = round(train_s, 2)
    report["metrics"] = pooled.measure(seed=seed)
    write_answers(folder, report, pooled)
    return Run(folder, report)


def _encode_once(recipe: Recipe, waveforms: ClipWaveforms) -> EncodedClips | None:
    """Folds differ only after the front end."""
    if not caches_encoding(recipe):
        return None
    with show_progress("Computing features", "windows") as advance:
        return encode_clips(build_model(recipe, waveforms.clips.labels, multi_label=False), waveforms, advance)


def _answer_fold(
    waveforms: ClipWaveforms,
    recipe: Recipe,
    split: Split,
    encoded: EncodedClips | None,
    report: dict[str, Any],
    *,
    seed: int,
    title: str,
) -> tuple[Answers, float]:
    set_seed(seed)
    model = build_model(recipe, waveforms.clips.labels, multi_label=False)
    if recipe.model.pretrained and (note := model.load_pretrained_backbone()) and note not in report["notes"]:
        report["notes"].append(note)
    began = time.perf_counter()
    fitted = fit_model(
        model,
        waveforms,
        recipe,
        train_rows=split.rows("train"),
        validation_rows=split.rows("validation"),
        seed=seed,
        encoded=encoded,
        title=title,
    )
    if fitted.interrupted:
        raise KeyboardInterrupt
    seconds = time.perf_counter() - began
    report["model"] = describe_model(model, recipe)
    classifier = Classifier(model.float(), EarmarkFeatureExtractor(sampling_rate=recipe.audio.sample_rate))
    return ask_model(classifier, waveforms, split.rows("test")), seconds
