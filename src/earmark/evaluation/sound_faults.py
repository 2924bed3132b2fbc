"""Recordings that something is wrong with, and what does not agree within a set of them; told from traits alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.sound.traits import FULL_BAND, SoundTraits

SILENT_DB = -90.0
NEARLY_SILENT_DB = -60.0
CLIPPED_SHARE = 0.001
DC_OFFSET = 0.01
SHORTEST_S = 0.1
SHORTEST_OF_USUAL = 0.1  # share of the median duration
ENCODER_CUT_HZ = 14_000.0  # MP3 and Ogg cut from here on, where hardly anything is heard
FEWEST_CLIPS = 10
IMBALANCE = 5.0

WHOLE_SET = -1
"""The row of a fault that no single clip has."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        kind: ``silent``, ``nearly silent``, ``clipped``, ``dc offset``, ``too short``, ``constant``, ``not finite`` or
            ``band-limited`` for a clip; ``sample rates``, ``channels``, ``bit depths``, ``encoder cut``, ``few clips``
            or ``imbalance`` for the whole set.
        row: The clip's row; ``WHOLE_SET`` where it is the set's.
        sentence: What is wrong and what to do, without the name of the clip.
        figure: How bad: dBFS, a share, an offset, seconds, Hz or a count, as the sentence has it.
        mild: Worth knowing, seldom worth mending.
    """

    kind: str
    row: int
    sentence: str
    figure: float
    mild: bool = False


def find_sound_faults(traits: Sequence[SoundTraits | None], labels: Sequence[Sequence[str]] = ()) -> list[Fault]:
    """Look through the traits of a set of clips.

    Args:
        traits: One a clip; ``None`` where a clip cannot be decoded.
        labels: The classes of each clip: one in most sets, more where a clip may have several. Without them, nothing
            is said of classes. Clips that cannot be decoded do not count towards their class.

    Returns:
        The clips' faults in the order of their rows, then those of the set.

    Example:
        >>> import numpy as np
        >>> from earmark.sound.traits import measure_traits
        >>> square = np.sign(np.sin(2 * np.pi * 100 * (np.arange(16_000) + 0.5) / 16_000))
        >>> quiet = square / 10_000
        >>> found = find_sound_faults([measure_traits(square, 16_000), measure_traits(quiet, 16_000)])
        >>> [(fault.kind, fault.row) for fault in found]
        [('clipped', 0), ('nearly silent', 1)]
    """
    durations_s = [one.duration_s for one in traits if one is not None]
    usual_s = float(np.median(durations_s)) if durations_s else 0.0
    found = [fault for row, one in enumerate(traits) if one for fault in _find_in_clip(row, one, usual_s)]
    found += _find_in_set([one for one in traits if one is not None])
    if labels:
        heard = [cell for cell, one in zip(labels, traits, strict=True) if one is not None]
        found += _find_in_classes(sorted({name for cell in labels for name in cell}), heard)
    return found


def _find_in_clip(row: int, traits: SoundTraits, usual_s: float) -> Iterator[Fault]:
    if traits.broken_samples:
        samples = "sample is" if traits.broken_samples == 1 else "samples are"
        sentence = f"{traits.broken_samples:,} {samples} NaN or infinite: replace them and save it again."
        yield Fault("not finite", row, sentence, float(traits.broken_samples))
    if traits.duration_s < max(SHORTEST_S, SHORTEST_OF_USUAL * usual_s):
        sentence = f"It lasts {traits.duration_s:.3g} s, where the others usually last {usual_s:.3g} s: is it whole?"
        yield Fault("too short", row, sentence, traits.duration_s)
    if traits.constant and traits.peak > 0:
        sentence = f"Every sample is {traits.dc_offset:.3g}: there is no sound in it; leave it out or record it again."
        yield Fault("constant", row, sentence, traits.dc_offset)
    elif traits.level_db < SILENT_DB:
        how = "It is digital silence" if traits.constant else f"It is silent ({traits.level_db:.0f} dBFS)"
        yield Fault("silent", row, f"{how}: leave it out or record it again.", traits.level_db)
    else:
        yield from _find_in_sound(row, traits)


def _find_in_sound(row: int, traits: SoundTraits) -> Iterator[Fault]:
    """Faults of a clip in which there is something to hear."""
    if traits.level_db < NEARLY_SILENT_DB:
        sentence = f"It is nearly silent ({traits.level_db:.0f} dBFS): listen whether its sound is there at all."
        yield Fault("nearly silent", row, sentence, traits.level_db)
    if traits.clipped_share >= CLIPPED_SHARE:
        sentence = f"{traits.clipped_share:.1%} of its samples are at full scale: it was recorded too loud."
        yield Fault("clipped", row, sentence, traits.clipped_share)
    if abs(traits.dc_offset) >= DC_OFFSET:
        sentence = (
            f"Its samples lie {traits.dc_offset:+.3f} off zero on average: take that off with a high-pass filter."
        )
        yield Fault("dc offset", row, sentence, traits.dc_offset)
    if traits.bandwidth_hz < min(ENCODER_CUT_HZ, FULL_BAND * traits.sample_rate / 2):
        sentence = (
            f"Nothing in it lies above {_khz(traits.bandwidth_hz)} kHz, though its rate of {traits.sample_rate:,} Hz "
            f"has room up to {_khz(traits.sample_rate / 2)} kHz: it was {_name_origin(traits.bandwidth_hz)}."
        )
        yield Fault("band-limited", row, sentence, traits.bandwidth_hz)


def _find_in_set(traits: list[SoundTraits]) -> Iterator[Fault]:
    for kind, unit, counts in (
        ("sample rates", " Hz", Counter(one.sample_rate for one in traits)),
        ("channels", "", Counter(one.channels for one in traits)),
        ("bit depths", " bits", Counter(one.bit_depth for one in traits if one.bit_depth)),
    ):
        if len(counts) > 1:
            each = ", ".join(f"{value:,}{unit} ({count:,})" for value, count in counts.most_common())
            sentence = f"The clips differ in their {kind}: {each}; make sure that classes do not differ in it."
            yield Fault(kind, WHOLE_SET, sentence, float(len(counts)))
    cut = [one for one in traits if ENCODER_CUT_HZ <= one.bandwidth_hz < FULL_BAND * one.sample_rate / 2]
    if cut:
        sentence = (
            f"{len(cut):,} of {len(traits):,} clips end between {_khz(min(one.bandwidth_hz for one in cut))} and "
            f"{_khz(max(one.bandwidth_hz for one in cut))} kHz, as MP3 and Ogg encoders leave them; "
            "mild, unless classes differ in it."
        )
        yield Fault("encoder cut", WHOLE_SET, sentence, float(len(cut)), mild=True)


def _find_in_classes(names: list[str], heard: list[Sequence[str]]) -> Iterator[Fault]:
    counts = Counter(name for cell in heard for name in cell)
    few = [f"{name} ({counts[name]})" for name in names if counts[name] < FEWEST_CLIPS]
    if few:
        more = f" and {len(few) - 10} more" if len(few) > 10 else ""
        sentence = f"Fewer than {FEWEST_CLIPS} clips: {', '.join(few[:10])}{more}; figures of such classes say little."
        yield Fault("few clips", WHOLE_SET, sentence, float(len(few)))
    most, fewest = (choose(names, key=lambda name: counts[name]) for choose in (max, min))
    if counts[most] >= IMBALANCE * max(counts[fewest], 1):
        sentence = (
            f"{most} has {counts[most]:,} clips and {fewest} {counts[fewest]:,}: "
            "judge by balanced accuracy or macro-F1, not by accuracy."
        )
        yield Fault("imbalance", WHOLE_SET, sentence, counts[most] / max(counts[fewest], 1))


def _name_origin(bandwidth_hz: float) -> str:
    """What usually ends a band there."""
    if bandwidth_hz < 4600:
        return "recorded or sent at telephone quality (8,000 Hz)"
    return "recorded at a lower rate, or encoded at a low bit rate"


def _khz(frequency_hz: float) -> str:
    return f"{frequency_hz / 1000:.1f}".removesuffix(".0")
