"""The directory of a run: chosen, made, and read again to continue what was begun in it."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from earmark.errors import RunError
from earmark.files import write_text_whole

BEGUN_FILE = "run.json"
REPORT_FILE = "report.json"
KINDS = {"train": "training", "crossval": "cross-validation", "tune": "search"}
"""The verbs whose runs can be continued, and what each has begun."""


def choose_run_folder(out: str | Path | None, name: str) -> Path:
    """The directory of a new run, not made yet.

    Args:
        out: As asked for; ``runs/<time>-<name>`` if not given.
        name: Of what will be done there.

    Raises:
        RunError: it holds something already.
    """
    folder = Path(out) if out is not None else Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{name}"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        unfinished = (folder / BEGUN_FILE).is_file() and not (folder / REPORT_FILE).is_file()
        hint = f"Continue that run with --resume {folder}, or choose" if unfinished else "Choose"
        raise RunError(f"{folder} holds something already. {hint} another --out.")
    return folder


def make_run_folder(folder: Path) -> None:
    """Make the directory of a new run.

    Raises:
        RunError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"The run directory {folder} cannot be made: {error.strerror}.") from error


def write_begun(folder: Path, kind: str, begun: dict[str, Any]) -> None:
    """Keep what a run was begun with and the recipe does not tell, for `read_begun`."""
    write_text_whole(folder / BEGUN_FILE, json.dumps({"kind": kind} | begun, ensure_ascii=False, indent=1))


def read_begun(folder: Path, kind: str) -> dict[str, Any]:
    """What an unfinished run was begun with.

    Args:
        folder: Its directory.
        kind: The verb that is to continue it, one of `KINDS`.

    Raises:
        RunError: no run there, one of another verb, or one that is finished.
    """
    path = folder / BEGUN_FILE
    if not path.is_file():
        raise RunError(f"{folder} holds no run to continue (no {BEGUN_FILE}); start one with `earmark {kind}`.")
    begun: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if (folder / REPORT_FILE).is_file():
        raise RunError(f"The run {folder} is finished; its report is {folder / 'report.html'}.")
    found = begun["kind"]
    if found != kind:
        raise RunError(f"{folder} is a {KINDS[found]}; continue it with `earmark {found} --resume {folder}`.")
    return begun
