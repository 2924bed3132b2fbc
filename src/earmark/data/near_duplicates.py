"""Clips that hold the same sound, though not the same samples: shifted, louder, re-encoded, with noise added.

Two steps. The mel bands of each clip are compared with those of all others at every shift, as products of matrices:
that finds the pairs that could be copies. Of those, the signs of the waveforms are correlated at every shift: there two
barks or two rains differ like any two noises, and copies do not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from earmark.progress import Advance
from earmark.sound.fingerprint import FRAME_LENGTH, SAMPLE_RATE, read_bands, read_signs

LONGEST_SHIFT_S = 1.05
_FARTHEST = int(LONGEST_SHIFT_S * SAMPLE_RATE)
_FARTHEST_FRAMES = -(-_FARTHEST // FRAME_LENGTH)
_WORTH_A_LOOK = 0.35  # correlation of the bands from which on the signs are compared
_TREND_FRAMES = 19  # 0.6 s: slower changes of loudness are alike in too many clips
_BLOCK = 256
# How similar two sounds must be, by how many standard deviations that is from chance: those that share a few clicks or
# one low hum can come to 0.75, but then chance is seen to be wide.
_ENOUGH = ((8.0, 0.4), (4.0, 0.7), (0.0, 0.8))
_MOST_LOOKS = 50  # a clip: bounds the work where thousands of clips have one shape
_LEAST_SHARE = 0.5  # what two clips share must hold this much of their energy to count in full


@dataclass(frozen=True)
class Pair:
    """Two clips that hold the same sound.

    Attributes:
        first: Position of the one.
        second: Position of the other, > ``first``.
        similarity: Correlation of the two waveforms, flattened and aligned, 0.4 to 1: 1 for the same samples, 0.9 or
            more for MP3 at 64 kbit/s, 0.8 or more for noise at 20 dB. It falls with the part that is not shared.
        shift_s: How much later the sound comes in ``second``, seconds; negative if it comes sooner.
    """

    first: int
    second: int
    similarity: float
    shift_s: float


class _Shapes(NamedTuple):
    """How the clips' mel bands change, shortest clip first, zeros after the end of each.

    Attributes:
        rows: Positions of the clips among all.
        frames: Length of each.
        bands: (clips, longest frames * bands) float32.
        energy: (clips, longest frames + 1): of all frames before the one in question.
    """

    rows: np.ndarray
    frames: np.ndarray
    bands: np.ndarray
    energy: np.ndarray


class _Alignment(NamedTuple):
    """Two sounds where they are most alike.

    Attributes:
        similarity: 0 to 1.
        shift: Samples.
        deviations: The correlation in standard deviations of what two unrelated sounds with these spectra and envelopes
            have at one shift.
    """

    similarity: float
    shift: int
    deviations: float

    def is_copy(self) -> bool:
        return any(self.deviations >= deviations and self.similarity >= least for deviations, least in _ENOUGH)


def find_near_duplicates(fingerprints: Sequence[np.ndarray], *, on_progress: Advance | None = None) -> list[Pair]:
    """The pairs of clips that hold the same sound after a shift of up to a second, a gain, MP3 or noise at 20 dB.

    Exact copies are found, too, and copies with the other polarity. Changes of speed or pitch are not, nor excerpts
    that begin more than a second after their source. Clips of less than two seconds may be shifted by half their
    length; below one second, some copies of even noises are missed. Silence is like nothing. The time grows with the
    square of the number of clips.

    Args:
        fingerprints: What ``earmark.sound.fingerprint.fingerprint`` gave for each clip.
        on_progress: Called with (clips done, clips in all).

    Returns:
        The pairs, the most similar first.

    Example:
        >>> from earmark.sound.fingerprint import fingerprint
        >>> rain, other = np.random.default_rng(0).normal(0, 0.1, (2, 32_000))
        >>> late = 0.5 * np.concatenate([np.zeros(8_000), rain[:-8_000]])
        >>> pair, = find_near_duplicates([fingerprint(sound, 16_000) for sound in (rain, other, late)])
        >>> pair.first, pair.second, pair.shift_s
        (0, 2, 0.5)

    Source:
        Sign-bit correlations are brought back to those of the waveforms by the arcsine law (Van Vleck and Middleton
        1966).
    """
    shapes = _take_shapes(fingerprints)
    pairs = []
    for start in range(0, len(shapes.rows), _BLOCK):
        for one, other in _find_candidates(shapes, start):
            first, second = sorted((int(shapes.rows[one]), int(shapes.rows[other])))
            found = _align(read_signs(fingerprints[first]), read_signs(fingerprints[second]))
            if found.is_copy():
                pairs.append(Pair(first, second, round(found.similarity, 4), found.shift / SAMPLE_RATE))
        if on_progress:
            on_progress(min(start + _BLOCK, len(shapes.rows)), len(shapes.rows))
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _take_shapes(fingerprints: Sequence[np.ndarray]) -> _Shapes:
    from scipy.ndimage import uniform_filter1d  # type: ignore[import-untyped]

    heard = [row for row, kept in enumerate(fingerprints) if kept.any()]
    rows = np.array(sorted(heard, key=lambda row: len(fingerprints[row])), int)
    frames = np.array([len(fingerprints[row]) for row in rows], int)
    longest = int(frames.max(initial=0))
    bands: np.ndarray = np.zeros((0, 0, 0), np.float32)
    for place, row in enumerate(rows):
        levels = read_bands(fingerprints[row])
        if not place:
            bands = np.zeros((len(rows), longest, levels.shape[1]), np.float32)
        changes = levels - uniform_filter1d(levels, _TREND_FRAMES, axis=0, mode="nearest")
        # Square roots: else a steady sound would be known by the edge where a copy begins late, and by nothing else.
        size = np.linalg.norm(changes, axis=1, keepdims=True)
        bands[place, : len(levels)] = changes / np.sqrt(np.maximum(size, 1e-4))
    energy = np.zeros((len(rows), longest + 1))
    np.cumsum(np.square(bands).sum(axis=2), axis=1, out=energy[:, 1:])
    return _Shapes(rows, frames, bands.reshape(len(rows), longest * bands.shape[2]), energy)


def _find_candidates(shapes: _Shapes, start: int) -> Iterator[tuple[int, int]]:
    """Places of pairs with similar bands at some shift: one in the block at ``start``, the other after it."""
    block = slice(start, start + _BLOCK)
    best = np.zeros((len(shapes.rows[block]), len(shapes.rows) - start), np.float32)
    for shift in range(-_FARTHEST_FRAMES, _FARTHEST_FRAMES + 1):
        np.maximum(best, _correlate_bands(shapes, block, shift), out=best)
    for row, likeness in enumerate(best):
        likeness[: row + 1] = 0
        nearest = np.argsort(likeness)[::-1][:_MOST_LOOKS]
        yield from ((start + row, start + int(column)) for column in nearest[likeness[nearest] >= _WORTH_A_LOOK])


def _correlate_bands(shapes: _Shapes, block: slice, shift: int) -> np.ndarray:
    """(clips of the block, clips from its first on): correlation where the latter come ``shift`` frames later."""
    longest = shapes.energy.shape[1] - 1
    width = shapes.bands.shape[1] // max(longest, 1)
    frames = shapes.frames[block]
    begin, end = max(0, -shift), min(int(frames.max()), longest - shift)
    if end <= begin:
        return np.zeros((len(frames), len(shapes.rows) - block.start), np.float32)
    mine = shapes.bands[block, begin * width : end * width]
    theirs = shapes.bands[block.start :, (begin + shift) * width : (end + shift) * width]
    energy, all_energy = shapes.energy[block], shapes.energy[block.start :]
    # The other clip is as long or longer: this much of mine at least lies beside it.
    last = np.maximum(np.where(shift > 0, frames - shift, frames), begin)
    my_energy = energy[np.arange(len(frames)), last] - energy[:, begin]
    their_energy = all_energy[:, end + shift] - all_energy[:, begin + shift]
    share = _LEAST_SHARE * np.minimum(1, frames.max() / shapes.frames[block.start :])
    my_norm = np.sqrt(np.maximum(my_energy, _LEAST_SHARE * energy[:, -1]) + 1e-12)
    their_norm = np.sqrt(np.maximum(their_energy, share * all_energy[:, -1]) + 1e-12)
    return (mine @ theirs.T) / my_norm[:, None].astype(np.float32) / their_norm.astype(np.float32)


def _align(first: np.ndarray, second: np.ndarray) -> _Alignment:
    from scipy import fft  # type: ignore[import-untyped]

    farthest = min(_FARTHEST, min(len(first), len(second)) // 2)
    length = fft.next_fast_len(max(len(first), len(second)) + farthest, real=True)
    product = fft.irfft(fft.rfft(first, length).conj() * fft.rfft(second, length), length)
    shifts = np.arange(-farthest, farthest + 1)
    correlation = np.abs(product[shifts]) / _norm(first, second, shifts)
    best = int(np.argmax(correlation))
    shift = int(shifts[best])
    # Van Vleck's arcsine law: from the correlation of the signs to that of the waveforms.
    similarity = float(np.sin(np.pi / 2 * min(correlation[best], 1.0)))
    return _Alignment(similarity, shift, float(abs(product[shift]) / _deviate(first, second, product, shift)))


def _deviate(first: np.ndarray, second: np.ndarray, product: np.ndarray, shift: int) -> float:
    """Standard deviation of the product at one shift if the sounds had nothing to do with each other.

    By Bartlett's formula: the energy of the product over all shifts, which is the same whatever the phases, tells how
    many samples go together; the envelopes tell how many take part at this shift.
    """
    mine, theirs = np.square(first[max(0, -shift) :]), np.square(second[max(0, shift) :])
    shared = min(len(mine), len(theirs))
    together = np.dot(product, product) / (np.dot(first, first) * np.dot(second, second))
    return float(np.sqrt(together * np.dot(mine[:shared], theirs[:shared]) + 1e-12))


def _norm(first: np.ndarray, second: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """By what to divide the product at each shift; the same within a frame."""
    frames = shifts // FRAME_LENGTH
    coarse = np.arange(frames[0], frames[-1] + 1)
    shared = _share_energy(first, len(second), -coarse) * _share_energy(second, len(first), coarse)
    return np.sqrt(shared + 1e-12)[frames - frames[0]].astype(np.float32)


def _share_energy(signs: np.ndarray, other_length: int, shifts: np.ndarray) -> np.ndarray:
    """Energy of what lies beside the other sound if this one comes ``shifts`` frames later; not below the least."""
    energy = np.concatenate([[0.0], np.cumsum(np.square(signs[::FRAME_LENGTH], dtype=np.float64))]) * FRAME_LENGTH
    begin = np.clip(shifts, 0, len(energy) - 1)
    end = np.clip(other_length // FRAME_LENGTH + shifts, begin, len(energy) - 1)
    least = _LEAST_SHARE * min(1.0, other_length / len(signs)) * energy[-1]
    return np.maximum(energy[end] - energy[begin], least)
