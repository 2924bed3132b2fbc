"""The page of an audit: the verdict, then what to listen to: labels likely wrong, pairs that are alike, faults."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from earmark.data.near_duplicates import Pair
from earmark.evaluation.audit import TRUNCATED, UNDECODABLE, Audit
from earmark.evaluation.audit_checks import Check, list_checks, sum_up
from earmark.evaluation.audit_record import name_clip
from earmark.evaluation.examination import LONGEST_S
from earmark.evaluation.label_faults import Suspect
from earmark.evaluation.report_clips import Card, Row, make_card
from earmark.evaluation.sound_faults import WHOLE_SET, Fault
from earmark.files import write_text_whole
from earmark.pages.layout import render_page
from earmark.sound.decode import SoundWarning, decode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What is heard on the page; the CSV of corrections has all of it.
SUSPECTS_SHOWN = 40
PAIRS_SHOWN = 10  # of label conflicts, and of near duplicates
COPIES_SHOWN = 10
FAULTS_SHOWN = 2  # of each kind
ROWS_SHOWN = 200  # of each table
_ALWAYS_SHOWN, _NEVER_SHOWN = ("shortcuts", "classes"), ("formats",)  # the verdict says all of the latter


class PairCard(NamedTuple):
    """Two clips to hear side by side."""

    first: Card
    second: Card
    facts: str


class CopyCard(NamedTuple):
    """A sound that is there several times: heard once, its clips named."""

    card: Card
    names: list[str]
    labels: list[str]


class _Plan(NamedTuple):
    """The rows that can be heard on the page, and the facts beside them."""

    suspects: list[Suspect]
    conflicts: list[tuple[int, int, str]]
    near: list[tuple[int, int, str]]
    copies: list[list[int]]
    faults: list[Fault]

    def list_rows(self) -> list[int]:
        """Every row that is drawn, once."""
        rows = [suspect.row for suspect in self.suspects]
        rows += [row for first, second, _ in (*self.conflicts, *self.near) for row in (first, second)]
        rows += [rows[0] for rows in self.copies]
        return list(dict.fromkeys(rows + [fault.row for fault in self.faults]))


def write_audit_page(
    audit: Audit,
    path: str | os.PathLike[str],
    *,
    corrections: str = "",
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the page, whole or not at all.

    Args:
        audit: What `earmark.audit` found.
        path: The page; one file that opens from disk and asks nothing of any network.
        corrections: What the CSV of corrections is called, if one was written.
        on_progress: Called with (sounds drawn, sounds to draw).

    Returns:
        The path.

    Example:
        >>> import tempfile
        >>> from earmark.evaluation.audit import audit
        >>> from earmark.sound.synthesis import write_sounds
        >>> folder = write_sounds(tempfile.mkdtemp() + "/sounds", clips_per_class=1, duration_s=0.5)
        >>> write_audit_page(audit(folder, workers=1), folder.parent / "audit.html").name
        'audit.html'
    """
    from earmark import __version__

    plan = _plan(audit)
    cards: dict[int, Card] = {}
    for row in plan.list_rows():
        faulty = any(fault.row == row for fault in plan.faults)
        cards[row] = make_card(_describe_row(audit, row), _load, with_waveform=faulty)
        if on_progress is not None:
            on_progress(len(cards), len(plan.list_rows()))
    checks = list_checks(audit)
    page = render_page(
        "audit.html.j2",
        version=__version__,
        title=Path(audit.clips.source).name or "Clips",
        audit=audit,
        checks=checks,
        verdict=sum_up(checks),
        sections=_list_sections(checks),
        duration_s=sum(one.duration_s for one in audit.traits if one is not None),
        corrections=corrections,
        suspects=[(suspect, cards[suspect.row]) for suspect in plan.suspects],
        conflicts=[_make_pair(cards, pair) for pair in plan.conflicts],
        near=[_make_pair(cards, pair) for pair in plan.near],
        copies=[_gather_copies(audit, rows, cards[rows[0]]) for rows in plan.copies],
        leaks=audit.resemblance.leaks[:ROWS_SHOWN],
        fault_cards=[(fault, cards[fault.row]) for fault in plan.faults],
        faults=_name_faults(audit, [fault for fault in audit.faults if _is_of_sound(fault)]),
        broken=_name_faults(audit, [fault for fault in audit.faults if _is_of_file(fault)]),
        counts=audit.count_labels(),
    )
    return write_text_whole(path, page)


def _list_sections(checks: Sequence[Check]) -> set[str]:
    found = {check.anchor for check in checks if check.found}
    return (found | set(_ALWAYS_SHOWN)) - set(_NEVER_SHOWN)


def _make_pair(cards: dict[int, Card], pair: tuple[int, int, str]) -> PairCard:
    first, second = (cards[row]._replace(waveform=None) for row in pair[:2])
    return PairCard(first, second, pair[2])


def _is_of_file(fault: Fault) -> bool:
    return fault.kind in (UNDECODABLE, TRUNCATED)


def _is_of_sound(fault: Fault) -> bool:
    return fault.row != WHOLE_SET and not _is_of_file(fault) and not fault.mild


def _name_faults(audit: Audit, faults: Sequence[Fault]) -> list[tuple[str, Fault]]:
    return [(audit.names[fault.row], fault) for fault in faults]


def _plan(audit: Audit) -> _Plan:
    alike = audit.resemblance
    similarity = {(pair.first, pair.second): pair for pair in alike.near_duplicates}
    conflicts = []
    for conflict in alike.conflicts[:PAIRS_SHOWN]:
        pair = similarity.get((conflict.first, conflict.second))
        facts = "The same samples" if pair is None else _tell_pair(audit, pair)
        conflicts.append((conflict.first, conflict.second, facts))
    shown = {(first, second) for first, second, _ in conflicts}
    others = [pair for pair in alike.near_duplicates if (pair.first, pair.second) not in shown]
    by_kind: dict[str, list[Fault]] = {}
    for fault in filter(_is_of_sound, audit.faults):
        by_kind.setdefault(fault.kind, []).append(fault)
    return _Plan(
        suspects=audit.label_faults.suspects[:SUSPECTS_SHOWN],
        conflicts=conflicts,
        near=[(pair.first, pair.second, _tell_pair(audit, pair)) for pair in others[:PAIRS_SHOWN]],
        copies=alike.copies[:COPIES_SHOWN],
        faults=[fault for faults in by_kind.values() for fault in faults[:FAULTS_SHOWN]],
    )


def _tell_pair(audit: Audit, pair: Pair) -> str:
    told = [f"similarity {pair.similarity:.2f}"]
    if abs(pair.shift_s) >= 0.001:
        told.append(f"the second {abs(pair.shift_s):.3f} s {'later' if pair.shift_s > 0 else 'earlier'}")
    table = audit.clips.table
    if "group" in table:
        first, second = (table["group"].iloc[row] for row in (pair.first, pair.second))
        told.append("one group" if first == second else "not one group")
    text = ", ".join(told)
    return text[0].upper() + text[1:]


def _describe_row(audit: Audit, row: int) -> Row:
    return {**name_clip(audit, row), "name": audit.names[row]}


def _load(row: Row) -> tuple[NDArray[np.floating], int]:
    start_s = row.get("start_s", 0.0)
    duration_s = min(row["end_s"] - start_s, LONGEST_S) if "end_s" in row else LONGEST_S
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SoundWarning)  # the audit tells it
        return decode(row["path"], start_s=start_s, duration_s=duration_s)


def _gather_copies(audit: Audit, rows: Sequence[int], card: Card) -> CopyCard:
    labels = audit.clips.table["label"]
    return CopyCard(card, [audit.names[row] for row in rows], [labels.iloc[row] for row in rows])
