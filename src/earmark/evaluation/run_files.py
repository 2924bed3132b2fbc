"""A finished run read back from its folder: its report, its answers, and what its model costs to use."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import EarmarkError, RunError

if TYPE_CHECKING:
    from earmark.evaluation.evaluate import Answers

TEXT_COLUMNS = ("path", "label", "predicted")
WARM_UPS, REPEATS, LONGEST_S = 2, 20, 5.0


@dataclass(frozen=True, eq=False)
class RunFiles:
    """What a run of `train`, `evaluate` or `crossval` left behind.

    Args:
        folder: The run directory.
        report: What stands in ``report.json``.
        answers: What stands in ``predictions.csv``.
    """

    folder: Path
    report: dict[str, Any]
    answers: Answers

    @property
    def model_folder(self) -> Path | None:
        """The model directory, where the run holds one."""
        model = self.folder / "model"
        return model if (model / "config.json").is_file() else None


def read_run(folder: str | os.PathLike[str]) -> RunFiles:
    """Read a finished run.

    Raises:
        RunError: nothing there, a run that is not finished, or files that cannot be read.

    Example:
        >>> read_run("runs/latest").report["kind"]   # doctest: +SKIP
        'train'
    """
    folder = Path(folder)
    report_file, predictions = folder / "report.json", folder / "predictions.csv"
    if not report_file.is_file():
        if (folder / "run.json").is_file():
            raise RunError(f"The run {folder} is not finished; continue it with --resume {folder} first.")
        raise RunError(f"{folder} holds no run (no report.json); give the folder that `earmark train` wrote.")
    try:
        report = json.loads(report_file.read_text(encoding="utf-8"))
        return RunFiles(folder, report, _read_answers(predictions, report))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"The run {folder} cannot be read (report.json or predictions.csv is missing or damaged: {error}); "
            "make it anew."
        ) from error


def name_runs(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart.

    Raises:
        RunError: the same folder twice.

    Example:
        >>> name_runs([Path("/runs/cnn"), Path("/runs/quick")]), name_runs([Path("/a/cnn"), Path("/b/cnn")])
        (['cnn', 'quick'], ['a/cnn', 'b/cnn'])
    """
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        twice = next(folder for i, folder in enumerate(folders) if parts[i] in parts[:i])
        raise RunError(f"{twice} is given twice; give two different runs.")
    kept = next(n for n in range(1, 1 + max(map(len, parts))) if len({part[-n:] for part in parts}) == len(parts))
    return ["/".join(part[-kept:]) for part in parts]


def weigh_model(folder: Path) -> int:
    """Bytes of a model's weights on disk, without the sounds it is checked with."""
    from earmark.inference.golden import GOLDEN_FILE

    weights = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    return sum(file.stat().st_size for file in weights if file.name != GOLDEN_FILE)


def time_model(folder: Path) -> dict[str, Any]:
    """How long a model takes for one clip of its window, here and now.

    Args:
        folder: The model directory.

    Returns:
        ``latency_ms``, the median of up to 20 calls after two to warm up, ``latency_on`` (the device, with the number
        of threads of a CPU), and ``latency_missing``: why there is none.
    """
    import numpy as np
    import torch

    from earmark.inference.classifier import Classifier
    from earmark.inference.torch_network import reach_torch

    try:
        classifier = Classifier.from_pretrained(folder)
    except EarmarkError as error:
        return {"latency_ms": None, "latency_on": None, "latency_missing": str(error)}
    sound = np.random.default_rng(0).normal(0, 0.1, classifier.window).astype(np.float32)
    seconds: list[float] = []
    for _ in range(WARM_UPS + REPEATS):
        began = time.perf_counter()
        classifier.score([sound])
        seconds.append(time.perf_counter() - began)
        if len(seconds) > WARM_UPS and sum(seconds) > LONGEST_S:
            break
    device = reach_torch(classifier).device.type
    n_threads = torch.get_num_threads()
    threads = f", {n_threads} thread{'s' * (n_threads > 1)}" if device == "cpu" else ""
    return {
        "latency_ms": 1000 * float(np.median(seconds[WARM_UPS:])),
        "latency_on": f"{device}{threads}",
        "latency_missing": None,
    }


def _read_answers(path: Path, report: dict[str, Any]) -> Answers:
    import pandas as pd

    from earmark.evaluation.evaluate import PROBABILITY_PREFIX, Answers

    columns = list(pd.read_csv(path, nrows=0).columns)
    # A class may be called "NA" or "None", and "01" is not 1.
    blank = {name: ["", "nan"] for name in columns if name not in TEXT_COLUMNS}
    types = {name: "str" for name in (*TEXT_COLUMNS, "group") if name in columns}
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=blank)
    missing = [name for name in (*TEXT_COLUMNS, "score") if name not in columns]
    if missing or table.empty:
        raise ValueError(f"no column {missing[0]!r}" if missing else "no clip")
    labels = tuple(name.removeprefix(PROBABILITY_PREFIX) for name in columns if name.startswith(PROBABILITY_PREFIX))
    return Answers(table, labels, report["metrics"]["primary"] == "map")
