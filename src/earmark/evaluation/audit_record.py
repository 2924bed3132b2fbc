"""An audit for programs and for the next step: as a dictionary for JSON, and as corrections for a person to edit."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from earmark.data.clips import split_labels
from earmark.data.corrections import Correction
from earmark.evaluation.audit import UNDECODABLE, Audit
from earmark.evaluation.audit_checks import list_checks, sum_up
from earmark.evaluation.sound_faults import WHOLE_SET


def describe_audit(audit: Audit) -> dict[str, Any]:
    """An audit as a dictionary ready for JSON; every clip in it is named by its path, label and, if cut, its times.

    Example:
        >>> import json, tempfile
        >>> from earmark.evaluation.audit import audit
        >>> from earmark.sound.synthesis import write_sounds
        >>> folder = write_sounds(tempfile.mkdtemp() + "/sounds", clips_per_class=1, duration_s=0.5)
        >>> json.loads(json.dumps(describe_audit(audit(folder, workers=1))))["clips"]
        10
    """
    from earmark import __version__

    checks, alike, labels = list_checks(audit), audit.resemblance, audit.label_faults
    return {
        "kind": "audit",
        "source": audit.clips.source,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "version": __version__,
        "clips": len(audit.clips),
        "labels": audit.count_labels(),
        "verdict": sum_up(checks),
        "checks": [check._asdict() for check in checks],
        "faults": [
            {"kind": fault.kind, "sentence": fault.sentence, "figure": fault.figure, "mild": fault.mild}
            | ({} if fault.row == WHOLE_SET else name_clip(audit, fault.row))
            for fault in audit.faults
        ],
        "copies": [[name_clip(audit, row) for row in rows] for rows in alike.copies],
        "near_duplicates": [
            {"clips": _name_all(audit, (pair.first, pair.second))}
            | {"similarity": pair.similarity, "shift_s": pair.shift_s}
            for pair in alike.near_duplicates
        ],
        "conflicts": [
            {"clips": _name_all(audit, (conflict.first, conflict.second)), "exact": conflict.exact}
            for conflict in alike.conflicts
        ],
        "leaks": [
            {"kind": leak.kind, "parts": list(leak.parts), "sentence": leak.sentence}
            | {"clips": _name_all(audit, leak.rows)}
            for leak in alike.leaks
        ],
        "shortcuts": [
            {key: getattr(shortcut, key) for key in ("name", "accuracy", "low", "high", "chance", "fires", "sentence")}
            for shortcut in audit.shortcuts
        ],
        "label_faults": {
            "checked": labels.checked,
            "accuracy": None if math.isnan(labels.accuracy) else labels.accuracy,
            "sentence": labels.sentence,
            "suspects": [
                {**name_clip(audit, suspect.row), "suggested": suspect.suggested}
                | {"confidence": suspect.confidence, "suggested_confidence": suspect.suggested_confidence}
                for suspect in labels.suspects
            ],
        },
        "notes": audit.notes,
        "timing": audit.timing,
    }


def name_clip(audit: Audit, row: int) -> dict[str, Any]:
    """``path``, ``label`` and, of a clip that is cut from its file, ``start_s`` and ``end_s``."""
    record = audit.clips.table.iloc[row]
    times = {name: float(record[name]) for name in ("start_s", "end_s") if name in record}
    known = {name: time_s for name, time_s in times.items() if not math.isnan(time_s)}
    return {"path": str(record["path"]), "label": str(record["label"]), **known}


def _name_all(audit: Audit, rows: Iterable[int]) -> list[dict[str, Any]]:
    return [name_clip(audit, row) for row in rows]


def propose_corrections(audit: Audit) -> list[Correction]:
    """What a person should decide: first the label conflicts, then labels likely wrong, faults, what is there twice.

    Each clip stands there once, with all its reasons. What cannot be decoded, and the second and further copies of a
    sound with one label, are proposed to be dropped; all else is to be kept until somebody has listened.

    Returns:
        Corrections for `earmark.data.corrections.write_corrections`. In ``suggested`` stands the label that the clip
        sounds like, else the one that its sound has elsewhere.

    Example:
        >>> propose_corrections(audit)[0].action     # doctest: +SKIP
        'keep'
    """
    reasons: defaultdict[int, list[str]] = defaultdict(list)
    suggested: dict[int, str] = {}
    names = audit.names
    for conflict in audit.resemblance.conflicts:
        for row, other in ((conflict.first, conflict.second), (conflict.second, conflict.first)):
            label = audit.clips.table["label"].iloc[other]
            reasons[row].append(f"same sound as {names[other]}, which is labelled {label}")
            suggested.setdefault(row, label)
    for suspect in audit.label_faults.suspects:
        suggested[suspect.row] = suspect.suggested
        sounds_like = f"sounds like {suspect.suggested} ({suspect.suggested_confidence:.0%})"
        reasons[suspect.row].append(f"{sounds_like}, not {suspect.label} ({suspect.confidence:.0%})")
    undecodable = set()
    for fault in audit.faults:
        if fault.kind == UNDECODABLE:
            undecodable.add(fault.row)
            reasons[fault.row].append(fault.sentence)
        elif fault.row != WHOLE_SET and not fault.mild:
            reasons[fault.row].append(f"{fault.kind}: {fault.sentence}")
    superfluous = set()
    for rows in audit.resemblance.copies:
        for row in rows[1:]:
            reasons[row].append(f"copy of {names[rows[0]]}")
            if _labels_of(audit, row) == _labels_of(audit, rows[0]):
                superfluous.add(row)
    for pair in audit.resemblance.near_duplicates:
        if _labels_of(audit, pair.first) == _labels_of(audit, pair.second):
            reasons[pair.second].append(f"nearly the same sound as {names[pair.first]}")
    return [
        _correct(audit, row, suggested.get(row, ""), told, drop=row in undecodable | superfluous)
        for row, told in reasons.items()
    ]


def _labels_of(audit: Audit, row: int) -> set[str]:
    return set(split_labels(audit.clips.table["label"].iloc[row], multi_label=audit.clips.multi_label))


def _correct(audit: Audit, row: int, suggested: str, reasons: list[str], *, drop: bool) -> Correction:
    clip = name_clip(audit, row)
    return Correction(
        path=clip["path"],
        start_s=clip.get("start_s"),
        end_s=clip.get("end_s"),
        label=clip["label"],
        suggested=suggested,
        action="drop" if drop else "keep",
        reason="; ".join(reasons),
    )
