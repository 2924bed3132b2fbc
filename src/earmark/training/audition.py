"""What `earmark data augment` does: a clip as training hears it, time after time, to listen to and to look at."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from earmark.data.clips import build_clips
from earmark.data.store import Store
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import RecipeError, RunError, SoundError
from earmark.files import replace_whole, write_text_whole
from earmark.progress import show_progress
from earmark.sound.level import measure_level_db
from earmark.training.augmentation import check_disturbance
from earmark.training.batches import WaveformExamples
from earmark.training.build import LONGEST_WHOLE_S, fit_window, settle_rate
from earmark.training.heard import NetworkView, build_view, draw_view
from earmark.training.recipe import Recipe, load_recipe, to_tables

if TYPE_CHECKING:
    from markupsafe import Markup

    from earmark.pages.player import PlayableSound

PAGE = "index.html"
ORIGINAL = "original.wav"


@dataclass(frozen=True)
class Audition:
    """What was written.

    Args:
        folder: Holds ``index.html``, ``original.wav``, ``version-1.wav``…
        page: One file that opens from disk: all of them to hear and to see.
        sounds: The WAV files, the original first.
        notes: What a reader must know.
    """

    folder: Path
    page: Path
    sounds: tuple[Path, ...]
    notes: tuple[str, ...]


class Version(NamedTuple):
    """A sound as the page shows it, and as its file holds it."""

    title: str
    remark: str
    name: str
    waveform: Markup
    spectrogram: Markup
    sound: PlayableSound
    samples: np.ndarray
    place: str = ""
    fault: str | None = None


def audition(
    files: Sequence[str | Path],
    recipe: str | Recipe = "cnn",
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    count: int = 5,
    seed: int | None = None,
) -> Audition:
    """Write a clip as it is and as training would hear it in ``count`` epochs: sounds, and a page with pictures.

    The augmentation is the training's own, drawn as there from (seed, epoch, clip).

    Args:
        files: The sound to listen to; what follows it is only there to be mixed with it.
        recipe: A recipe's name, the path of a TOML file, or a `Recipe`.
        out: The directory; ``augmented/<time>-<recipe>`` if not given.
        overrides: ``"section.key=value"``, as ``--set`` takes them.
        count: How many versions.
        seed: Decides all that is random; the recipe's own if not given.

    Raises:
        RecipeError: the recipe augments nothing, or does not hold together.
        SoundError: a file that cannot be read.
        RunError: ``out`` exists already.

    Example:
        >>> audition(["dog.wav", "rain.wav"], "cnn").page        # doctest: +SKIP
        PosixPath('augmented/20260102-150405-cnn/index.html')
    """
    recipe = load_recipe(recipe, overrides)
    seed = recipe.train.seed if seed is None else seed
    paths = list(dict.fromkeys(str(Path(file).absolute()) for file in files))
    folder = _choose_folder(out, recipe.name)
    check_disturbance(recipe)
    recipe, notes = _leave_out_mixing(recipe, len(paths))
    waveforms, recipe = _hear(paths, recipe)
    notes += waveforms.remarks
    versions = _make_versions(waveforms, recipe, count=count, seed=seed)
    if not _takes_mel(recipe):
        notes.append("The network takes no mel spectrogram; the pictures show the sound's.")
    augment = recipe.augment
    if not (augment.mix or augment.roll or augment.speed or augment.gain_db or augment.waveform):
        notes.append("This recipe changes spectrograms alone: the sounds are all the same, the pictures are not.")
    page = _render(versions, recipe, Path(paths[0]).name, notes, seed=seed)
    sounds = [_write_wav(folder / version.name, version.samples, waveforms.store.sample_rate) for version in versions]
    return Audition(folder, write_text_whole(folder / PAGE, page), tuple(sounds), tuple(notes))


def _takes_mel(recipe: Recipe) -> bool:
    return not recipe.brings_features and recipe.front_end.kind == "log_mel"


def _choose_folder(out: str | Path | None, name: str) -> Path:
    folder = Path(out) if out is not None else Path("augmented") / f"{datetime.now():%Y%m%d-%H%M%S}-{name}"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder} holds something already. Choose another --out.")
    return folder


def _leave_out_mixing(recipe: Recipe, files: int) -> tuple[Recipe, list[str]]:
    """The recipe as far as it can be heard in so many files, and what had to be left out."""
    if not recipe.augments:
        raise RecipeError(
            f"{recipe.name} changes nothing in training: the network hears every clip as it is. Choose a recipe that "
            "augments, or try one change with --set augment.gain_db=6."
        )
    if recipe.augment.mix == 0 or files > 1:
        return recipe, []
    alone = replace(recipe, augment=replace(recipe.augment, mix=0.0))
    if not alone.augments:
        raise RecipeError(f"{recipe.name} only mixes clips, which takes two; name at least one file more.")
    share = f"{recipe.augment.mix:.0%} of the clips are" if recipe.augment.mix < 1 else "every clip is"
    return alone, [f"Mixing is left out, since it takes a second file: in training {share} mixed with another."]


def _hear(paths: list[str], recipe: Recipe) -> tuple[ClipWaveforms, Recipe]:
    """The files as training reads them, each a class of its own, and the recipe with rate and window settled."""
    began = time.perf_counter()
    clips = build_clips([{"path": path, "label": f"{number:06d}"} for number, path in enumerate(paths)])
    recipe = settle_rate(recipe, clips)
    assert isinstance(recipe.audio.sample_rate, int)
    store = Store(recipe.audio.sample_rate)
    with show_progress("Decoding") as advance:
        preparation = store.prepare(paths, on_progress=advance)
    for path in paths:
        if path in preparation.failures:
            raise SoundError(preparation.failures[path])
    waveforms = ClipWaveforms(
        clips=clips,
        store=store,
        places=[preparation.stored[path] for path in paths],
        content_keys=[preparation.keys[path] for path in paths],
        left_out=[],
        remarks=list(preparation.remarks.values()),
        decoded=preparation.decoded,
        decode_s=time.perf_counter() - began,
    )
    return waveforms, fit_window(recipe, waveforms)


def _count_window(recipe: Recipe, sample_rate: int) -> int:
    """The longest stretch that the network hears at once, samples; a model of Transformers says it itself."""
    window_s = recipe.audio.window_s
    if not recipe.brings_features:
        assert not isinstance(window_s, str)
        return round(window_s * sample_rate)
    from earmark.models.pretrained import load_pretrained_audio

    longest = load_pretrained_audio(recipe.model.name, ("a", "b"), multi_label=False, tuning=recipe.model.tuning).window
    return longest if isinstance(window_s, str) else min(longest, round(window_s * sample_rate))


def _make_versions(waveforms: ClipWaveforms, recipe: Recipe, *, count: int, seed: int) -> list[Version]:
    """The first clip as it is, then as it is heard in one epoch after another."""
    sample_rate = waveforms.store.sample_rate
    window = _count_window(recipe, sample_rate)
    clips = [waveforms.read(row, 0, window) for row in range(len(waveforms))]
    view = build_view(recipe, clips, window=window, sample_rate=sample_rate) if _takes_mel(recipe) else None
    examples = WaveformExamples(waveforms, np.arange(len(waveforms)), window=window, augment=recipe.augment, seed=seed)
    names = [Path(path).name for path in waveforms.clips.table["path"]]
    original = np.array(waveforms.read(0, 0, max(window, round(LONGEST_WHOLE_S * sample_rate))))
    painter = _Painter(view, 0.0 if view is None else float(view.show(original).max()), sample_rate)
    versions = [painter.draw("As it is", _tell(original), ORIGINAL, original)]
    with show_progress("Changing the sound", "versions") as advance:
        for epoch in range(count):
            examples.epoch = epoch
            example = examples[0]
            samples = np.array(example["waveform"], dtype=np.float32)
            remark = _tell(samples, _tell_mix(example["target"], names))
            title = f"Version {epoch + 1}"
            versions.append(painter.draw(title, remark, f"version-{epoch + 1}.wav", samples, (seed, epoch)))
            advance(epoch + 1, count)
    return versions


@dataclass(frozen=True)
class _Painter:
    """Draws versions of one sound alike: the same colours for the same decibels."""

    view: NetworkView | None
    highest_db: float
    sample_rate: int

    def draw(
        self, title: str, remark: str, name: str, samples: np.ndarray, place: tuple[int, int] | None = None
    ) -> Version:
        """A version with its pictures; its spectrogram is disturbed if there is a (seed, epoch) to do it by."""
        from markupsafe import Markup

        from earmark.pages.player import cut, encode_sound
        from earmark.sound.figures import draw_waveform

        envelope = draw_waveform(cut(samples, self.sample_rate), self.sample_rate)
        picture = self._draw_spectrogram(samples, place)
        sound = encode_sound(samples, self.sample_rate)
        return Version(title, remark, name, Markup(envelope), Markup(picture), sound, samples)

    def _draw_spectrogram(self, samples: np.ndarray, place: tuple[int, int] | None) -> str:
        from earmark.pages.player import MAX_S, cut
        from earmark.sound.figures import draw_mel_spectrogram

        if self.view is None:
            return draw_mel_spectrogram(cut(samples, self.sample_rate), self.sample_rate)
        frames = 1 + round(MAX_S * self.sample_rate) // self.view.front_end.config.hop_length
        return draw_view(
            self.view.show(samples, place)[:, :frames],
            self.view,
            duration_s=len(cut(samples, self.sample_rate)) / self.sample_rate,
            highest_db=self.highest_db,
        )


def _tell(samples: np.ndarray, mix: str = "") -> str:
    level_db = f"{measure_level_db(samples):.1f}".replace("-", "−")
    return f"{mix}loudest part at {level_db} dB of full scale"


def _tell_mix(target: np.ndarray, names: list[str]) -> str:
    """How much of which clip a version holds, by the target that it would have in training."""
    first = float(target[0])
    if first >= 1.0:
        return ""
    other = 1 + int(np.argmax(target[1:]))
    return f"{first:.0%} this, {1 - first:.0%} {names[other]}; "


def _render(versions: list[Version], recipe: Recipe, name: str, notes: list[str], *, seed: int) -> str:
    import tomli_w

    from earmark import __version__
    from earmark.pages.layout import render_page

    augment = {key: value for key, value in to_tables(recipe)["augment"].items() if value}
    return render_page(
        "audition.html.j2",
        title=f"{name} in training",
        version=__version__,
        recipe=recipe,
        augment=tomli_w.dumps({"augment": augment}),
        hides=_takes_mel(recipe) and recipe.model.standardise and bool(augment.keys() & {"mask_time_s", "mask_mels"}),
        sample_rate=recipe.audio.sample_rate,
        seed=seed,
        versions=versions,
        notes=notes,
    )


def _write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> Path:
    """Every sample as it is, also beyond full scale: 32-bit float."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="WAV", subtype="FLOAT")
    with replace_whole(path) as part:
        part.write_bytes(file.getvalue())
    return path
