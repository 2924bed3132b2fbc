"""Claim: planted near duplicates are found (recall at least 0.95), and hardly anything else (at most two false pairs).

For each seed, 20 copies of each kind are planted among the clips, each of another clip: shifted by up to a second
(zeros come in where the sound has left; half of its energy stays), another gain, MP3 at 64 kbit/s, white noise at
20 dB. A fifth kind, all four at once, is shown and does not count. Every other pair found is listed with the
correlation of the aligned log-mel spectrograms, over all that the two share and over the second in which they agree
best, and with whether both come from one source recording. A pair that is neither from one recording nor has a
correlation over all beyond what 99.9 % of the unrelated pairs reach (at the best of their shifts) counts as false; how
many would by the best second is shown, too.

Usage: python benchmarks/near_duplicates.py SOUNDS [--seeds 0 1 2] [--copies 20]
"""

import argparse
import time

import numpy as np

from earmark.data.layouts import read_clips
from earmark.data.near_duplicates import Pair, find_near_duplicates
from earmark.sound.codecs import pass_through_codec
from earmark.sound.decode import decode
from earmark.sound.features import log_mel
from earmark.sound.fingerprint import fingerprint
from earmark.sound.resample import resample

KINDS = ("shifted", "gain", "mp3", "noise", "all four")
COUNTED = KINDS[:4]
SPECTROGRAM_RATE = 16_000
HOP_LENGTH = 256
FRAMES_A_SECOND = SPECTROGRAM_RATE / HOP_LENGTH
UNRELATED_PAIRS = 2_000

Sounds = list[tuple[np.ndarray, int]]


def shift(waveform: np.ndarray, rate: int, chance: np.random.Generator) -> tuple[np.ndarray, float]:
    """Earlier or later by 0.05 to 1 s, at the old length; and the shift, seconds."""
    for _ in range(1000):
        samples = int(chance.uniform(0.05, 1.0) * rate) * int(chance.choice([-1, 1]))
        moved = np.zeros_like(waveform)
        if samples > 0:
            moved[samples:] = waveform[:-samples]
        else:
            moved[:samples] = waveform[-samples:]
        if np.sum(moved**2) > 0.5 * np.sum(waveform**2):
            return moved, samples / rate
    raise SystemExit("A sound is too short to be shifted: plant among longer ones.")


def change_gain(waveform: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """By -20 to 12 dB, yet never beyond full scale."""
    return waveform * min(10 ** (chance.uniform(-20, 12) / 20), 1 / np.abs(waveform).max())


def add_noise(waveform: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """White noise, 20 dB below the sound."""
    return waveform + 0.1 * np.sqrt(np.mean(waveform**2)) * chance.standard_normal(len(waveform))


def copy(waveform: np.ndarray, rate: int, kind: str, chance: np.random.Generator) -> tuple[np.ndarray, float]:
    """A near duplicate of one kind, and its shift in seconds."""
    shift_s = 0.0
    if kind in ("shifted", "all four"):
        waveform, shift_s = shift(waveform, rate, chance)
    if kind in ("gain", "all four"):
        waveform = change_gain(waveform, chance)
    if kind in ("noise", "all four"):
        waveform = add_noise(waveform, chance)
    if kind in ("mp3", "all four"):
        waveform = pass_through_codec(waveform, rate, "mp3", bit_rate=64_000)
    return waveform, shift_s


def spectrogram(waveform: np.ndarray, rate: int) -> np.ndarray:
    """(frames, 64), dB, not more than 60 dB below the loudest."""
    import torch

    samples = torch.from_numpy(resample(waveform, rate, SPECTROGRAM_RATE))
    return log_mel(samples, sample_rate=SPECTROGRAM_RATE, hop_length=HOP_LENGTH, top_db=60.0).numpy().T


def correlate(first: np.ndarray, second: np.ndarray, shift_s: float) -> tuple[float, float]:
    """Correlation of two spectrograms, the second later: over all that they share, and over the best second of it."""
    frames = round(shift_s * FRAMES_A_SECOND)
    first, second = first[max(0, -frames) :], second[max(0, frames) :]
    shared = min(len(first), len(second))
    first, second = first[:shared], second[:shared]
    window = min(round(FRAMES_A_SECOND), shared)
    parts = [slice(start, start + window) for start in range(0, shared - window + 1, window // 2)]
    return _pearson(first, second), max(_pearson(first[part], second[part]) for part in parts)


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first - first.mean(dtype=np.float64), second - second.mean(dtype=np.float64)
    return float((first * second).sum() / (np.sqrt((first**2).sum() * (second**2).sum()) + 1e-6))


def find_usual_correlation(pictures: list[np.ndarray], groups: list, seed: int = 0) -> np.ndarray:
    """What 99.9 % of the pairs of two recordings stay below, each at the best of 41 shifts: over all, in a second."""
    chance = np.random.default_rng(seed)
    best = []
    while len(best) < UNRELATED_PAIRS:
        one, other = chance.choice(len(pictures), 2, replace=False)
        if groups[one] != groups[other] or groups[one] is None:
            shifts = np.linspace(-1, 1, 41)
            best.append(np.max([correlate(pictures[one], pictures[other], shift_s) for shift_s in shifts], axis=0))
    return np.quantile(best, 0.999, axis=0)


def plant(sounds: Sounds, copies: int, seed: int) -> list[tuple[int, str, float, np.ndarray]]:
    """(clip, kind, shift, fingerprint) of each copy."""
    chance = np.random.default_rng(seed)
    rows = chance.choice(len(sounds), copies * len(KINDS), replace=False)
    planted = []
    for place, row in enumerate(rows.tolist()):
        waveform, rate = sounds[row]
        changed, shift_s = copy(waveform, rate, KINDS[place // copies], chance)
        planted.append((row, KINDS[place // copies], shift_s, fingerprint(changed, rate)))
    return planted


def tell_recall(planted: list, found: dict[tuple[int, int], Pair], clips: int) -> float:
    """One line a kind; the recall over the four that count."""
    hits: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    similarities: dict[str, list[float]] = {kind: [] for kind in KINDS}
    errors_ms: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number, (row, kind, shift_s, _) in enumerate(planted):
        pair = found.get((row, clips + number))
        hits[kind].append(pair is not None)
        if pair:
            similarities[kind].append(pair.similarity)
            errors_ms[kind].append(1000 * abs(pair.shift_s - shift_s))
    for kind in KINDS:
        least, most = min(similarities[kind], default=0), max(similarities[kind], default=0)
        print(
            f"  {kind:<9} {sum(hits[kind])} of {len(hits[kind])}, similarity {least:.2f} to {most:.2f}, "
            f"shift wrong by at most {max(errors_ms[kind], default=0):.2f} ms"
        )
    return float(np.mean([hit for kind in COUNTED for hit in hits[kind]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--copies", type=int, default=20)
    options = parser.parse_args()
    table = read_clips(options.sounds).table
    names = [f"{label}/{path.rsplit('/', 1)[-1]}" for path, label in zip(table["path"], table["label"], strict=True)]
    groups = table["group"].tolist() if "group" in table else [None] * len(table)
    sounds = [decode(path) for path in table["path"]]
    pictures = [spectrogram(*sound) for sound in sounds]
    usual = find_usual_correlation(pictures, groups)

    began = time.process_time()
    kept = [fingerprint(*sound) for sound in sounds]
    made_s, began = time.process_time() - began, time.process_time()
    find_near_duplicates(kept)
    pairs_s, size_kb = time.process_time() - began, np.mean([one.nbytes for one in kept]) / 1000
    print(
        f"{len(kept)} clips: fingerprints {made_s:.1f} s, {size_kb:.1f} kB each; pairs {pairs_s:.1f} s (processor time)"
    )
    print(
        f"99.9 % of the unrelated pairs: spectrograms correlate by less than {usual[0]:.2f}, best second {usual[1]:.2f}"
    )

    others: dict[tuple[int, int], list[Pair]] = {}
    for seed in options.seeds:
        planted = plant(sounds, options.copies, seed)
        origins = [*range(len(kept)), *(row for row, *_ in planted)]
        found = find_near_duplicates([*kept, *(one for *_, one in planted)])
        print(f"seed {seed}")
        recall = tell_recall(planted, {(pair.first, pair.second): pair for pair in found}, len(kept))
        strangers = [pair for pair in found if origins[pair.first] != origins[pair.second]]
        for pair in strangers:
            one, other = origins[pair.first], origins[pair.second]
            others.setdefault((min(one, other), max(one, other)), []).append(pair)
        print(
            f"  recall {recall:.3f} over the four kinds; {len(strangers)} other pairs, of clips and of copies of clips"
        )

    print("other pairs, each once for the clips themselves (times found over all seeds, copies included):")
    false = np.zeros(2, int)
    for (one, other), pairs in sorted(others.items()):
        pair = next((pair for pair in pairs if pair.second < len(kept)), pairs[0])
        whole, best = correlate(pictures[one], pictures[other], pair.shift_s if pair.second < len(kept) else 0.0)
        same = np.bool_(groups[one] is not None and groups[one] == groups[other])
        false += ~same & (np.array([whole, best]) <= usual)
        print(
            f"  {names[one]} and {names[other]}: similarity {pair.similarity:.2f}, shift {pair.shift_s:+.3f} s, "
            f"spectrograms {whole:.2f} (best second {best:.2f}), {'one source' if same else 'two sources'}, "
            f"found {len(pairs)} times"
        )
    print(f"false pairs: {false[0]} (by the best second {false[1]})")


if __name__ == "__main__":
    main()
