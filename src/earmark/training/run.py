"""The verb `train`: from clips to a run directory with a model, its figures and its report."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import set_seed

from earmark.data.clips import Clips, read_csv, write_csv
from earmark.data.groups import infer_groups
from earmark.data.layouts import read_clips
from earmark.data.splits import Split, split_clips
from earmark.data.waveforms import ClipWaveforms, load_waveforms
from earmark.errors import RunError
from earmark.evaluation.evaluate import Answers, ask_model, load_sound
from earmark.evaluation.report import write_report
from earmark.evaluation.report_reasons import explain_mistakes
from earmark.files import replace_whole, write_text_whole
from earmark.inference.classifier import Classifier
from earmark.progress import is_first_process, show_progress
from earmark.training.batches import EncodedClips
from earmark.training.budget import open_budget
from earmark.training.build import check_recipe, fit_window, save_model, settle_rate
from earmark.training.card import write_card
from earmark.training.choices import explain_choices
from earmark.training.decision import describe_decision, settle_decision
from earmark.training.fit import Fitted, encode_clips, fit_model
from earmark.training.gate import LeakCheck, check_split
from earmark.training.learners import Learner, build_learner
from earmark.training.ledger import record_reading
from earmark.training.processes import agree, count_processes, join_processes, leave_processes, share_batch, take_turns
from earmark.training.recipe import DEFAULT_RECIPE, Recipe, load_recipe, to_tables, to_toml
from earmark.training.record import describe_model, describe_run
from earmark.training.run_folder import choose_run_folder, make_run_folder, read_begun, write_begun
from earmark.training.trackers import check_trackers, open_trackers


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        folder: Holds ``model/``, ``report.html``, ``report.json``, ``predictions.csv``, ``recipe.toml``, ``clips.csv``,
            ``metrics.jsonl``.
        report: What stands in ``report.json``.
    """

    folder: Path
    report: dict[str, Any]

    @property
    def model_folder(self) -> Path:
        """The model directory."""
        return self.folder / "model"

    @property
    def accuracy(self) -> float:
        """Accuracy on the test split, 0 to 1; mean average precision where clips have several labels each."""
        metrics = self.report["metrics"]
        return metrics[metrics["primary"]]["value"]

    def _repr_html_(self) -> str:
        """What a notebook shows of a run."""
        from earmark.evaluation.notebook import show_run

        return show_run(self.report, self.folder / "report.html")

    def load_classifier(self) -> Classifier:
        """The trained model, ready to answer."""
        return Classifier.from_pretrained(self.model_folder)


def train(
    clips: Clips | str | Path,
    recipe: str | Recipe | None = None,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    test_fold: int | None = None,
    strict: bool = False,
    track: Sequence[str] = (),
    allow_leak: bool = False,
    budget_s: float | None = None,
    began: float | None = None,
    explain: Callable[[str], None] | None = None,
) -> Run:
    """Train a classifier and measure it, once, on clips it never heard.

    Args:
        clips: Labelled clips, or what they are read from: a folder, a CSV, a known dataset, a dataset's Hub id.
        recipe: A recipe's name, the path of a TOML file, or a `Recipe`; ``"cnn"`` if not given, or what fits a budget.
        out: The run directory; ``runs/<time>-<recipe>`` if not given.
        overrides: ``"section.key=value"``, as ``--set`` takes them.
        seed: Decides all that is random; the same seed on the same machine gives the same model, unless a budget
            chooses by the clock. The recipe's own if not given.
        test_fold: The published fold to test on.
        strict: Refuse clips that cannot be heard instead of leaving them out by name.
        track: Trackers that follow the training: ``"swanlab"``, ``"tensorboard"``, ``"wandb"``, ``"mlflow"``,
            ``"trackio"``.
        allow_leak: Go on where a group or the same sound stands on two sides of the split; the report says it in red.
        budget_s: Be done in so many seconds: a few clips are timed, and recipe, size and epochs chosen that fit; of a
            recipe that is given only size and epochs. What was chosen and when it will be done is told beforehand.
        began: When the budget began to run, by `time.perf_counter`; now if not given.
        explain: Told before training what was chosen for this machine and why, a line at a time.

    Where `torchrun` or `accelerate launch` has started several processes, they train together, and the first one alone
    measures and writes: the others get a run without a report.

    Raises:
        ClipsError: clips that do not hold together, too few of a class to be split, or a split that leaks.
        RecipeError: a recipe that does not exist or does not hold together.
        RunError: ``out`` exists already, a tracker that does not exist or is not installed, or a budget too small.

    Example:
        >>> import earmark
        >>> run = earmark.train("sounds/", recipe="quick")   # doctest: +SKIP
        >>> run.accuracy                                     # doctest: +SKIP
        0.93
    """
    given = None if recipe is None else load_recipe(recipe, overrides)
    budget = None if budget_s is None else open_budget(budget_s, given, overrides, began=began)
    recipe = budget.candidates[0] if budget else given or load_recipe(DEFAULT_RECIPE, overrides)
    recipe, seed = settle_seed(recipe, seed)
    share_batch(recipe.train.batch_size)
    join_processes()
    validation, how = recipe.train.select == "validation", recipe.train.split
    with take_turns():
        clips = clips if isinstance(clips, Clips) else read_clips(clips)
    clips = infer_groups(clips, to_deal=how == "official")
    # Faults show before the decoding, and before anything is written.
    folder = agree(choose_run_folder(out, "budget" if budget and given is None else recipe.name))
    dealt = split_clips(clips, validation=validation, test_fold=test_fold, seed=seed, how=how)
    recipe = settle_rate(recipe, clips)
    check_recipe(recipe, multi_label=clips.multi_label)
    check_trackers(track)
    if budget:
        if count_processes() > 1:
            raise RunError("--budget times one process, and several train together here; leave it out.")
        budget.rehearse(clips, dealt, recipe)
    with take_turns():
        waveforms = hear_clips(clips, recipe, strict=strict)
    split = split_clips(waveforms.clips, validation=validation, test_fold=test_fold, seed=seed, how=how)
    leaks = check_split(waveforms, split.parts, how=how, allow_leak=allow_leak)
    plan = budget.settle(waveforms, split) if budget else None
    recipe = fit_window(plan.recipe if plan else recipe, waveforms)
    begun = {
        "seed": seed,
        "protocol": split.protocol,
        "source": clips.source,
        "layout": clips.layout,
        "left_out": waveforms.left_out,
        "track": list(track),
        "grouping": waveforms.clips.grouping,
        "leaks": asdict(leaks),
        "budget": plan.tell() if plan else None,
    }
    if is_first_process():
        make_run_folder(folder)
        write_text_whole(folder / "recipe.toml", to_toml(recipe))
        write_csv(replace(waveforms.clips, table=waveforms.clips.table.assign(split=split.parts)), folder / "clips.csv")
        write_begun(folder, "train", begun)
    return _finish(folder, waveforms, split, recipe, leaks, begun, resume=False, explain=explain)


def resume(folder: str | Path, *, explain: Callable[[str], None] | None = None) -> Run:
    """Continue a run that was killed; it ends with the weights it would have had uninterrupted.

    Args:
        folder: Its directory.
        explain: As `train` has it.

    Raises:
        RunError: no training there, or one that is finished.
    """
    folder = Path(folder)
    begun = read_begun(folder, "train")
    recipe = load_recipe(str(folder / "recipe.toml"))
    clips = read_csv(folder / "clips.csv")
    clips = replace(clips, source=begun["source"], layout=begun["layout"], grouping=begun["grouping"])
    share_batch(recipe.train.batch_size)
    join_processes()
    with take_turns():
        waveforms = replace(hear_clips(clips, recipe, strict=True), left_out=begun["left_out"])
    split = Split(waveforms.clips.table["split"].to_numpy(dtype=object), begun["protocol"])
    leaks = LeakCheck(**begun["leaks"])
    return _finish(folder, waveforms, split, recipe, leaks, begun, resume=True, explain=explain)


def settle_seed(recipe: Recipe, seed: int | None) -> tuple[Recipe, int]:
    """The recipe with the seed that counts, and that seed: the one asked for, else the recipe's own."""
    seed = recipe.train.seed if seed is None else seed
    return replace(recipe, train=replace(recipe.train, seed=seed)), seed


def hear_clips(clips: Clips, recipe: Recipe, *, strict: bool) -> ClipWaveforms:
    """Decode what is not stored yet, with a progress bar; `settle_rate` must have settled the rate."""
    rate = recipe.audio.sample_rate
    assert isinstance(rate, int)
    with show_progress("Decoding") as advance:
        return load_waveforms(clips, sample_rate=rate, strict=strict, on_progress=advance)


def _finish(
    folder: Path,
    waveforms: ClipWaveforms,
    split: Split,
    recipe: Recipe,
    leaks: LeakCheck,
    begun: dict[str, Any],
    *,
    resume: bool,
    explain: Callable[[str], None] | None,
) -> Run:
    seed = begun["seed"]
    report = describe_run("train", recipe, waveforms, split, split.protocol, seed=seed)
    leaks.enter(report)
    if budget := begun.get("budget"):
        report["budget"] = budget
        report["notes"].append(budget["sentence"])
    track = begun["track"] if is_first_process() else ()
    with open_trackers(track, folder=folder, title=report["title"], recipe_tables=to_tables(recipe)) as trackers:
        set_seed(seed)
        learner = build_learner(recipe, waveforms.clips.labels, multi_label=waveforms.clips.multi_label)
        if learner.note:
            report["notes"].append(learner.note)
        if explain is not None and is_first_process():
            for line in explain_choices(recipe, learner, len(split.rows("train"))):
                explain(line)
        began = time.perf_counter()
        encoded = encode_once(learner, waveforms)
        fitted = fit_model(
            learner,
            waveforms,
            recipe,
            train_rows=split.rows("train"),
            validation_rows=split.rows("validation"),
            seed=seed,
            encoded=encoded,
            folder=folder,
            resume=resume,
            title=recipe.name,
            on_record=trackers.log_epoch,
        )
        report["timing"]["train_s"] = round(time.perf_counter() - began, 2)
        leave_processes()
        if not is_first_process():
            return Run(folder, {})
        _tell_training(report, fitted, recipe)
        answers, classifier = _measure(folder, report, learner, waveforms, split, recipe, encoded, leaks, seed=seed)
        trackers.log_report(report, answers.table)
        report["trackers"] = trackers.hints()
    write_answers(folder, report, answers, classifier, most_explained=budget and budget.get("explained_mistakes"))
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return Run(folder, report)


def encode_once(learner: Learner, waveforms: ClipWaveforms) -> EncodedClips | None:
    """What never changes in a run, computed once for every clip; nothing where all of it changes."""
    if not learner.encodes_once:
        return None
    with show_progress("Computing features", "windows") as advance:
        return encode_clips(learner, waveforms, advance)


def _measure(
    folder: Path,
    report: dict[str, Any],
    learner: Learner,
    waveforms: ClipWaveforms,
    split: Split,
    recipe: Recipe,
    encoded: EncodedClips | None,
    leaks: LeakCheck,
    *,
    seed: int,
) -> tuple[Answers, Classifier]:
    """Save the model, and ask what was saved, once, about the test clips; the answers, and what was saved."""
    report["model"] = describe_model(learner, recipe)
    settled = settle_decision(learner, waveforms, split, recipe, encoded=encoded, seed=seed)
    train_rows = split.rows("train")
    card = write_card(recipe, report)
    classifier = save_model(
        learner, folder / "model", card=card, waveforms=waveforms, rows=train_rows, excused=leaks.excused
    )
    began = time.perf_counter()
    with show_progress("Evaluating", "clips") as advance:
        answers = ask_model(classifier, waveforms, split.rows("test"), advance)
    rows = split.rows("test")
    report["ledger"] = record_reading(folder, "train", waveforms, rows, kept=folder / "checkpoints" / "reading.json")
    targets = waveforms.targets()[train_rows]
    majority = waveforms.clips.labels[int(targets.sum(0).argmax())]
    report["metrics"] = answers.measure(majority_label=majority, prior=targets.mean(0), seed=seed)
    report.update(describe_decision(settled, classifier, answers))
    report["timing"]["evaluate_s"] = round(time.perf_counter() - began, 2)
    write_text_whole(folder / "model" / "README.md", write_card(recipe, report))
    return answers, classifier


def _tell_training(report: dict[str, Any], fitted: Fitted, recipe: Recipe) -> None:
    report["history"] = fitted.history
    if recipe.train.select == "validation":
        report["chosen_epoch"] = fitted.kept_epoch
        report["protocol"] += f" The model is that of epoch {fitted.kept_epoch}, the best on the validation set."
    else:
        report["protocol"] += " Nothing was chosen: the model is that of the last epoch."
    if fitted.interrupted:
        report["notes"].insert(0, f"The training was broken off by hand after {len(fitted.history)} epoch(s).")


def write_answers(
    folder: Path,
    report: dict[str, Any],
    answers: Answers,
    classifier: Classifier | None = None,
    *,
    most_explained: int | None = None,
) -> None:
    """Write ``predictions.csv``, ``report.json`` and ``report.html``.

    Mistakes are shown with reasons if the model is at hand, ``most_explained`` of them if that is given.
    """
    reason = explain_mistakes(classifier, most=most_explained) if classifier else None
    with replace_whole(folder / "predictions.csv") as part:
        answers.table.to_csv(part, index=False, float_format="%.6g")
    with show_progress("Writing the report", "sounds") as advance:
        write_report(folder, report, pd.DataFrame(answers.table), load_sound, advance, reason)
