"""Changes to a waveform in training, by the names they have in audiomentations: noise, rooms, codecs, pitch, speed…

A closed set of names: a recipe can choose among the changes and set their arguments, never import anything.
"""

import difflib
import importlib.util
import inspect
import linecache
import random
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from earmark.errors import RecipeError

CHANGES = (
    "AddBackgroundNoise",
    "AddColorNoise",
    "AddGaussianNoise",
    "AddGaussianSNR",
    "AirAbsorption",
    "Aliasing",
    "ApplyImpulseResponse",
    "BandPassFilter",
    "BandStopFilter",
    "BitCrush",
    "ClippingDistortion",
    "Gain",
    "GainTransition",
    "HighPassFilter",
    "HighShelfFilter",
    "Limiter",
    "LowPassFilter",
    "LowShelfFilter",
    "Mp3Compression",
    "PeakingFilter",
    "PitchShift",
    "PolarityInversion",
    "Resample",
    "Reverse",
    "RoomSimulator",
    "SevenBandParametricEQ",
    "Shift",
    "TanhDistortion",
    "TimeMask",
    "TimeStretch",
)
# What audiomentations itself leaves to be installed: the package to import, and its name in the registry.
_COMPANIONS = {
    "Limiter": ("numpy_audio_limiter", "numpy-audio-limiter"),
    "Mp3Compression": ("fast_mp3_augment", "fast-mp3-augment"),
    "RoomSimulator": ("pyroomacoustics", "pyroomacoustics"),
}
_FOLDERS = {"AddBackgroundNoise": "sounds_path", "ApplyImpulseResponse": "ir_path"}
# The length is always kept here, code cannot stand in a recipe, and the other MP3 encoders are deprecated.
_NOT_FOR_RECIPES = {"kwargs", "leave_length_unchanged", "noise_transform", "lru_cache_size", "backend"}
_SHORTEST_S = 0.11  # some changes refuse less than a tenth of a second
_TRIAL_RATE = 32_000
# `random` and `np.random` belong to the whole process; two threads must not seed them at once.
_seeding = threading.Lock()


class WaveformChanges:
    """A chain of audiomentations' changes, each made with its own probability; made by `build_changes`.

    Goes through pickle as the tables it was made from, so that spawned workers can have it.

    Args:
        tables: ``{"name": …, "p": …, …}``, one a change, in order.
    """

    def __init__(self, tables: Sequence[dict[str, Any]]) -> None:
        self.tables = tuple(dict(_checked(table)) for table in tables)
        self._changes = [(table["name"], _build_change(table)) for table in self.tables]

    def __reduce__(self) -> tuple[Any, ...]:
        return WaveformChanges, (self.tables,)

    def __call__(self, waveform: np.ndarray, sample_rate: int, generator: np.random.Generator) -> np.ndarray:
        """The waveform, changed; as long as it was.

        What a change makes longer is cut at the end, what it makes shorter is filled up with zeros. A clip of less
        than a tenth of a second is changed with zeros behind it. A change whose result is not finite is left out.

        audiomentations draws from the global ``random`` and ``np.random``. Both are seeded from ``generator`` for the
        call and put back afterwards; calls from several threads wait for each other, but another thread that draws
        from the global generators meanwhile would disturb the draws. Worker processes cannot.

        Args:
            waveform: (samples,), float32, mono; left as it is, may be read-only.
            sample_rate: Hz.
            generator: One number is drawn from it, whatever the changes are.

        Returns:
            (samples,), float32.

        Raises:
            RecipeError: a change cannot be made at this sample rate, or a file of background sound cannot be read.
        """
        seed = int(generator.integers(2**32))
        if len(waveform) == 0:
            return waveform
        needed = int(np.ceil(_SHORTEST_S * sample_rate))
        changed = _fit_length(np.array(waveform, dtype=np.float32), max(len(waveform), needed))
        with _seeding, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            states = random.getstate(), np.random.get_state()
            self._seed(seed)
            try:
                for name, change in self._changes:
                    changed = _make_change(name, change, changed, sample_rate)
            finally:
                random.setstate(states[0])
                np.random.set_state(states[1])
        return changed[: len(waveform)]

    def _seed(self, seed: int) -> None:
        random.seed(seed)
        np.random.seed(seed)
        if any(name == "RoomSimulator" for name, _ in self._changes):
            import pyroomacoustics

            # Its rays are drawn from a generator of its own.
            pyroomacoustics.random.seed(seed)


def build_changes(tables: Sequence[dict[str, Any]]) -> WaveformChanges:
    """Changes by their names in audiomentations, in the order in which they are made.

    Each is tried once on noise, so that what cannot work is refused before anything is trained. ``Resample`` does not
    tell anybody the new rate: it plays a clip faster or slower. ``AddBackgroundNoise`` (``sounds_path``) and
    ``ApplyImpulseResponse`` (``ir_path``) take a sound file, a folder, or a list of them.

    Args:
        tables: One a change: ``name``, one of `CHANGES`; ``p``, the probability that a clip is changed (0.5 if not
            given); and the class's own arguments.

    Returns:
        ``changes(waveform, sample_rate, generator)``.

    Raises:
        RecipeError: an unknown name or argument (the nearest is named), a value that the class refuses (with its
            reason), a package that is not installed.

    Example:
        >>> changes = build_changes([{"name": "Gain", "p": 1.0, "min_gain_db": -6.0, "max_gain_db": -6.0}])
        >>> changes(np.ones(3, dtype=np.float32), 16_000, np.random.default_rng(0)).round(3)
        array([0.501, 0.501, 0.501], dtype=float32)

    Source:
        Jordal et al., audiomentations, https://github.com/iver56/audiomentations.
    """
    changes = WaveformChanges(tables)
    noise = np.random.default_rng(0).normal(scale=0.1, size=_TRIAL_RATE // 2).astype(np.float32)
    for table in changes.tables:
        WaveformChanges([{**table, "p": 1.0}])(noise, _TRIAL_RATE, np.random.default_rng(0))
    return changes


def _checked(table: Any) -> dict[str, Any]:
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise RecipeError(
            f"augment.waveform holds {table!r}, which names no change; write a table such as "
            '{name = "AddGaussianSNR", p = 0.5}.'
        )
    name = table["name"]
    if name not in CHANGES:
        advice = _nearest(name.rpartition(".")[2], CHANGES) or f" There are: {', '.join(CHANGES)}."
        raise RecipeError(f"There is no waveform change {name!r}.{advice}")
    return table


def _build_change(table: dict[str, Any]) -> Callable[..., np.ndarray]:
    name = table["name"]
    if importlib.util.find_spec("audiomentations") is None:
        raise RecipeError(f'The waveform change {name} needs audiomentations: pip install "earmark[augment]".')
    module, package = _COMPANIONS.get(name, (None, ""))
    if module and importlib.util.find_spec(module) is None:
        raise RecipeError(f"The waveform change {name} needs the package {package}: pip install {package}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import audiomentations

    change_class = getattr(audiomentations, name)
    arguments = {key: value for key, value in table.items() if key != "name"}
    _check_arguments(name, arguments, list(inspect.signature(change_class).parameters))
    if name in _FOLDERS:
        arguments[_FOLDERS[name]] = _find_sounds(name, arguments.get(_FOLDERS[name]))
    try:
        return change_class(**arguments)
    except Exception as error:
        settings = ", ".join(f"{key} = {value!r}" for key, value in table.items() if key != "name")
        raise RecipeError(f"{name} cannot be made with {settings}: {_tell_reason(error)}.") from error


def _check_arguments(name: str, arguments: Iterable[str], known: list[str]) -> None:
    known = [key for key in known if key not in _NOT_FOR_RECIPES]
    for key in arguments:
        if key not in known:
            raise RecipeError(f"{name} has no argument {key!r}.{_nearest(key, known)} It takes {', '.join(known)}.")


def _find_sounds(name: str, value: Any) -> list[str]:
    """All sound files of the folders and files that ``value`` names, in an order that no file system changes."""
    from earmark.sound.decode import AUDIO_SUFFIXES

    argument = _FOLDERS[name]
    places = [value] if isinstance(value, str) else value
    if not isinstance(places, list | tuple) or not places or not all(isinstance(place, str) for place in places):
        raise RecipeError(f'{name} needs {argument}: a folder of sounds, such as {argument} = "noises".')
    files: list[str] = []
    for place in map(Path, places):
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        found = [str(file) for file in inside if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file()]
        if not found:
            raise RecipeError(f"{name}: there is no sound in {argument} = {str(place)!r}; name a folder of sounds.")
        files += found
    return files


def _make_change(name: str, change: Callable[..., np.ndarray], waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    try:
        changed = change(waveform.copy(), sample_rate)
    except Exception as error:
        reason = f"{_tell_file(change)}{_tell_reason(error)}"
        raise RecipeError(
            f"{name} cannot be made on a clip at {sample_rate} Hz ({reason}); change its arguments or leave it out of "
            "augment.waveform."
        ) from error
    changed = np.asarray(changed, dtype=np.float32)
    return _fit_length(changed, len(waveform)) if np.isfinite(changed).all() else waveform


def _tell_file(change: Any) -> str:
    """The file of background sound that a change was about to read, if it is such a change."""
    files = (str(value) for key, value in change.parameters.items() if key.endswith("file_path"))
    return "".join(f"{file}: " for file in files)


def _fit_length(waveform: np.ndarray, length: int) -> np.ndarray:
    if len(waveform) >= length:
        return waveform[:length]
    return np.pad(waveform, (0, length - len(waveform)))


def _nearest(word: str, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.5)
    return f" Did you mean {by_lower[near[0]]}?" if near else ""


def _tell_reason(error: Exception) -> str:
    """What the library says of it, in one line; of an assertion without words, what was asserted."""
    said = " ".join(str(error).split()).rstrip(".")
    if said or not isinstance(error, AssertionError):
        return said or type(error).__name__
    place = traceback.extract_tb(error.__traceback__)[-1]
    lines = (linecache.getline(place.filename, number) for number in range(place.lineno or 0, _last_line(place) + 1))
    asserted = " ".join(" ".join(lines).split()).removeprefix("assert ")
    return f"it wants {asserted}" if asserted else "it refuses these values"


def _last_line(place: traceback.FrameSummary) -> int:
    return place.end_lineno or place.lineno or 0
