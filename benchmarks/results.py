"""What the benchmarks found, in one table: ``benchmarks/RESULTS.md``, a row a claim.

A script measures, then calls `publish`: its rows are printed, and with ``--record`` they take the place of those that
it wrote before; the rows of all other scripts stay as they are. A trial run (one round, a busy machine) is not recorded
unless it is asked to be. Each row says on which machine, with which versions and when it was measured.
"""

import argparse
import importlib.metadata
import math
import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from earmark.files import write_text_whole

FILE = Path(__file__).with_name("RESULTS.md")
SECTIONS = (
    "features",
    "epoch",
    "tutorials",
    "gpu",
    "predict",
    "startup",
    "memory",
    "onnx_runtime",
    "service",
    "budget",
)
"""Who may write rows, in the order of the table: scripts, and ``gpu`` for what any of them finds on a GPU."""

PACKAGES = ("torch", "torchaudio", "torchvision", "timm", "transformers", "librosa", "soxr", "soundfile", "onnxruntime")
COLUMNS = ("benchmark", "claim", "ratio: median (min to max)", "target", "figures", "peer", "measured", "command")
HEAD = """# What the benchmarks found

Written by `make bench`, which says in the Makefile how long each takes; a single script renews its own rows with
`--record`. A ratio compares two things that were measured in turns in one run. `python` is that of `.venv-bench`.
"""


@dataclass(frozen=True)
class Result:
    """One claim and what was measured.

    Args:
        claim: What is compared, such as ``"a training epoch of `cnn`, to the bare loop"``.
        ratios: One a round, each of two times (or sizes) of the same round; empty where the peer cannot be had.
        peer: What Earmark is compared with.
        at_most: The target, where less is better; a row may have none, or both.
        at_least: The target, where more is better.
        figures: The absolute figures with their units, such as ``"0.92 and 0.88 s"``; or why there are none.
    """

    claim: str
    ratios: Sequence[float]
    peer: str
    at_most: float | None = None
    at_least: float | None = None
    figures: str = ""

    @property
    def ratio(self) -> float:
        """The median over the rounds."""
        return float(np.median(self.ratios))

    def tell_ratio(self) -> str:
        """``1.12 (1.08 to 1.20)``."""
        if not len(self.ratios):
            return "–"
        return f"{self.ratio:.2f} ({min(self.ratios):.2f} to {max(self.ratios):.2f})"

    def tell_target(self) -> str:
        """The target, and whether the median meets it."""
        bounds = [
            f"{sign} {bound:g}" for sign, bound in (("≥", self.at_least), ("≤", self.at_most)) if bound is not None
        ]
        told = ", ".join(bounds) or "–"
        if not bounds or not len(self.ratios):
            return told
        met = (self.at_least or -math.inf) <= self.ratio <= (self.at_most or math.inf)
        return f"{told}: {'met' if met else 'missed'}"


def add_record_option(parser: argparse.ArgumentParser) -> None:
    """``--record``: `publish` writes."""
    parser.add_argument("--record", action="store_true", help="renew this script's rows in benchmarks/RESULTS.md")


def publish(section: str, results: Sequence[Result], *, record: bool, file: Path = FILE) -> None:
    """Print the rows; write them in place of the section's former ones if asked.

    Args:
        section: One of `SECTIONS`.
        results: All that the section says.
        record: What ``--record`` said.
        file: The table.
    """
    if section not in SECTIONS:
        raise ValueError(f"{section!r} is no section: add it to SECTIONS, which orders the table")
    width = max(len(result.claim) for result in results)
    for result in results:
        print(
            f"{result.claim:<{width}}  {result.tell_ratio():<22} {result.tell_target():<16} "
            f"{result.figures}  [{result.peer}]",
            flush=True,
        )
    if record:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        write_text_whole(file, renew(text, section, results, describe_machine(), tell_command(), tell_date()))
        print(f"recorded: {file.name}", file=sys.stderr)


def renew(text: str, section: str, results: Sequence[Result], machine: str, command: str, date: str) -> str:
    """The table ``text`` with one section's rows in place of its former ones, and every machine that a row names.

    Args:
        text: The whole file as it was; blank where there is none.
        section: Whose rows these are.
        results: The rows.
        machine: Where they were measured, see `describe_machine`.
        command: How.
        date: When.
    """
    letter_of = {told: letter for letter, told in re.findall(r"^- \*\*(\w+)\*\*: (.+)$", text, re.MULTILINE)}
    letter = letter_of.setdefault(machine, _next_letter(letter_of.values()))
    rows = [line for line in text.splitlines() if line.startswith(tuple(f"| {name} |" for name in SECTIONS))]
    rows = [row for row in rows if _name_section(row) != section]
    for result in results:
        cells = [section, result.claim, result.tell_ratio(), result.tell_target(), result.figures, result.peer]
        rows.append(_write_row([*cells, f"{letter}, {date}", f"`{command}`"]))
    rows.sort(key=lambda row: SECTIONS.index(_name_section(row)))  # stable: a section's own order stays
    used = {re.split(r"(?<!\\)\|", row)[7].split(",")[0].strip() for row in rows}
    machines = [f"- **{name}**: {told}" for told, name in letter_of.items() if name in used]
    table = [_write_row(COLUMNS), _write_row(["---"] * len(COLUMNS)), *rows]
    return "\n".join([HEAD, *machines, "", *table, ""])


def _next_letter(taken: Sequence[str]) -> str:
    return next(letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in taken)


def _write_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _name_section(row: str) -> str:
    return row.split("|", 2)[1].strip()


def describe_machine() -> str:
    """Cores, processor, memory, GPU and versions in one line."""
    parts = [f"{_count_cores()} cores, {_name_processor()}, {_measure_memory()}"]
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    import soundfile

    versions.append(f"libsndfile {soundfile.__libsndfile_version__}")
    return "; ".join([*parts, ", ".join(versions)])


def tell_command() -> str:
    """The command as one would repeat it; of a file or folder only the name, as it lies elsewhere for everybody."""
    words = [word for word in sys.argv[1:] if word != "--record"]
    script = f"benchmarks/{Path(sys.argv[0]).name}"
    return shlex.join(["python", script, *(Path(word).name if Path(word).exists() else word for word in words)])


def tell_date() -> str:
    """Today, in UTC."""
    return datetime.now(UTC).date().isoformat()


def _count_cores() -> int:
    # Of the machine: what a script pins itself to is a part of its command.
    return os.cpu_count() or 1


def _name_processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return " ".join(found[1].split()) if found else platform.processor() or platform.machine()


def _measure_memory() -> str:
    if not hasattr(os, "sysconf"):
        return "memory unknown"
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{size / 2**30:.0f} GiB"
