"""One look at every clip: what it measures, what it says of files that are broken, the same from one process or two."""

import numpy as np
import pytest
import soundfile

from earmark.data.clips import build_clips
from earmark.evaluation import examination
from earmark.evaluation.examination import examine, measure_features
from earmark.models.front_ends import build_front_end
from earmark.training.recipe import load_recipe

RATE = 16_000


def noise(seed=0, seconds=0.5, rate=RATE):
    # On the steps of 16 bits, so that every lossless file holds the same.
    return (np.random.default_rng(seed).integers(-16_000, 16_000, round(seconds * rate)) / 32_768).astype(np.float32)


def write(path, samples, rate=RATE, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **how)
    return str(path)


def examine_files(*paths, **columns):
    rows = [{"path": path, "label": "ab"[place % 2]} for place, path in enumerate(paths)]
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return examine(build_clips(rows), workers=1)


def test_the_same_samples_have_one_hash_whatever_the_file(tmp_path):
    samples = noise()
    wav = write(tmp_path / "a.wav", samples)
    flac = write(tmp_path / "a.flac", samples)
    stereo = write(tmp_path / "both.wav", np.stack([samples, samples], axis=1))
    other = write(tmp_path / "b.wav", noise(1))
    slower = write(tmp_path / "slow.wav", samples, RATE // 2)
    found = examine_files(wav, flac, stereo, other, slower)
    assert found[0].pcm_hash == found[1].pcm_hash == found[2].pcm_hash != ""
    assert len({one.pcm_hash for one in found}) == 3
    assert [one.traits.channels for one in found[:3]] == [1, 1, 2]
    assert [one.traits.codec for one in found[:2]] == ["pcm_16", "flac"]
    assert [one.traits.bit_depth for one in found[:2]] == [16, 16]


def test_what_is_broken_is_told_and_the_rest_goes_on(tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    whole = write(tmp_path / "whole.wav", noise())
    cut = tmp_path / "cut.wav"
    cut.write_bytes((tmp_path / "whole.wav").read_bytes()[:-4_000])
    samples = noise()
    samples[7] = np.inf
    broken = write(tmp_path / "broken.wav", samples, subtype="FLOAT")
    silent = write(tmp_path / "silent.wav", np.zeros(RATE))
    found = examine_files(str(text), whole, str(cut), broken, silent)
    assert found[0].traits is None
    assert "is text, not sound" in found[0].fault
    assert [one.fault for one in found[1:]] == [""] * 4
    assert "promises" in found[2].truncated
    assert [one.truncated for one in found[:2]] == ["", ""]
    assert found[3].traits.broken_samples == 1
    assert found[4].traits.constant
    assert [one.features is None for one in found] == [True, False, False, True, True]
    assert [one.fingerprint is None for one in found] == [True, False, False, True, True]
    assert [bool(one.pcm_hash) for one in found] == [False, True, True, False, False]


def test_clips_of_one_file_are_cut_from_one_decoding(tmp_path, monkeypatch):
    samples = noise(seconds=3.0)
    path = write(tmp_path / "long.wav", samples)
    alone = write(tmp_path / "alone.wav", samples[RATE : 2 * RATE])
    decoded = []
    decode_channels = examination.decode_channels
    monkeypatch.setattr(
        examination, "decode_channels", lambda path, **part: decoded.append(path) or decode_channels(path, **part)
    )
    found = examine_files(path, path, alone, start_s=[0.5, 1.0, None], end_s=[1.0, 2.0, None])
    assert decoded == [path, alone]
    assert [one.traits.duration_s for one in found] == [0.5, 1.0, 1.0]
    assert found[1].pcm_hash == found[2].pcm_hash != found[0].pcm_hash


def test_a_clip_beyond_the_end_of_its_file_is_told_and_its_neighbours_are_not(tmp_path):
    path = write(tmp_path / "a.wav", noise(seconds=1.0))
    found = examine_files(path, path, start_s=[0.0, 5.0], end_s=[0.5, 6.0])
    assert found[0].traits.duration_s == 0.5
    assert "ends before 5" in found[1].fault


def test_of_a_very_long_clip_the_first_part_is_examined(tmp_path, monkeypatch):
    monkeypatch.setattr(examination, "LONGEST_S", 1.0)
    found = examine_files(write(tmp_path / "a.wav", noise(seconds=3.0)))
    assert found[0].traits.duration_s == 1.0


def test_features_are_those_that_the_quick_recipe_hears():
    torch = pytest.importorskip("torch")
    waveform = noise(seconds=1.0, rate=32_000)
    front_end = build_front_end(load_recipe("quick").front_end_settings(), 32_000)
    expected = front_end(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)])).features[0]
    assert np.allclose(measure_features(waveform, 32_000), expected.numpy(), atol=1e-4)


def test_worker_processes_find_the_same_in_the_same_order(tmp_path):
    paths = [write(tmp_path / f"{place}.wav", noise(place)) for place in range(9)]
    (tmp_path / "3.wav").write_text("no sound")
    clips = build_clips([{"path": path, "label": "ab"[place % 2]} for place, path in enumerate(paths)])
    done = []
    here = examine(clips, workers=1)
    there = examine(clips, lambda *progress: done.append(progress), workers=2)
    assert [one.pcm_hash for one in there] == [one.pcm_hash for one in here]
    assert [one.traits for one in there] == [one.traits for one in here]
    assert there[3].fault == here[3].fault != ""
    assert all(
        (one.features is None and other.features is None) or np.allclose(one.features, other.features, atol=1e-4)
        for one, other in zip(here, there, strict=True)
    )
    assert done[-1] == (9, 9)
