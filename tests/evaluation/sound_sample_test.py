"""A sample of recordings in numbers: what it holds, and that it survives being packed."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.data.clips import build_clips
from earmark.errors import ModelError
from earmark.evaluation import sound_sample
from earmark.evaluation.sound_sample import pack_sample, sample_clips, sample_files, unpack_sample


def write(path: Path, *, seconds: float = 0.5, rate: int = 8000, gain: float = 0.1, seed: int = 0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    soundfile.write(path, gain * noise, rate, subtype="PCM_24")
    return str(path)


def test_each_clip_is_heard_at_its_own_rate_and_cut_to_its_times(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.wav", seconds=2.0), write(tmp_path / "b.wav", rate=22_050)]
    rows = [
        {"path": paths[0], "label": "x", "start_s": 0.5, "end_s": 1.25, "group": "g"},
        {"path": paths[1], "label": "y"},
        {"path": paths[0], "label": "x", "start_s": 1.5, "group": "g"},
    ]
    sample = sample_clips(build_clips(rows))
    assert sample.traits["duration_s"].tolist() == [0.75, 0.5, 0.5]
    assert sample.traits["sample_rate"].tolist() == [8000, 22_050, 8000]
    assert sample.units[0] == sample.units[2] != sample.units[1]
    assert sample_clips(build_clips(rows), rows=[1]).traits["sample_rate"].tolist() == [22_050]


def test_spectra_do_not_tell_the_level(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{gain}.wav", gain=gain) for gain in (0.1, 0.001)]
    loud, quiet = sample_files(paths).spectra
    np.testing.assert_allclose(loud, quiet, atol=0.2)


def test_many_are_drawn_from_and_the_rest_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_sample, "MOST_RECORDINGS", 4)
    paths = [write(tmp_path / f"{name}.wav", seconds=0.1 * (place + 1)) for place, name in enumerate("abcdefgh")]
    sample = sample_files(paths)
    assert (len(sample), sample.total) == (4, 8)
    assert (np.diff(sample.traits["duration_s"]) > 0).all(), "in their order"
    assert sample_files(paths, seed=1).traits["duration_s"].tolist() != sample.traits["duration_s"].tolist()


def test_a_long_recording_keeps_its_duration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_sample, "LONGEST_S", 1.0)
    assert sample_files([write(tmp_path / "long.wav", seconds=3.0)]).traits["duration_s"].tolist() == [3.0]


def test_what_cannot_be_heard_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "nan.wav", np.full(800, np.nan), 8000, subtype="FLOAT")
    sample = sample_files([str(tmp_path / "text.wav"), write(tmp_path / "a.wav"), str(tmp_path / "nan.wav")])
    assert len(sample) == 1
    assert [Path(path).name for path, _ in sample.unreadable] == ["text.wav", "nan.wav"]
    assert "NaN" in sample.unreadable[1][1]


def test_packed_and_unpacked_it_is_the_same_to_the_rounding_and_small(tmp_path: Path) -> None:
    rates = (8000, 96_000, 11_025)
    sample = sample_files([write(tmp_path / f"{rate}.wav", rate=rate, seed=rate) for rate in rates])
    text = json.dumps(pack_sample(sample))
    back = unpack_sample(json.loads(text), "the model")
    for name, values in sample.traits.items():
        np.testing.assert_allclose(back.traits[name], values, rtol=1e-6)
    np.testing.assert_allclose(back.spectra, sample.spectra, rtol=1e-3, atol=1e-3)
    assert (back.units.tolist(), back.total) == (sample.units.tolist(), 3)
    assert str(tmp_path) not in text
    assert len(text) < 3000


def test_a_damaged_memory_is_a_sentence(tmp_path: Path) -> None:
    packed = pack_sample(sample_files([write(tmp_path / "a.wav")]))
    for damage in ({"units_i4": "!"}, {"spectra_f2": packed["traits_f4"]}, {"names": ["duration_s"]}):
        with pytest.raises(ModelError, match=r"my model remembers .* damaged"):
            unpack_sample(packed | damage, "my model")
