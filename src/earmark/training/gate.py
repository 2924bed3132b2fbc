"""The gate: what stands on two sides is found before anything is learned or asked, and stops the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from earmark.data.leaks import Leak, find_conflicts, find_copies, find_leaks, join_overlaps, name_clips
from earmark.data.splits import How, is_official
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import ClipsError
from earmark.inference.classifier import Classifier
from earmark.progress import show_progress
from earmark.training.memory import read_memory, recall_clips

EXAMPLES = 3
_TOO_GOOD = "so the figures are too good; expect less of new recordings."


@dataclass(frozen=True)
class LeakCheck:
    """What the gate found, and why it let it pass.

    Args:
        found: One entry a kind: ``kind`` (``"group"``, ``"duplicate"`` or ``"split"``), ``sentence``, ``examples``,
            ``clips`` (how many).
        checked: One sentence on what was compared.
        consequence: One sentence on what the leak does to the figures; empty if nothing leaks.
        allowed: It leaks, and somebody said to go on.
        published: Who dealt the clips is a published protocol, which stands as it is.
        notes: What else a reader should know.
        excused: Clips that a published protocol has on two sides, by ``"group"`` and by ``"duplicate"``.
    """

    found: list[dict[str, Any]]
    checked: str
    consequence: str = ""
    allowed: bool = False
    published: bool = False
    notes: list[str] = field(default_factory=list)
    excused: Mapping[str, list[int]] = field(default_factory=dict)

    def enter(self, report: dict[str, Any]) -> None:
        """Write into a report what was found."""
        names = ("found", "checked", "consequence", "allowed", "published")
        report["leaks"] = {name: getattr(self, name) for name in names}
        report["notes"] += self.notes


def check_split(waveforms: ClipWaveforms, parts: np.ndarray, *, how: How = "official", allow_leak: bool) -> LeakCheck:
    """Look for groups, and for the same sound, in two of train, validation and test.

    A random split ignores groups, folds and published splits because somebody asked for it, as tutorials do. That is
    leave enough to go on; what leaks is told all the same.

    Args:
        waveforms: The clips and their sound.
        parts: (clips,), the part each clip plays.
        how: How they were dealt; see `earmark.data.splits.split_clips`.
        allow_leak: Go on whatever leaks.

    Raises:
        ClipsError: something leaks, and neither a published protocol nor anybody's leave stands for it.
    """
    copies, sounds = _hear_same(waveforms)
    leaks = _find(waveforms, parts.tolist(), sounds)
    found = summarise_leaks(leaks, "two sides of the split")
    if how == "random":
        found += _tell_ignored(waveforms)
    only_chosen = bool(leaks) and not any("test" in leak.parts for leak in leaks) and how == "official"
    if only_chosen:
        consequence = "The model is chosen on clips that it has learned; its figures on the test clips are not touched."
    elif leaks:
        consequence = f"The model learns from part of what it is tested on, {_TOO_GOOD}"
    else:
        consequence = "What belongs together may stand on two sides, and the figures may be too good for it."
    check = _conclude(waveforms, leaks, found, copies, consequence)
    if how == "official" and is_official(waveforms.clips):
        return _excuse(check, waveforms)
    leave = allow_leak or how == "random"
    return _decide(check, waveforms, "keep each group and each sound on one side", leave=leave)


def check_folds(waveforms: ClipWaveforms, fold_of: np.ndarray, *, allow_leak: bool) -> LeakCheck:
    """Look for groups, and for the same sound, in two folds.

    Args:
        waveforms: The clips and their sound.
        fold_of: (clips,), the fold of each clip.
        allow_leak: Go on whatever leaks.

    Raises:
        ClipsError: something leaks, and neither published folds nor anybody's leave stands for it.
    """
    copies, sounds = _hear_same(waveforms)
    leaks = _find(waveforms, [f"fold {fold}" for fold in fold_of], sounds)
    consequence = f"The models learn from part of what they are tested on, {_TOO_GOOD}"
    check = _conclude(waveforms, leaks, summarise_leaks(leaks, "two folds"), copies, consequence)
    if is_official(waveforms.clips, crossval=True):
        return _excuse(check, waveforms)
    return _decide(check, waveforms, "keep each group and each sound in one fold", leave=allow_leak)


def check_memory(waveforms: ClipWaveforms, classifier: Classifier, *, allow_leak: bool) -> LeakCheck:
    """Look for clips, and for groups, that a model remembers from its training.

    Args:
        waveforms: The clips it is to be asked about, and their sound.
        classifier: The model.
        allow_leak: Go on whatever it remembers.

    Raises:
        ClipsError: it learned from some of them, or from other clips of their groups, and nobody gave leave.
    """
    conflicts = _tell_conflicts(waveforms, _hear_same(waveforms)[0])
    memory = read_memory(classifier)
    if memory is None:
        unknown = "The model does not say which clips it learned from: if some of these are among them, expect less."
        return LeakCheck([], unknown, notes=[unknown, *conflicts])
    with show_progress("Comparing with the training clips", "clips") as advance:
        recalled = recall_clips(waveforms, memory, advance)
    names = name_clips(waveforms.clips)
    found = []
    if recalled.same:
        sentence = f"the model learned from {len(recalled.same):,} of these {_count(len(waveforms), 'clip')}"
        examples = _show_few([names[row] for row in recalled.same])
        found.append({"kind": "duplicate", "sentence": sentence, "examples": examples, "clips": len(recalled.same)})
    if groups := recalled.groups:
        sentence = f"the model learned from other clips of {_count(len(groups), 'group')}"
        examples = _show_few([f"{group!r} ({_count(len(rows), 'clip')})" for group, rows in groups.items()])
        clips = sum(map(len, groups.values()))
        found.append({"kind": "group", "sentence": sentence, "examples": examples, "clips": clips})
    notes = list(conflicts)
    if recalled.excused:
        notes.append(
            f"The training clips share a group or a sound with {_count(len(recalled.excused), 'clip')} here, because "
            "the published protocol that the model was trained by has it so."
        )
    checked = f"The sound and the groups of these clips were compared with the {len(memory)} the model learned from."
    consequence = f"The model learned from part of what it is asked about, {_TOO_GOOD}" if found else ""
    check = LeakCheck(found, checked, consequence, notes=notes)
    return _decide(check, waveforms, "ask it about clips it did not learn from", leave=allow_leak)


def summarise_leaks(leaks: Sequence[Leak], where: str) -> list[dict[str, Any]]:
    """An entry for each kind of leak: how many there are, and the first few by name.

    Example:
        >>> summarise_leaks([Leak("group", ("train", "test"), (0, 4), "'x' (…)")], "two sides")
        [{'kind': 'group', 'sentence': '1 group stands on two sides', 'examples': ["'x' (…)"], 'clips': 2}]
    """
    words = {
        "group": ("group stands", "groups stand"),
        "duplicate": ("sound stands", "sounds stand"),
        "near duplicate": ("nearly equal sound stands", "nearly equal sounds stand"),
    }
    entries = []
    for kind, (one, several) in words.items():
        members = [leak for leak in leaks if leak.kind == kind]
        if members:
            sentence = f"{len(members):,} {one if len(members) == 1 else several} on {where}"
            clips = len({row for leak in members for row in leak.rows})
            examples = _show_few([leak.sentence for leak in members])
            entries.append({"kind": kind, "sentence": sentence, "examples": examples, "clips": clips})
    return entries


def tell_found(entry: dict[str, Any]) -> str:
    """An entry of ``report["leaks"]["found"]`` on one line.

    Example:
        >>> tell_found({"sentence": "2 groups stand on two sides", "examples": ["'x'", "'y'"]})
        "2 groups stand on two sides: 'x'; 'y'"
    """
    return f"{entry['sentence']}{': ' if entry['examples'] else ''}{'; '.join(entry['examples'])}"


def _show_few(sentences: Sequence[str]) -> list[str]:
    more = len(sentences) - EXAMPLES
    return [*sentences[:EXAMPLES], *([f"and {more:,} more"] if more > 0 else [])]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _hear_same(waveforms: ClipWaveforms) -> tuple[list[str | None], list[str | None]]:
    """Keys of equal sound, without and with the clips of one file that overlap."""
    with show_progress("Looking for the same sound", "clips") as advance:
        copies = find_copies(waveforms, advance)
    return copies, join_overlaps(waveforms, copies)


def _find(waveforms: ClipWaveforms, parts: Sequence[str], sounds: Sequence[str | None]) -> list[Leak]:
    table = waveforms.clips.table
    groups = table["group"].tolist() if "group" in table else None
    names, labels = name_clips(waveforms.clips), table["label"].tolist()
    return find_leaks(parts, names=names, groups=groups, sounds=sounds, labels=labels)


def _tell_ignored(waveforms: ClipWaveforms) -> list[dict[str, Any]]:
    """What a random split leaves aside though it was there: folds or a split that somebody thought about."""
    columns = [name for name in ("fold", "split") if name in waveforms.clips.table]
    if not columns:
        return []
    what = " and ".join({"fold": "folds", "split": "split"}[name] for name in columns)
    whose = (
        f"the published {what} of {waveforms.clips.layout}"
        if is_official(waveforms.clips)
        else f"the clips' own {what}"
    )
    they = "it keeps" if columns == ["split"] else "they keep"
    sentence = f"the split is random, so {whose} and what {they} apart were ignored"
    return [{"kind": "split", "sentence": sentence, "examples": [], "clips": len(waveforms)}]


def _tell_conflicts(waveforms: ClipWaveforms, copies: Sequence[str | None]) -> list[str]:
    labels, names = waveforms.clips.table["label"].tolist(), name_clips(waveforms.clips)
    conflicts = find_conflicts(copies, labels, names)
    if not conflicts:
        return []
    return [f"{_count(len(conflicts), 'sound')} under two labels: {'; '.join(_show_few(conflicts))}. Listen to them."]


def _conclude(
    waveforms: ClipWaveforms,
    leaks: Sequence[Leak],
    found: list[dict[str, Any]],
    copies: Sequence[str | None],
    consequence: str,
) -> LeakCheck:
    table = waveforms.clips.table
    known = (
        f"{_count(table['group'].nunique(), 'group')} and "
        if "group" in table
        else "no groups, which nobody told, but "
    )
    checked = f"Compared: {known}the sound of {_count(len(waveforms), 'clip')}, sample by sample."
    on_two_sides = {
        kind: sorted({row for leak in leaks if leak.kind == kind for row in leak.rows})
        for kind in ("group", "duplicate")
    }
    notes = _tell_conflicts(waveforms, copies)
    return LeakCheck(found, checked, consequence if found else "", notes=notes, excused=on_two_sides)


def _excuse(check: LeakCheck, waveforms: ClipWaveforms) -> LeakCheck:
    """A published protocol stands as it is; what it splits itself is named."""
    protocol = f"The published protocol of {waveforms.clips.layout}, which stands as it is, splits some itself"
    notes = [f"{protocol}: {tell_found(entry)}." for entry in check.found]
    return replace(check, published=True, consequence="", notes=[*check.notes, *notes])


def _decide(check: LeakCheck, waveforms: ClipWaveforms, remedy: str, *, leave: bool) -> LeakCheck:
    """Go on where nothing leaks or somebody gave leave.

    Raises:
        ClipsError: it leaks, and nobody did.
    """
    check = replace(check, excused={})
    if not check.found:
        return check
    if leave:
        return replace(check, allowed=True)
    told = "; ".join(map(tell_found, check.found))
    guessed = any(entry["kind"] == "group" for entry in check.found) and waveforms.clips.grouping
    doubt = ", or tell the groups in a `group` column if the file names mislead" if guessed else ""
    raise ClipsError(
        f"{told[0].upper()}{told[1:]}. Either {remedy}{doubt}, or go on with --allow-leak (allow_leak=True in Python), "
        "and the report will say so in red."
    )
