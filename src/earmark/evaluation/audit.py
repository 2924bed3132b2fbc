"""What is wrong with labelled clips, found before anything is trained on them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from earmark.data.clips import Clips, split_labels
from earmark.data.groups import infer_groups
from earmark.data.layouts import read_clips
from earmark.data.leaks import name_clips
from earmark.evaluation.examination import LONGEST_S, Examination, examine
from earmark.evaluation.label_faults import LabelFaults, find_label_faults
from earmark.evaluation.resemblance import Resemblance, find_resemblance
from earmark.evaluation.shortcuts import Shortcut, probe_shortcuts
from earmark.evaluation.sound_faults import Fault, find_sound_faults
from earmark.progress import show_progress

if TYPE_CHECKING:
    from earmark.sound.traits import SoundTraits

UNDECODABLE, TRUNCATED = "undecodable", "truncated"


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found. Clips are named by their position in ``clips.table``.

    Attributes:
        clips: The clips, with groups read from their names where nobody told them.
        names: What people call each clip.
        traits: What each recording is like; ``None`` where it cannot be decoded.
        faults: Files that cannot be decoded, truncated ones, then faults of the sound; row -1 is of all clips.
        resemblance: Copies, near duplicates, the same sound under two labels, leaks.
        shortcuts: What guessing without hearing the content scores; empty where that does not apply.
        label_faults: Labels that are likely wrong.
        notes: What could not be checked and why, and what else one should know.
        timing: Step -> seconds; ``decode_s`` is what decoding took in all processes together.
    """

    clips: Clips
    names: list[str]
    traits: list[SoundTraits | None]
    faults: list[Fault]
    resemblance: Resemblance
    shortcuts: list[Shortcut]
    label_faults: LabelFaults
    notes: list[str] = field(default_factory=list)
    timing: dict[str, float] = field(default_factory=dict)

    def count_labels(self) -> dict[str, int]:
        """Class -> number of clips, in the order of the classes; a clip with several labels counts in each."""
        counts = dict.fromkeys(self.clips.labels, 0)
        for cell in self.clips.table["label"]:
            for label in split_labels(cell, multi_label=self.clips.multi_label):
                counts[label] += 1
        return counts


def audit(clips: Clips | str | Path, *, workers: int | None = None, seed: int = 0) -> Audit:
    """Look for all that is wrong with labelled clips.

    One look at every file, in parallel, then: faults of the recordings, copies and near duplicates, the same sound
    under two labels, what stands on two sides of the split or in two folds, what gives the class away without being
    heard, and labels that are likely wrong.

    Args:
        clips: Labelled clips, or the folder or CSV they are read from.
        workers: Processes that examine files; one for each core by default.
        seed: Of the folds in which shortcuts and labels are tested.

    Returns:
        An `Audit`; `earmark.evaluation.audit_page.write_audit_page` makes a page of it.

    Raises:
        ClipsError: the clips do not hold together.

    Example:
        >>> import tempfile
        >>> from earmark.sound.synthesis import write_sounds
        >>> folder = write_sounds(tempfile.mkdtemp() + "/sounds", clips_per_class=1, duration_s=0.5)
        >>> found = audit(folder, workers=1)
        >>> len(found.traits), found.resemblance.copies, found.resemblance.leaks
        (10, [], [])
    """
    clips = infer_groups(clips if isinstance(clips, Clips) else read_clips(clips), to_deal=False)
    timing: dict[str, float] = {}
    with _timed(timing, "examine_s"), show_progress("Examining", "clips") as advance:
        examinations = examine(clips, advance, workers=workers)
    timing["decode_s"] = sum(examination.decode_s for examination in examinations)
    names, labels = name_clips(clips), clips.table["label"].tolist()
    traits = [examination.traits for examination in examinations]
    with _timed(timing, "resemblance_s"), show_progress("Comparing", "clips") as advance:
        resemblance = find_resemblance(clips, names, examinations, advance)
    with _timed(timing, "sound_faults_s"):
        classes = [split_labels(cell, multi_label=clips.multi_label) for cell in labels]
        faults = [*_find_file_faults(examinations), *find_sound_faults(traits, classes)]
    with _timed(timing, "shortcuts_s"):
        groups = clips.table["group"].tolist() if "group" in clips.table else None
        shortcuts = [] if clips.multi_label else probe_shortcuts(traits, labels, groups, seed)
    with _timed(timing, "label_faults_s"):
        label_faults = _judge_labels(clips, examinations, resemblance, seed)
    notes = _note(clips, traits, resemblance)
    return Audit(clips, names, traits, faults, resemblance, shortcuts, label_faults, notes, timing)


@contextmanager
def _timed(timing: dict[str, float], step: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    timing[step] = time.perf_counter() - began


def _find_file_faults(examinations: Sequence[Examination]) -> list[Fault]:
    broken = [Fault(UNDECODABLE, row, one.fault, 0.0) for row, one in enumerate(examinations) if one.fault]
    cut = [
        Fault(TRUNCATED, row, f"The file is not whole: {one.truncated}.", 0.0)
        for row, one in enumerate(examinations)
        if one.truncated
    ]
    return broken + cut


def _judge_labels(
    clips: Clips, examinations: Sequence[Examination], resemblance: Resemblance, seed: int
) -> LabelFaults:
    if clips.multi_label:
        why = "Wrong labels were not looked for: that is for clips with one label each, and these may have several."
        return LabelFaults([], 0, np.nan, why)
    features = [examination.features for examination in examinations]
    with show_progress("Judging labels", "folds") as advance:
        return find_label_faults(
            features,
            clips.table["label"].tolist(),
            groups=resemblance.units.tolist(),
            seed=seed,
            on_progress=advance,
        )


def _note(clips: Clips, traits: Sequence[SoundTraits | None], resemblance: Resemblance) -> list[str]:
    notes = [clips.grouping] if clips.grouping else []
    if "group" not in clips.table:
        notes.append(
            "No groups are known: clips of one recording, speaker or place may stand on two sides. If there are such, "
            "name them in a `group` column."
        )
    if not resemblance.divided:
        notes.append("The clips have neither a split nor folds, so nothing could stand on two sides of one.")
    if clips.multi_label:
        notes.append("Shortcuts were not tested: that is for clips with one label each, and these may have several.")
    longer = sum(one is not None and one.duration_s >= LONGEST_S for one in traits)
    if longer:
        notes.append(f"Of clips longer than {LONGEST_S / 60:.0f} minutes ({longer}) the first part was examined.")
    notes += [f"Passed over on reading, {reason}: {count:,}." for reason, count in clips.passed_over.items()]
    return notes
