"""What `earmark show` writes: the sheet of a sound as a page to hear and see, or as a picture of its own."""

from __future__ import annotations

import os
import warnings
import wave
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from earmark.errors import SoundError
from earmark.files import replace_whole
from earmark.pages.figure import to_svg
from earmark.pages.layout import render_page, span
from earmark.pages.picture import to_lone_svg, to_picture
from earmark.sound.analysis import AnalysisSettings, SoundAnalysis, analyse_sound
from earmark.sound.decode import SoundInfo, decode, probe
from earmark.sound.sheet import NARROW_PX, WIDE_PX, lay_out_sheet

SUFFIXES = (".html", ".svg", ".png")
LONGEST_S = 60.0  # shown and played unless more is asked for
KEPT_SUFFIX = "-resynthesised.wav"

Progress = Callable[[int, int], None]


class SheetFiles(NamedTuple):
    """What was written."""

    sheet: Path
    resynthesised: Path | None
    notes: tuple[str, ...]
    """What a reader must know: what is shown of a long file, what a damaged one lacks."""


class _Kept(NamedTuple):
    """What the mel spectrogram keeps of a sound."""

    waveform: NDArray[np.float32]
    n_fft: int
    hop_length: int
    n_mels: int
    distance: float


def write_sheet(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    settings: AnalysisSettings | None = None,
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    log_frequency: bool = False,
    resynthesise: bool = False,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> SheetFiles:
    """Write the sheet of a sound file, whole or not at all.

    Args:
        source: The sound file.
        out: ``.html`` is a self-contained page with a player, ``.svg`` and ``.png`` are the bare sheet; ``None`` means
            ``<stem>.html`` in the current folder.
        settings: How to take the sound apart; ``None`` for what suits it.
        start_s: Where the part shown begins, seconds.
        duration_s: Its length, seconds; ``None``: to the end, a minute at most.
        log_frequency: The spectrogram's frequency axis is logarithmic instead of linear.
        resynthesise: Also make the sound anew from its mel spectrogram, and write it beside the sheet as
            ``<stem>-resynthesised.wav``, 16 bit.
        seed: Of the phases that it is made from.
        on_progress: Called with (rounds done, rounds in all) while the sound is made anew.

    Returns:
        The files, and what their reader must know.

    Raises:
        SoundError: the file cannot be read, the part is not in it, or ``out`` ends in something else.
        RecipeError: the settings do not fit each other.

    Example:
        >>> import tempfile
        >>> from earmark.sound.synthesis import write_sounds
        >>> folder = write_sounds(tempfile.mkdtemp() + "/sounds", clips_per_class=1, duration_s=0.5)
        >>> write_sheet(folder / "bell" / "bell_001.wav", folder.parent / "bell.png").sheet.name
        'bell.png'
    """
    source = Path(source)
    out = Path(f"{source.stem}.html") if out is None else Path(out)
    kept_path = out.with_name(f"{out.stem}{KEPT_SUFFIX}")
    _check_targets(source, out, kept_path)
    info = probe(source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        sound = _read(source, settings, start_s, duration_s)
        kept = _make_anew(sound, settings, seed, on_progress) if resynthesise else None
        notes = [*_name_part(info, sound), *_list_messages(caught)]
        content = _draw(out, source, info, sound, kept, kept_path, notes, log_frequency=log_frequency)
    if kept is not None:
        _write_wav(kept_path, kept.waveform, sound.sample_rate)
    with replace_whole(out) as part:
        part.write_bytes(content)
    # To what the page says comes what a picture lacks.
    notes = list(dict.fromkeys([*notes, *_list_messages(caught)]))
    return SheetFiles(out, kept_path if kept is not None else None, tuple(notes))


def _list_messages(caught: list[warnings.WarningMessage]) -> list[str]:
    """What warnings say, each once."""
    return list(dict.fromkeys(str(warning.message) for warning in caught))


def _check_targets(source: Path, out: Path, kept_path: Path) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise SoundError(f"{out} ends in none of {', '.join(SUFFIXES)}: name a page, or a picture, with --out.")
    if source.resolve() in (out.resolve(), kept_path.resolve()):
        raise SoundError(f"{source} would be written over by its own sheet: name another file with --out.")


def _read(source: Path, settings: AnalysisSettings | None, start_s: float, duration_s: float | None) -> SoundAnalysis:
    waveform, sample_rate = decode(source, start_s=start_s, duration_s=LONGEST_S if duration_s is None else duration_s)
    return analyse_sound(waveform, sample_rate, settings, start_s=start_s)


def _name_part(info: SoundInfo, sound: SoundAnalysis) -> list[str]:
    """What is shown of the file, where that is not all of it."""
    end_s = sound.start_s + sound.duration_s
    # What a header says of a compressed file may differ from what there is by some frames.
    if sound.start_s == 0 and end_s > info.duration_s - 0.1:
        return []
    return [f"Shown is the part from {sound.start_s:g} to {end_s:.4g} s of {span(info.duration_s)}."]


def _describe(info: SoundInfo) -> str:
    channels = "1 channel" if info.channels == 1 else f"{info.channels} channels, mixed to one"
    return f"{span(info.duration_s)} · {info.sample_rate:,} Hz · {channels} · {info.container}/{info.codec}"


def _make_anew(
    sound: SoundAnalysis, settings: AnalysisSettings | None, seed: int, on_progress: Progress | None
) -> _Kept:
    import torch

    from earmark.sound.features import mel_spectrogram
    from earmark.sound.resynthesis import resynthesise, spectral_convergence

    asked = settings.hop_length if settings else None
    # A picture of a short sound is made of more frames than features usually have.
    hop_length, n_mels = asked or max(1, sound.n_fft // 4), len(sound.mel_db)
    original = torch.from_numpy(sound.waveform)

    def to_mel(waveform: torch.Tensor) -> torch.Tensor:
        return mel_spectrogram(
            waveform, sample_rate=sound.sample_rate, n_fft=sound.n_fft, hop_length=hop_length, n_mels=n_mels
        )

    mel = to_mel(original)
    again = resynthesise(
        mel,
        sample_rate=sound.sample_rate,
        n_fft=sound.n_fft,
        hop_length=hop_length,
        length=len(original),
        seed=seed,
        on_progress=on_progress,
    )
    return _Kept(again.numpy(), sound.n_fft, hop_length, n_mels, spectral_convergence(to_mel(again), mel))


def _write_wav(path: Path, waveform: NDArray[np.float32], sample_rate: int) -> None:
    """16 bit; scaled down as a whole where it would go beyond full scale."""
    scaled = waveform / max(1.0, float(np.abs(waveform).max()))
    with replace_whole(path) as part, wave.open(str(part), "wb") as file:
        file.setparams((1, 2, sample_rate, 0, "NONE", ""))
        file.writeframes(np.round(scaled * 32767).astype("<i2").tobytes())


def _draw(
    out: Path,
    source: Path,
    info: SoundInfo,
    sound: SoundAnalysis,
    kept: _Kept | None,
    kept_path: Path,
    notes: list[str],
    *,
    log_frequency: bool,
) -> bytes:
    """The content of the file, by its suffix."""
    if out.suffix.lower() == ".html":
        return _render_page(source, info, sound, kept, kept_path, notes, log_frequency=log_frequency).encode("utf-8")
    sheet = lay_out_sheet(sound, log_frequency=log_frequency, title=source.name, subtitle=_describe(info))
    if out.suffix.lower() == ".svg":
        return to_lone_svg(to_svg(*sheet)).encode("utf-8")
    return to_picture(sheet.figure, sheet.rasters)


def _render_page(
    source: Path,
    info: SoundInfo,
    sound: SoundAnalysis,
    kept: _Kept | None,
    kept_path: Path,
    notes: list[str],
    *,
    log_frequency: bool,
) -> str:
    from markupsafe import Markup

    from earmark import __version__
    from earmark.pages.player import encode_sound

    shown = None
    if kept is not None:
        again = encode_sound(kept.waveform, sound.sample_rate, max_s=sound.duration_s)
        shown = {**kept._asdict(), "sound": again, "file": kept_path.name, "address": quote(kept_path.name)}
    wide, narrow = (
        Markup(to_svg(*lay_out_sheet(sound, log_frequency=log_frequency, width_px=width_px)))
        for width_px in (WIDE_PX, NARROW_PX)
    )
    return render_page(
        "sound.html.j2",
        title=source.name,
        version=__version__,
        facts=_describe(info),
        notes=notes,
        original=encode_sound(sound.waveform, sound.sample_rate, max_s=sound.duration_s),
        kept=shown,
        wide=wide,
        narrow=narrow,
    )
