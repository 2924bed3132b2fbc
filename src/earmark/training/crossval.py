"""The verb `crossval`: every clip is tested once, by a model that never heard it or its group."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earmark.data.clips import Clips, read_csv, write_csv
from earmark.data.groups import infer_groups
from earmark.data.layouts import read_clips
from earmark.data.splits import deal_folds, drop_unused
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import ClipsError, RunError
from earmark.evaluation.evaluate import Answers
from earmark.evaluation.repeats import SEED, measure_each_seed, measure_repeats, pool_answers, summarise_folds
from earmark.files import write_text_whole
from earmark.training.build import check_recipe, fit_window, settle_rate
from earmark.training.decision import describe_folds
from earmark.training.folds import PIECES, Features, Piece, answer_folds
from earmark.training.gate import LeakCheck, check_folds
from earmark.training.ledger import record_reading
from earmark.training.processes import refuse_several
from earmark.training.recipe import Recipe, load_recipe, to_tables, to_toml
from earmark.training.record import describe_run
from earmark.training.refit import refit_model
from earmark.training.run import Run, hear_clips, settle_seed, write_answers
from earmark.training.run_folder import choose_run_folder, make_run_folder, read_begun, write_begun
from earmark.training.trackers import check_trackers, open_trackers

KIND = "crossval"


def crossval(
    clips: Clips | str | Path,
    recipe: str | Recipe = "cnn",
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    folds: int = 5,
    seeds: int = 1,
    refit: bool = False,
    strict: bool = False,
    track: Sequence[str] = (),
    allow_leak: bool = False,
) -> Run:
    """Train once a fold, test each model on the fold it did not hear, and pool the answers.

    Published folds are used as they are. With ``train.select = "validation"`` the fold after the tested one chooses
    the epoch; with ``"last"`` all others train and nothing is chosen. Nothing is ever chosen on a tested fold.

    With several seeds all of it is done once a seed, on the same folds. The figures then are of all answers; those of
    one clip are never averaged, for that would measure an ensemble.

    Args:
        clips: Labelled clips, or the folder or CSV they are read from.
        recipe: A recipe's name, the path of a TOML file, or a `Recipe`.
        out: The run directory; ``runs/<time>-crossval-<recipe>`` if not given.
        overrides: ``"section.key=value"``, as ``--set`` takes them.
        seed: Decides all that is random; the recipe's own if not given.
        folds: How many to deal where none are published.
        seeds: How many times to do it, with this seed and those that follow it.
        refit: Train the model to ship on all clips afterwards, for the median of the epochs that the folds chose.
        strict: Refuse clips that cannot be heard instead of leaving them out by name.
        track: Trackers that follow the trainings; see `earmark.train`.
        allow_leak: Go on where a group or the same sound stands in two folds; the report says it in red.

    Returns:
        A run with pooled figures and a table of folds; it holds a model only with ``refit``.

    Raises:
        ClipsError: clips that do not hold together, a class too small for so many folds, or folds that leak.

    Example:
        >>> import earmark
        >>> run = earmark.crossval("esc10.csv", recipe="quick")   # doctest: +SKIP
    """
    refuse_several("crossval")
    recipe = load_recipe(recipe, overrides)
    clips = infer_groups(drop_unused(clips if isinstance(clips, Clips) else read_clips(clips)))
    recipe, seed = settle_seed(recipe, seed)
    # Faults show before the decoding, and before anything is written.
    if seeds < 1:
        raise RunError(f"seeds = {seeds} leaves nothing to do; use 1 or more.")
    folder = choose_run_folder(out, f"crossval-{recipe.name}")
    _check_folds(clips, recipe, folds, seed)
    recipe = settle_rate(recipe, clips)
    check_recipe(recipe, multi_label=clips.multi_label)
    check_trackers(track)
    waveforms = hear_clips(clips, recipe, strict=strict)
    fold_of, origin = deal_folds(waveforms.clips, folds=folds, seed=seed)
    leaks = check_folds(waveforms, fold_of, allow_leak=allow_leak)
    table = waveforms.clips.table.assign(fold=pd.array(fold_of, dtype="Int64"))
    waveforms = replace(waveforms, clips=replace(waveforms.clips, table=table))
    recipe = fit_window(recipe, waveforms)
    make_run_folder(folder)
    write_text_whole(folder / "recipe.toml", to_toml(recipe))
    write_csv(waveforms.clips, folder / "clips.csv")
    begun = {
        "seeds": list(range(seed, seed + seeds)),
        "refit": refit,
        "protocol": _tell_protocol(origin, recipe, range(seed, seed + seeds)),
        "source": waveforms.clips.source,
        "layout": waveforms.clips.layout,
        "grouping": waveforms.clips.grouping,
        "left_out": waveforms.left_out,
        "remarks": waveforms.remarks,
        "track": list(track),
        "leaks": asdict(leaks),
    }
    write_begun(folder, KIND, begun)
    return _finish(folder, waveforms, recipe, begun)


def resume_crossval(folder: str | Path) -> Run:
    """Continue a cross-validation that was killed; it ends with the figures it would have had uninterrupted.

    Finished folds are kept. The one that was interrupted begins again, or goes on after its last checkpoint where a
    network over time is trained.

    Raises:
        RunError: no cross-validation there, or one that is finished.
    """
    refuse_several("crossval")
    folder = Path(folder)
    begun = read_begun(folder, KIND)
    recipe = load_recipe(str(folder / "recipe.toml"))
    known = {name: begun[name] for name in ("source", "layout", "grouping")}
    clips = replace(read_csv(folder / "clips.csv"), **known)
    heard = hear_clips(clips, recipe, strict=True)
    return _finish(folder, replace(heard, left_out=begun["left_out"], remarks=begun["remarks"]), recipe, begun)


def _check_folds(clips: Clips, recipe: Recipe, folds: int, seed: int) -> None:
    dealt = len(set(deal_folds(clips, folds=folds, seed=seed)[0].tolist()))
    if recipe.train.select == "validation" and dealt < 3:
        raise ClipsError(
            f"One fold is tested and one chooses the epoch, so {dealt} folds leave none to learn from; "
            "use three or more, or train.select=last."
        )


def _tell_protocol(origin: str, recipe: Recipe, seeds: Sequence[int]) -> str:
    chosen = (
        "the fold after the tested one chooses the epoch, the others train"
        if recipe.train.select == "validation"
        else "all others train and the last epoch is kept, so nothing is chosen"
    )
    protocol = f"{origin}: each is tested once, by a model that did not hear it; {chosen}. All answers are pooled."
    if len(seeds) == 1:
        return protocol
    return (
        f"{protocol} All of this was done {len(seeds)} times on the same folds, with seeds "
        f"{', '.join(map(str, seeds))}: every clip has {len(seeds)} answers, each of one model, and none are averaged."
    )


def _finish(folder: Path, waveforms: ClipWaveforms, recipe: Recipe, begun: dict[str, Any]) -> Run:
    """All folds that are not there yet, the figures, the model if one is wanted, and the report."""
    seeds = begun["seeds"]
    report = describe_run(KIND, recipe, waveforms, None, begun["protocol"], seed=seeds[0])
    LeakCheck(**begun["leaks"]).enter(report)
    features = Features(waveforms)
    validation = recipe.train.select == "validation"
    tables = to_tables(recipe)
    with open_trackers(begun["track"], folder=folder, title=report["title"], recipe_tables=tables) as trackers:
        pieces = answer_folds(folder, waveforms, recipe, features, trackers, seeds=seeds, validation=validation)
        pooled = _tell_figures(report, pieces, seeds, validation=validation)
        report["ledger"] = record_reading(
            folder, KIND, waveforms, np.arange(len(waveforms)), kept=folder / PIECES / "reading.json"
        )
        if begun["refit"]:
            refit_model(folder, waveforms, recipe, report, pieces, features, seed=seeds[0])
        trackers.log_report(report, pooled.table)
        report["trackers"] = trackers.hints()
    write_answers(folder, report, pooled)
    shutil.rmtree(folder / PIECES, ignore_errors=True)
    return Run(folder, report)


def _tell_figures(
    report: dict[str, Any], pieces: Sequence[Piece], seeds: Sequence[int], *, validation: bool
) -> Answers:
    """The answers of all folds as one table; its figures go into the report."""
    pooled = pool_answers([piece.answers for piece in pieces])
    if len(seeds) == 1:
        pooled = replace(pooled, table=pooled.table.drop(columns=SEED))
        report["metrics"] = pooled.measure(seed=seeds[0])
    else:
        report["metrics"] = measure_repeats(pooled, seed=seeds[0])
        report["seeds"] = measure_each_seed(pooled)
    report["folds"] = [piece.summarise() for piece in pieces]
    told = [piece.told for piece in pieces]
    report["calibration"] = describe_folds(pooled, [t["temperature"] for t in told], [t["calibrated"] for t in told])
    report["fold_mean"] = summarise_folds(report["folds"], report["metrics"]["primary"])
    report["fold_histories"] = [piece.tell_history(validation=validation) for piece in pieces]
    report["model"] = pieces[0].told["model"]
    report["notes"] += dict.fromkeys(piece.told["note"] for piece in pieces if piece.told["note"])
    report["timing"]["train_s"] = round(sum(piece.told["train_s"] for piece in pieces), 2)
    return pooled
