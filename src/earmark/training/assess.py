"""The verb `evaluate`: any audio-classification model, asked about labelled clips it did not learn from."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import earmark
from earmark.data.clips import Clips
from earmark.data.groups import infer_groups
from earmark.data.layouts import read_clips
from earmark.data.waveforms import load_waveforms
from earmark.errors import ClipsError
from earmark.evaluation.evaluate import ask_model
from earmark.evaluation.robustness import measure_robustness
from earmark.inference.classifier import Classifier
from earmark.inference.torch_network import reach_torch
from earmark.progress import show_progress
from earmark.training.decision import describe_calibration
from earmark.training.gate import check_memory
from earmark.training.ledger import record_reading
from earmark.training.record import describe_clips_honestly, describe_data, describe_software
from earmark.training.run import Run, write_answers
from earmark.training.run_folder import choose_run_folder, make_run_folder


def evaluate(
    model: str | Path | Classifier,
    clips: Clips | str | Path,
    *,
    out: str | Path | None = None,
    split: str | None = None,
    strict: bool = False,
    robustness: bool = False,
    allow_leak: bool = False,
) -> Run:
    """Measure a model on labelled clips and write the report.

    Args:
        model: A model directory, a run, a Hub id, or a loaded `Classifier`.
        clips: Labelled clips, or the folder or CSV they are read from.
        out: The run directory; ``runs/<time>-evaluate`` if not given.
        split: Only clips of this part (``"test"``, say), where the table has a split column.
        strict: Refuse clips that cannot be heard instead of leaving them out by name.
        robustness: Ask again under bad conditions (telephone rates, codecs, clipping, noise, reverberation): about
            twenty times the work.
        allow_leak: Go on where the model learned from some of the clips, or from others of their groups; the report
            says it in red.

    Raises:
        ModelError: no model there, or clips with labels it does not know.
        ClipsError: clips that do not hold together, none of the part asked for, or clips that the model knows.

    Example:
        >>> import earmark
        >>> earmark.evaluate("runs/latest/model", "more_sounds/").accuracy   # doctest: +SKIP
        0.91
    """
    classifier = model if isinstance(model, Classifier) else Classifier.from_pretrained(model)
    clips = clips if isinstance(clips, Clips) else read_clips(clips)
    clips = _choose_part(infer_groups(clips, to_deal=False), split)
    folder = choose_run_folder(out, "evaluate")
    with show_progress("Decoding") as advance:
        waveforms = load_waveforms(clips, sample_rate=classifier.sample_rate, strict=strict, on_progress=advance)
    leaks = check_memory(waveforms, classifier, allow_leak=allow_leak)
    began = time.perf_counter()
    with show_progress("Evaluating", "clips") as advance:
        answers = ask_model(classifier, waveforms, np.arange(len(waveforms)), advance)
    what = f"The clips marked {split}" if split else "All clips"
    report = {
        "title": f"{_name_model(classifier)} on {Path(clips.source).stem}",
        "kind": "evaluate",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "protocol": f"{what} were asked about; nothing was trained or chosen on them here.",
        "notes": describe_clips_honestly(waveforms),
        "data": describe_data(waveforms, {"test": len(waveforms)}),
        "model": {
            "parameters": sum(parameter.numel() for parameter in reach_torch(classifier).model.parameters()),
            "sample_rate": classifier.sample_rate,
            "window_s": classifier.window / classifier.sample_rate,
            "device": reach_torch(classifier).device.type,
        },
        "timing": {
            "decode_s": round(waveforms.decode_s, 2),
            "evaluate_s": round(time.perf_counter() - began, 2),
        },
        "metrics": answers.measure(),
        "calibration": describe_calibration(answers, classifier.decision.temperature, "Nothing was fitted here."),
        "earmark": earmark.__version__,
        **describe_software(),
    }
    if robustness:
        with show_progress("Under bad conditions", "clips") as advance:
            report["robustness"] = measure_robustness(classifier, waveforms, answers, on_progress=advance)
    leaks.enter(report)
    make_run_folder(folder)
    report["ledger"] = record_reading(folder, "evaluate", waveforms, np.arange(len(waveforms)))
    write_answers(folder, report, answers, classifier)
    return Run(folder, report)


def _name_model(classifier: Classifier) -> str:
    """What people call the model: a run's folder rather than the ``model`` inside it."""
    place = Path(getattr(reach_torch(classifier).model, "name_or_path", "") or "model")
    return place.parent.name if place.name == "model" and place.parent.name else place.name


def _choose_part(clips: Clips, split: str | None) -> Clips:
    if split is None:
        return clips
    if "split" not in clips.table or not (clips.table["split"] == split).any():
        raise ClipsError(f"{clips.source} marks no clips as {split!r}; leave --split out, or add a `split` column.")
    table = clips.table[clips.table["split"] == split].reset_index(drop=True)
    return replace(clips, table=table)
