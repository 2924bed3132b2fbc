"""In what recordings differ from others, trait by trait, in words with figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.evaluation.intervals import LEVEL

Traits = Mapping[str, NDArray[np.floating]]
ScoreTrait = Callable[[NDArray[np.floating], float], tuple[float, float, float]]

QUANTILES = (0.1, 0.5, 0.9)
LEAST_DB = 3.0
LEAST_RATIO = 1.25
LEAST_SHARE = 0.1
LEAST_SPECTRUM_DB = 4.0
_EDGES_HZ = (0, 250, 500, 1000, 2000, 4000, 8000, 16_000)


class Difference(NamedTuple):
    """One trait of two sets of recordings.

    Attributes:
        name: What is compared.
        unit: Of the figures below.
        yours: 10 %, half and 90 % of the recordings in question stay below these.
        reference: So do the training clips.
        auc: How well the trait alone tells the two apart; below 0.5 where yours have less of it.
        low: Lower end of its interval; those of all traits hold together with 95 %.
        high: Upper end.
        differs: By more than chance, and by enough to be heard or seen.
        sentence: In words, whether they differ or not.
    """

    name: str
    unit: str
    yours: tuple[float, ...]
    reference: tuple[float, ...]
    auc: float
    low: float
    high: float
    differs: bool
    sentence: str


def describe_traits(yours: Traits, reference: Traits, score: ScoreTrait, *, least_auc: float) -> list[Difference]:
    """Level, noise floor, bandwidth, duration, sample rate and silence of two sets of recordings.

    Args:
        yours: Trait -> (recordings,), of those in question; see `SoundTraits`.
        reference: Of the training clips.
        score: Gives the AUC of values, yours first and then the reference's, with an interval of this confidence.
        least_auc: An AUC nearer to 0.5 than this is not worth a word.
    """
    level = 1 - (1 - LEVEL) / len(_KINDS)
    found = []
    for name, (trait, unit, tell) in _KINDS.items():
        ours, theirs = yours[trait], reference[trait]
        # Less than a hundredth of the unit is no difference: an encoder pads the last of its frames.
        auc, low, high = score(np.concatenate([ours, theirs]).round(2), level)
        apart = (low > 0.5 and auc > least_auc) or (high < 0.5 and auc < 1 - least_auc)
        differs, sentence = tell(ours, theirs)
        mine, other = (tuple(np.quantile(values, QUANTILES).round(4).tolist()) for values in (ours, theirs))
        found.append(Difference(name, unit, mine, other, auc, low, high, apart and differs, sentence))
    return found


def describe_spectrum(yours: NDArray[np.floating], reference: NDArray[np.floating]) -> str:
    """Where the spectra differ most, each at the same level; blank where it is little.

    Args:
        yours: (recordings, 64), as `SoundSample.spectra`.
        reference: (recordings, 64).
    """
    n_bands = yours.shape[1] // 2
    gap_db = np.median(yours[:, :n_bands], axis=0) - np.median(reference[:, :n_bands], axis=0)
    octave = np.digitize(_band_centres_hz(n_bands), _EDGES_HZ) - 1
    by_octave = {int(place): float(gap_db[octave == place].mean()) for place in np.unique(octave)}
    most = max(by_octave, key=lambda place: abs(by_octave[place]))
    if abs(by_octave[most]) < LEAST_SPECTRUM_DB:
        return ""
    where = f"from {_EDGES_HZ[most]:,} to {_EDGES_HZ[most + 1]:,} Hz" if most else f"below {_EDGES_HZ[1]:,} Hz"
    how = "stronger" if by_octave[most] > 0 else "weaker"
    return (
        f"Their spectrum is another: {where} they are {abs(by_octave[most]):.0f} dB {how} against their mean over all "
        "bands; that can be the room, the microphone, or the sounds themselves."
    )


def word_verdict(auc: float, low: float, high: float) -> str:
    """What the AUC of two sets of recordings means."""
    figure = f"AUC {auc:.2f}, {low:.2f} to {high:.2f}; 0.5 is chance"
    if low <= 0.5:
        return f"A classifier cannot tell your recordings from the training clips ({figure})."
    if low < 0.75:
        return f"A classifier sometimes tells your recordings from the training clips ({figure})."
    return (
        f"A classifier tells your recordings from the training clips ({figure}): expect lower accuracy on them, "
        "and label a few to find out."
    )


def _tell_level(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> tuple[bool, str]:
    return _tell_db("Your recordings are", "", ours, theirs)


def _tell_noise(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> tuple[bool, str]:
    return _tell_db("Their background is", "noise floor: ", ours, theirs)


def _tell_db(subject: str, what: str, ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> tuple[bool, str]:
    mine, other = float(np.median(ours)), float(np.median(theirs))
    medians = f"{what}median {mine:.0f} against {other:.0f} dBFS"
    if abs(mine - other) < LEAST_DB:
        return False, f"{subject} about as loud ({medians})."
    return True, f"{subject} {abs(mine - other):.0f} dB {'louder' if mine > other else 'quieter'} ({medians})."


def _tell_bandwidth(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> tuple[bool, str]:
    mine, other = float(np.median(ours)) / 1000, float(np.median(theirs)) / 1000
    medians = f"median {mine:.1f} against {other:.1f} kHz"
    if max(mine, other) < LEAST_RATIO * min(mine, other):
        return False, f"Their sound goes up to about the same frequency ({medians})."
    return True, f"Their sound ends at a {'higher' if mine > other else 'lower'} frequency ({medians})."


def _tell_duration(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> tuple[bool, str]:
    mine, other = float(np.median(ours)), float(np.median(theirs))
    medians = f"median {mine:.3g} against {other:.3g} s"
    if max(mine, other) < LEAST_RATIO * min(mine, other):
        return False, f"They are about as long ({medians})."
    return True, f"They are {'longer' if mine > other else 'shorter'} ({medians})."


def _tell_rate(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> tuple[bool, str]:
    (mine, count), (other, other_count) = (Counter(values.tolist()).most_common(1)[0] for values in (ours, theirs))
    shares = (
        f"{count / len(ours):.0%} have {mine:,.0f} Hz; {other_count / len(theirs):.0%} of the training clips have "
        f"{other:,.0f} Hz"
    )
    if mine == other:
        return False, f"Most have the same sample rate ({shares})."
    return True, f"Their sample rate is {'higher' if mine > other else 'lower'} ({shares})."


def _tell_silence(ours: NDArray[np.floating], theirs: NDArray[np.floating]) -> tuple[bool, str]:
    mine, other = float(ours.mean()), float(theirs.mean())
    shares = f"{mine:.0%} of their time against {other:.0%}"
    if abs(mine - other) < LEAST_SHARE:
        return False, f"They hold about as much digital silence ({shares})."
    return True, f"They hold {'more' if mine > other else 'less'} digital silence ({shares})."


_KINDS = {
    "level": ("level_db", "dBFS", _tell_level),
    "noise floor": ("noise_floor_db", "dBFS", _tell_noise),
    "bandwidth": ("bandwidth_hz", "Hz", _tell_bandwidth),
    "duration": ("duration_s", "s", _tell_duration),
    "sample rate": ("sample_rate", "Hz", _tell_rate),
    "silence": ("silence_share", "", _tell_silence),
}


def _band_centres_hz(n_bands: int) -> NDArray[np.floating]:
    """Centres of the bands of `SoundSample.spectra`: evenly on Slaney's mel scale up to 16 kHz."""
    from transformers.audio_utils import hertz_to_mel, mel_to_hertz

    top_mel = hertz_to_mel(float(_EDGES_HZ[-1]), mel_scale="slaney")
    return mel_to_hertz((np.arange(n_bands) + 0.5) / n_bands * top_mel, mel_scale="slaney")
