"""What `data augment` writes: the very sounds of training, with the spectrograms the network would get of them."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from earmark.data.clips import build_clips
from earmark.data.waveforms import load_waveforms
from earmark.errors import RecipeError, RunError, SoundError
from earmark.models.front_ends import Encoded
from earmark.training.audition import audition
from earmark.training.augmentation import build_disturbance
from earmark.training.batches import WaveformExamples
from earmark.training.heard import build_view, draw_view
from earmark.training.learners import build_model
from earmark.training.recipe import AugmentSection, Recipe

RATE = 8_000
WINDOW = 4_000  # half a second, the recipe's


@pytest.fixture
def pair(sounds: Path) -> list[Path]:
    return [sounds / "beep" / "beep 00.wav", sounds / "hum" / "hum 00.wav"]


@pytest.fixture
def lively(tiny_cnn: Recipe) -> Recipe:
    noise = {"name": "AddGaussianSNR", "p": 1.0, "min_snr_db": 10.0, "max_snr_db": 10.0}
    return replace(tiny_cnn, augment=replace(tiny_cnn.augment, waveform=(noise,)))


def read(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    return samples


def test_the_versions_are_the_samples_of_training(pair, lively, tmp_path):
    done = audition(pair, lively, out=tmp_path / "out", count=4, seed=3)
    rows = [{"path": str(path), "label": label} for path, label in zip(pair, "ab", strict=True)]
    waveforms = load_waveforms(build_clips(rows), sample_rate=RATE)
    examples = WaveformExamples(waveforms, np.arange(2), window=WINDOW, augment=lively.augment, seed=3)
    assert [path.name for path in done.sounds] == ["original.wav", *(f"version-{n}.wav" for n in (1, 2, 3, 4))]
    assert np.array_equal(read(done.sounds[0]), waveforms.read(0))
    for epoch, path in enumerate(done.sounds[1:]):
        examples.epoch = epoch
        assert np.array_equal(read(path), examples[0]["waveform"])


def test_the_page_holds_every_version_and_asks_nothing_of_a_network(pair, lively, tmp_path):
    odd = tmp_path / "狗 & <b>.wav"
    odd.write_bytes(pair[0].read_bytes())
    done = audition([odd, pair[1]], lively, out=tmp_path / "out", count=3)
    page = done.page.read_text(encoding="utf-8")
    assert done.page == tmp_path / "out" / "index.html"
    assert page.count("<audio ") == 4
    assert page.count("<svg ") == 8
    assert "<h1>狗 &amp; &lt;b&gt;.wav in training</h1>" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "AddGaussianSNR" in unescape(page)
    # Half of the clips are mixed in this recipe; with this seed some of the three are.
    assert re.search(r"\d+% this, \d+% hum 00\.wav; loudest part at −\d", page)


def test_the_same_seed_writes_the_same_sounds_and_another_seed_others(pair, lively, tmp_path):
    folders = [
        audition(pair, lively, out=tmp_path / f"{seed}{n}", count=2, seed=seed) for n, seed in enumerate((1, 1, 2))
    ]
    first, again, other = ([read(path) for path in done.sounds] for done in folders)
    assert np.array_equal(first, again)
    assert np.array_equal(first[0], other[0])
    assert not any(np.array_equal(one, another) for one, another in zip(first[1:], other[1:], strict=True))


def test_one_file_alone_is_not_mixed_and_the_page_says_so(pair, lively, tmp_path):
    done = audition(pair[:1], lively, out=tmp_path / "out", count=4)
    assert done.notes == (
        "Mixing is left out, since it takes a second file: in training 50% of the clips are mixed with another.",
    )
    page = done.page.read_text(encoding="utf-8")
    assert done.notes[0] in page
    assert "% this" not in page


def test_a_recipe_that_changes_nothing_is_refused_in_a_sentence(pair, tiny_quick, tiny_cnn, tmp_path):
    with pytest.raises(RecipeError, match="quick changes nothing in training: the network hears every clip as it is"):
        audition(pair, tiny_quick, out=tmp_path / "out")
    only_mixing = replace(tiny_cnn, augment=AugmentSection(mix=1.0))
    with pytest.raises(RecipeError, match="cnn only mixes clips, which takes two; name at least one file more"):
        audition(pair[:1], only_mixing, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_where_a_file_cannot_be_heard_or_a_folder_is_taken(pair, lively, tmp_path):
    with pytest.raises(SoundError, match=r"no such sound\.wav"):
        audition([pair[0], tmp_path / "no such sound.wav"], lively, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="holds something already"):
        audition(pair, lively, out=tmp_path / "taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine.txt"]


def test_without_a_mel_spectrogram_the_sounds_own_is_drawn(pair, tiny_quick, tmp_path):
    louder = replace(tiny_quick, augment=AugmentSection(gain_db=6.0))
    done = audition(pair[:1], louder, out=tmp_path / "out", count=1)
    assert done.notes == ("The network takes no mel spectrogram; the pictures show the sound's.",)
    original, version = (read(path) for path in done.sounds)
    gain_db = 20 * np.log10(np.abs(version).max() / np.abs(original).max())
    assert 0.01 < abs(gain_db) <= 6.0
    np.testing.assert_allclose(version, original * 10 ** (gain_db / 20), atol=1e-6)


def test_a_model_of_transformers_is_heard_at_its_own_rate(
    pair, tiny_quick, tmp_path, write_native: Callable[..., object]
):
    write_native(tmp_path / "hubert", "hubert")
    native = replace(
        tiny_quick,
        audio=replace(tiny_quick.audio, sample_rate="auto"),
        model=replace(tiny_quick.model, name=str(tmp_path / "hubert")),
        augment=AugmentSection(gain_db=6.0),
    )
    done = audition(pair[:1], native, out=tmp_path / "out", count=1)
    assert soundfile.info(done.sounds[1]).samplerate == 16_000
    assert soundfile.info(done.sounds[1]).frames == 8_000


def test_the_picture_shows_what_the_network_gets(pair, tiny_cnn):
    waveforms = load_waveforms(
        build_clips([{"path": str(path), "label": path.name} for path in pair]), sample_rate=RATE
    )
    clips = [waveforms.read(row) for row in range(2)]
    view = build_view(tiny_cnn, clips, window=WINDOW, sample_rate=RATE)
    model = build_model(tiny_cnn, ("a", "b"), multi_label=False)
    encoded = [model.encode(torch.from_numpy(np.array(clip))[None]) for clip in clips]
    model.standardise.fit(encoded)
    disturb = build_disturbance(tiny_cnn, RATE)
    assert disturb is not None
    state = torch.get_rng_state()
    shown = view.show(clips[0], (5, 1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(int(np.random.SeedSequence((5, 1)).generate_state(1)[0]))
    disturbed = disturb.train()(model.standardise(encoded[0]).features)
    standardised = model.standardise(Encoded(shown[None], encoded[0].frames)).features
    torch.testing.assert_close(standardised, disturbed, atol=1e-4, rtol=0)
    assert (disturbed == 0).any(), "something is hidden"
    torch.testing.assert_close(view.show(clips[0]), encoded[0].features[0], atol=1e-3, rtol=0)
    assert torch.equal(view.show(clips[0], (5, 1)), shown)
    assert not torch.equal(view.show(clips[0], (5, 2)), shown)


def test_a_power_spectrogram_is_drawn_in_decibels_and_hidden_parts_are_silent(pair, tiny_cnn):
    power = replace(
        tiny_cnn,
        augment=replace(tiny_cnn.augment, spectrogram_filter=0.0),
        front_end=replace(tiny_cnn.front_end, decibels=False),
        model=replace(tiny_cnn.model, standardise=False),
    )
    waveform, _ = soundfile.read(pair[0], dtype="float32")
    view = build_view(power, [waveform], window=WINDOW, sample_rate=RATE)
    plain, shown = view.show(waveform), view.show(waveform, (0, 1))
    assert plain.min() > -100
    changed = shown != plain
    assert changed.any()
    assert (shown[changed] == -100).all()
    picture = draw_view(shown, view, duration_s=0.5, highest_db=float(plain.max()))
    for mark in ("0 dB", "−20", "−80", "1 kHz", "0.5 s"):
        assert f">{mark}</text>" in picture


def test_decibels_that_are_counted_twice_get_twice_the_range(pair, tiny_cnn):
    doubled = replace(tiny_cnn, front_end=replace(tiny_cnn.front_end, amplitude_db=True))
    waveform, _ = soundfile.read(pair[0], dtype="float32")
    view = build_view(doubled, [waveform], window=WINDOW, sample_rate=RATE)
    assert ">−160</text>" in draw_view(view.show(waveform), view, duration_s=0.5, highest_db=0.0)


def test_where_only_spectrograms_change_the_reader_is_told(pair, tiny_cnn, tmp_path):
    quiet = replace(tiny_cnn, augment=AugmentSection(mask_mels=4))
    done = audition(pair[:1], quiet, out=tmp_path / "out", count=1)
    assert done.notes == ("This recipe changes spectrograms alone: the sounds are all the same, the pictures are not.",)
    assert np.array_equal(read(done.sounds[0]), read(done.sounds[1]))
