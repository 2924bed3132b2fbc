"""The verb `compare`: finished runs side by side, if they were tested on the same clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import earmark
from earmark.errors import RunError
from earmark.evaluation.compare import compare_answers
from earmark.evaluation.compare_page import write_comparison
from earmark.evaluation.evaluate import load_sound
from earmark.evaluation.run_files import RunFiles, name_runs, read_run, time_model, weigh_model
from earmark.evaluation.shared_clips import Marks, align_answers
from earmark.progress import show_progress
from earmark.training.run import Run

READ_OFTEN = 5


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Args:
        figures: What `earmark.evaluation.compare.compare_answers` found, ready for JSON. Each of ``runs`` also has
            ``folder``, ``title``, ``kind``, ``protocol``, ``seed``, ``train_s``, ``device`` (that it was trained or
            asked on), ``parameters``, ``window_s``, ``model_bytes`` (of the weights on disk), ``latency_ms`` (one clip
            of the window, measured now), ``latency_on`` and ``latency_missing`` (why there is none). ``cautions`` are
            sentences on what makes a figure too good, ``remarks`` what else a reader should know.
        page: The page, if one was asked for.
    """

    figures: dict[str, Any]
    page: Path | None


def compare(runs: Sequence[Run | str | Path], *, out: str | Path | None = None) -> Comparison:
    """Put finished runs side by side: what differs, by how much, and whether more than chance is behind it.

    Every run is compared with the first, which is to be chosen before one looks: comparing with the best of many would
    make its luck a property of it.

    Args:
        runs: Two or more runs of `train`, `evaluate` or `crossval`, or their folders, tested on the same clips.
        out: A page to write, with figures, and the clips on which the runs disagree to listen to.

    Raises:
        RunError: fewer than two runs, one that is not finished, or runs that were tested on different clips.

    Example:
        >>> import earmark
        >>> comparison = earmark.compare(["runs/cnn", "runs/quick"], out="compare.html")   # doctest: +SKIP
        >>> comparison.figures["differences"][0]["sentence"]                               # doctest: +SKIP
        'quick is worse than cnn by 3.2 points of accuracy (1.0 to 5.5).'
    """
    folders = [run.folder if isinstance(run, Run) else Path(run) for run in runs]
    if len(folders) < 2:
        raise RunError("A comparison takes two runs or more; give the folders that `earmark train` wrote.")
    names = name_runs(folders)
    files = [read_run(folder) for folder in folders]
    with show_progress("Comparing files") as advance:
        answers, remarks = align_answers(
            names, [run.answers for run in files], [_read_marks(run) for run in files], advance
        )
    with show_progress("Comparing", "resamples") as advance:
        figures = compare_answers(names, answers, on_progress=advance)
    with show_progress("Measuring the models", "runs") as advance:
        for done, (entry, run) in enumerate(zip(figures["runs"], files, strict=True), start=1):
            entry |= _describe(run)
            advance(done, len(files))
    figures |= {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "earmark": earmark.__version__,
        "cautions": [caution for name, run in zip(names, files, strict=True) for caution in _warn(name, run.report)],
        "remarks": remarks,
    }
    if out is None:
        return Comparison(figures, None)
    with show_progress("Writing the page", "sounds") as advance:
        return Comparison(figures, write_comparison(out, figures, answers, load_sound, advance))


def _read_marks(run: RunFiles) -> Marks:
    ledger, data = run.report.get("ledger") or {}, run.report.get("data") or {}
    return Marks(ledger.get("fingerprint"), data.get("hash"))


def _describe(run: RunFiles) -> dict[str, Any]:
    """What a run and its model cost."""
    report, model = run.report, run.report.get("model") or {}
    if run.model_folder is None:
        cost = {"latency_ms": None, "latency_on": None, "latency_missing": "the run holds no model"}
    else:
        cost = time_model(run.model_folder)
    return {
        "folder": str(run.folder),
        **{key: report.get(key) for key in ("title", "kind", "protocol", "seed")},
        "train_s": (report.get("timing") or {}).get("train_s"),
        **{key: model.get(key) for key in ("device", "parameters", "window_s")},
        "model_bytes": None if run.model_folder is None else weigh_model(run.model_folder),
        **cost,
    }


def _warn(name: str, report: dict[str, Any]) -> list[str]:
    """What makes a run's figures too good, as far as it says so itself."""
    cautions = []
    leaks, reads = report.get("leaks") or {}, (report.get("ledger") or {}).get("reads") or 0
    if leaks.get("allowed") and leaks.get("found"):
        found = "; ".join(entry["sentence"] for entry in leaks["found"])
        cautions.append(f"{name} was let pass with a leak ({found}): its figures are too good.")
    if reads >= READ_OFTEN:
        cautions.append(
            f"The test clips of {name} had been read {reads} times when it was measured: what was chosen after looking "
            "fits these clips, and its figures may be too good."
        )
    return cautions
