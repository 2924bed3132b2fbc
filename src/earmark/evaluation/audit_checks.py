"""The verdict of an audit: what each check found, and how much it matters."""

from collections import Counter
from typing import Literal, NamedTuple, get_args

from earmark.data.splits import is_official
from earmark.evaluation.audit import TRUNCATED, UNDECODABLE, Audit
from earmark.evaluation.sound_faults import WHOLE_SET, Fault

State = Literal["mend", "look", "fine", "not checked"]

_CLASS_KINDS = ("few clips", "imbalance")
_FILE_KINDS = (UNDECODABLE, TRUNCATED)


class Check(NamedTuple):
    """One check: what it is called, how many things it found, what that means, in words, and where the page has it."""

    name: str
    found: int
    state: State
    sentence: str
    anchor: str


def list_checks(audit: Audit) -> list[Check]:
    """What each check found, the most serious first.

    ``mend``: figures or training suffer for certain. ``look``: a person should listen or decide. ``not checked``: it
    does not apply to these clips; ``audit.notes`` says why.

    Example:
        >>> import tempfile
        >>> from earmark.evaluation.audit import audit
        >>> from earmark.sound.synthesis import write_sounds
        >>> folder = write_sounds(tempfile.mkdtemp() + "/sounds", clips_per_class=1, duration_s=0.5)
        >>> [check.name for check in list_checks(audit(folder, workers=1)) if check.state == "fine"][:2]
        ['Files', 'Recordings']
    """
    checks = [
        _check_files(audit),
        _check_recordings(audit),
        _check_formats(audit),
        _check_classes(audit),
        _check_copies(audit),
        _check_near_duplicates(audit),
        _check_conflicts(audit),
        _check_leaks(audit),
        _check_shortcuts(audit),
        _check_labels(audit),
    ]
    return sorted(checks, key=lambda check: get_args(State).index(check.state))


def sum_up(checks: list[Check]) -> str:
    """The verdict in one sentence.

    Example:
        >>> sum_up([Check("Leaks", 2, "mend", "…", "leaks"), Check("Copies", 0, "fine", "…", "copies")])
        'Mend before training: leaks.'
    """
    mend, look = ([check.name.lower() for check in checks if check.state == state] for state in ("mend", "look"))
    if not mend and not look:
        return "Nothing was found that speaks against training on these clips."
    told = [f"Mend before training: {_list(mend)}."] if mend else ["Nothing must be mended."]
    return " ".join(told + ([f"Worth a look: {_list(look)}."] if look else []))


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _count(number: int, singular: str, plural: str = "") -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _of_kind(audit: Audit, kinds: tuple[str, ...]) -> list[Fault]:
    return [fault for fault in audit.faults if fault.kind in kinds]


def _check_files(audit: Audit) -> Check:
    counts = Counter(fault.kind for fault in _of_kind(audit, _FILE_KINDS))
    if not counts:
        return Check("Files", 0, "fine", f"All {len(audit.clips):,} clips can be decoded to their end.", "files")
    told = [f"{_count(counts[UNDECODABLE], 'clip')} cannot be decoded"] if counts[UNDECODABLE] else []
    if counts[TRUNCATED]:
        told.append(f"{_count(counts[TRUNCATED], 'clip is', 'clips are')} of a file that is cut off")
    return Check("Files", counts.total(), "mend", f"{' and '.join(told)}.", "files")


def _check_recordings(audit: Audit) -> Check:
    faults = [fault for fault in audit.faults if fault.row != WHOLE_SET and fault.kind not in _FILE_KINDS]
    counts = Counter(fault.kind for fault in faults if not fault.mild)
    if not counts:
        sentence = "None is silent, clipped, offset, too short, constant, broken or band-limited."
        return Check("Recordings", 0, "fine", sentence, "recordings")
    sentence = f"{', '.join(f'{count:,} {kind}' for kind, count in counts.most_common())}."
    return Check("Recordings", counts.total(), "look", sentence, "recordings")


def _check_formats(audit: Audit) -> Check:
    faults = [fault for fault in audit.faults if fault.row == WHOLE_SET and fault.kind not in _CLASS_KINDS]
    serious = [fault for fault in faults if not fault.mild]
    if faults:
        state: State = "look" if serious else "fine"
        return Check("Formats", len(serious), state, " ".join(fault.sentence for fault in faults), "formats")
    return Check("Formats", 0, "fine", "All clips have the same sample rate, channels and bit depth.", "formats")


def _check_classes(audit: Audit) -> Check:
    faults = _of_kind(audit, _CLASS_KINDS)
    if faults:
        return Check("Classes", len(faults), "look", " ".join(fault.sentence for fault in faults), "classes")
    counts = audit.count_labels().values()
    fewest, most = min(counts), max(counts)
    each = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return Check("Classes", 0, "fine", f"{len(counts)} classes with {each} clips each.", "classes")


def _check_copies(audit: Audit) -> Check:
    copies = audit.resemblance.copies
    if not copies:
        return Check("Copies", 0, "fine", "No two clips hold the same samples.", "copies")
    clips = sum(map(len, copies))
    sentence = f"{_count(len(copies), 'sound is', 'sounds are')} there more than once, in {clips:,} clips."
    return Check("Copies", len(copies), "look", sentence, "copies")


def _check_near_duplicates(audit: Audit) -> Check:
    pairs = len(audit.resemblance.near_duplicates)
    if not pairs:
        sentence = "No two clips hold the same sound shifted, louder, re-encoded or with noise added."
        return Check("Near duplicates", 0, "fine", sentence, "near")
    sentence = f"{_count(pairs, 'pair')} of clips with the same sound, though not the same samples."
    return Check("Near duplicates", pairs, "look", sentence, "near")


def _check_conflicts(audit: Audit) -> Check:
    conflicts = len(audit.resemblance.conflicts)
    if not conflicts:
        return Check("Label conflicts", 0, "fine", "No sound stands under two labels.", "conflicts")
    sentence = f"{_count(conflicts, 'pair')} of clips with the same sound and different labels: one of them is wrong."
    return Check("Label conflicts", conflicts, "mend", sentence, "conflicts")


def _check_leaks(audit: Audit) -> Check:
    leaks = audit.resemblance.leaks
    if not audit.resemblance.divided:
        return Check("Leaks", 0, "not checked", "The clips have neither a split nor folds.", "leaks")
    if not leaks:
        return Check("Leaks", 0, "fine", "No group and no sound stands on two sides.", "leaks")
    counts = Counter(leak.kind for leak in leaks)
    plurals = {"group": "groups", "duplicate": "copied sounds", "near duplicate": "nearly copied sounds"}
    singulars = {"group": "group", "duplicate": "copied sound", "near duplicate": "nearly copied sound"}
    told = [_count(count, singulars[kind], plurals[kind]) for kind, count in counts.items()]
    stand = "stands" if len(leaks) == 1 else "stand"
    if is_official(audit.clips):
        sentence = f"{_list(told)} {stand} on two sides of the published protocol, which stands as it is."
        return Check("Leaks", len(leaks), "look", sentence, "leaks")
    sentence = f"{_list(told)} {stand} on two sides: figures from this split are too good."
    return Check("Leaks", len(leaks), "mend", sentence, "leaks")


def _check_shortcuts(audit: Audit) -> Check:
    if not audit.shortcuts:
        why = (
            "These clips may have several labels each."
            if audit.clips.multi_label
            else "That needs several clips of a class, not all of one group."
        )
        return Check("Shortcuts", 0, "not checked", why, "shortcuts")
    firing = [shortcut for shortcut in audit.shortcuts if shortcut.fires]
    if not firing:
        sentence = "Nothing that can be told without hearing the content beats guessing."
        return Check("Shortcuts", 0, "fine", sentence, "shortcuts")
    told = _list([f"{shortcut.name} ({shortcut.accuracy:.0%})" for shortcut in firing])
    sentence = f"What can be told without hearing the content beats chance ({firing[0].chance:.0%}): {told}."
    return Check("Shortcuts", len(firing), "look", sentence, "shortcuts")


def _check_labels(audit: Audit) -> Check:
    found = audit.label_faults
    if not found.checked:
        return Check("Labels", 0, "not checked", found.sentence, "labels")
    if not found.suspects:
        return Check("Labels", 0, "fine", f"None looks wrong. {found.sentence}", "labels")
    sentence = f"{_count(len(found.suspects), 'label')} may be wrong: listen, the likeliest first. {found.sentence}"
    return Check("Labels", len(found.suspects), "look", sentence, "labels")
