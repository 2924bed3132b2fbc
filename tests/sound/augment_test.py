"""What training does to sound: bounded, repeatable, and nothing at all in evaluation."""

import numpy as np
import pytest
import torch

from earmark.sound.augment import DisturbSpectrogram, change_gain, change_speed, mix_loudness_aware, roll
from earmark.sound.level import measure_level_db
from earmark.sound.synthesis import synthesise

RATIOS = [0.05, 0.25, 0.5, 0.8, 0.95]


def make_noise(seed: int, *, level_db: float, samples: int = 32_768) -> np.ndarray:
    """White noise whose loudest frame lies at exactly ``level_db``."""
    noise = np.random.default_rng(seed).normal(size=samples).astype(np.float32)
    return (noise * 10 ** ((level_db - measure_level_db(noise)) / 20)).astype(np.float32)


def recover_shares(mixed: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How much of each clip a mix holds, by least squares."""
    return np.linalg.lstsq(np.stack([first, second], axis=1).astype(np.float64), mixed, rcond=None)[0]


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("levels_db", [(-20.0, -20.0), (-5.0, -45.0), (-60.0, -12.0)])
def test_mixing_follows_equation_2_of_tokozume(ratio, levels_db):
    first, second = make_noise(0, level_db=levels_db[0]), make_noise(1, level_db=levels_db[1])
    share = 1 / (1 + 10 ** ((levels_db[0] - levels_db[1]) / 20) * (1 - ratio) / ratio)
    expected = np.array([share, 1 - share]) / np.sqrt(share**2 + (1 - share) ** 2)
    shares = recover_shares(mix_loudness_aware(first, second, ratio=ratio), first, second)
    np.testing.assert_allclose(shares, expected, rtol=1e-3)


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_ratio_is_what_is_heard_whatever_the_levels(ratio):
    first, second = make_noise(0, level_db=-3.0), make_noise(1, level_db=-40.0)
    shares = recover_shares(mix_loudness_aware(first, second, ratio=ratio), first, second)
    heard = shares * 10 ** (np.array([measure_level_db(first), measure_level_db(second)]) / 20)
    assert heard[0] / heard.sum() == pytest.approx(ratio, rel=1e-3)


@pytest.mark.parametrize("ratio", RATIOS)
def test_clips_of_one_energy_mix_to_that_energy(ratio):
    first, second = make_noise(0, level_db=-20.0), make_noise(1, level_db=-20.0)
    energy = np.mean(mix_loudness_aware(first, second, ratio=ratio) ** 2)
    # A plain weighted sum would lose up to half of it.
    assert energy == pytest.approx(np.mean(first**2), rel=0.05)


def test_mixing_is_symmetric_and_its_ends_are_the_clips_themselves():
    first = synthesise("bell", seed=0, duration_s=1.0)
    second = synthesise("rain", seed=0, duration_s=1.0)
    mixed = mix_loudness_aware(first, second, ratio=0.3)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, mix_loudness_aware(second, first, ratio=0.7), atol=1e-6)
    assert np.array_equal(mix_loudness_aware(first, second, ratio=1.0), first)
    assert np.array_equal(mix_loudness_aware(first, second, ratio=0.0), second)


def test_silence_can_be_mixed():
    silence, sound = np.zeros(4_096, np.float32), make_noise(0, level_db=-20.0, samples=4_096)
    for pair in ((silence, sound), (sound, silence), (silence, silence)):
        assert np.isfinite(mix_loudness_aware(*pair, ratio=0.5)).all()


def test_the_level_is_the_loudest_frames():
    clip = np.zeros(10 * 1024, np.float32)
    assert measure_level_db(clip) == -100.0
    clip[3 * 1024 : 4 * 1024] = 0.1
    assert measure_level_db(clip) == pytest.approx(-20.0, abs=1e-4)
    # A clip shorter than a frame is measured whole.
    assert measure_level_db(np.full(100, 0.1, np.float32)) == pytest.approx(-20.0, abs=1e-4)


def test_roll_keeps_every_sample_in_its_cyclic_order():
    clip = np.arange(1_000, dtype=np.float32)
    generator = np.random.default_rng(0)
    turns = set()
    for _ in range(20):
        turned = roll(clip, generator)
        turns.add(int(turned[0]))
        assert np.array_equal(np.roll(turned, -int(np.argmin(turned))), clip)
    assert len(turns) > 10


def test_gain_stays_within_its_bounds_and_reaches_for_both():
    generator = np.random.default_rng(0)
    clip = np.ones(4, np.float32)
    gains_db = [20 * np.log10(change_gain(clip, generator, max_db=6.0)) for _ in range(300)]
    assert all(np.ptp(gain) == 0 for gain in gains_db), "one gain for the whole clip"
    first = np.array([gain[0] for gain in gains_db])
    assert np.abs(first).max() <= 6.0 + 1e-4
    assert first.min() < -5.0
    assert first.max() > 5.0
    assert change_gain(clip, generator, max_db=6.0).dtype == np.float32


def test_the_same_generator_gives_the_same_augmentation():
    clip = synthesise("voice", seed=0, duration_s=0.2)
    for augment in (roll, lambda wave, generator: change_gain(wave, generator, max_db=9.0)):
        assert np.array_equal(augment(clip, np.random.default_rng(7)), augment(clip, np.random.default_rng(7)))


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_a_clip_played_faster_is_shorter_and_higher_by_as_much(factor):
    rate, pitch_hz = 16_000, 500
    tone = np.sin(2 * np.pi * pitch_hz * np.arange(rate) / rate).astype(np.float32)
    changed = change_speed(tone, factor)
    assert changed.dtype == np.float32
    assert len(changed) == pytest.approx(rate / factor, abs=1)
    spectrum = np.abs(np.fft.rfft(changed, 4 * rate))
    assert spectrum.argmax() / 4 == pytest.approx(pitch_hz * factor, abs=0.5)


def test_masks_are_stretches_of_bounded_width_anew_for_each_row():
    torch.manual_seed(0)
    mask = DisturbSpectrogram(max_frames=10, max_mels=6).train()
    masked = mask(torch.ones(400, 32, 60))
    hidden = masked == 0
    # A whole column is hidden where a stretch of time is, a whole row where a stretch of bands is.
    times, bands = hidden.all(1), hidden.all(2)
    assert torch.equal(hidden, times[:, None, :] | bands[:, :, None])
    for stretch, longest in ((times, 10), (bands, 6)):
        widths = stretch.sum(1)
        assert set(widths.tolist()) == set(range(longest + 1)), "every width up to the longest, none above"
        edges = stretch.int().diff(dim=1, prepend=torch.zeros(400, 1), append=torch.zeros(400, 1)).abs().sum(1)
        assert set(edges.tolist()) <= {0, 2}, "one stretch, without gaps"
        assert stretch.any(0).all(), "every place can be hidden, the ends too"


def test_masks_touch_nothing_outside_training_and_suit_any_shape():
    mask = DisturbSpectrogram(max_frames=10, max_mels=6)
    spectrogram = torch.randn(3, 32, 60)
    assert torch.equal(mask.eval()(spectrogram), spectrogram)
    kept = mask.train()(spectrogram)
    assert torch.equal(kept[kept != 0], spectrogram[kept != 0])
    # A clip of fewer frames than the longest mask works, and a mask of no width hides nothing.
    assert mask(torch.ones(50, 32, 4)).shape == (50, 32, 4)
    assert torch.equal(DisturbSpectrogram(0, 0).train()(spectrogram), spectrogram)


def test_masks_alone_draw_what_they_always_drew():
    # Figures were published with these draws: first hidden band and how many, first hidden frame and how many.
    torch.manual_seed(7)
    hidden = DisturbSpectrogram(10, 6).train()(torch.ones(4, 32, 60)) == 0
    places = [((6, 3), (16, 4)), ((13, 1), (10, 9)), ((6, 4), (23, 9)), ((18, 4), (19, 6))]
    expected = torch.zeros(4, 32, 60, dtype=torch.bool)
    for row, ((band, bands), (frame, frames)) in enumerate(places):
        expected[row, band : band + bands] = True
        expected[row, :, frame : frame + frames] = True
    assert torch.equal(hidden, expected)
    assert torch.rand(1).item() == pytest.approx(0.720380425), "nothing else was drawn"


def test_half_of_the_spectrograms_get_noise_of_the_deviation_asked_for():
    torch.manual_seed(0)
    spectrogram = torch.randn(400, 32, 60)
    added = DisturbSpectrogram(noise=0.01).train()(spectrogram) - spectrogram
    noisy = (added != 0).flatten(1).any(1)
    assert noisy.float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert added[noisy].std().item() == pytest.approx(0.01, rel=0.01)
    assert added[noisy].mean().item() == pytest.approx(0.0, abs=1e-4)
    assert (added[~noisy] == 0).all()


def test_half_of_the_spectrograms_are_bent_over_the_bands_by_a_broken_line():
    torch.manual_seed(0)
    spectrogram = torch.randn(400, 64, 30)
    added = DisturbSpectrogram(filtering=0.3).train()(spectrogram) - spectrogram
    curve = added[:, :, 0]
    torch.testing.assert_close(added, curve[:, :, None].expand_as(added), rtol=0, atol=1e-6)
    bent = (curve != 0).any(1)
    assert bent.float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert 0.28 < curve.abs().max() <= 0.3
    corners = (curve[bent].diff(n=2, dim=1).abs() > 1e-3).sum(1)
    assert corners.max() <= 2 * 4, "at most six points, four of them inside, each between two bands"


def test_half_of_the_spectrograms_are_multiplied_by_one_factor_each():
    torch.manual_seed(0)
    spectrogram = torch.rand(400, 32, 60) + 0.5
    factors = (DisturbSpectrogram(gain=0.2).train()(spectrogram) / spectrogram).flatten(1)
    assert (factors.amax(1) - factors.amin(1)).max() < 1e-6, "one factor for the whole spectrogram"
    changed = factors[:, 0][(factors[:, 0] - 1).abs() > 1e-6]
    assert len(changed) / 400 == pytest.approx(0.5, abs=0.1)
    assert 0.8 <= changed.min() < 0.82
    assert 1.18 < changed.max() <= 1.2


def test_a_power_spectrogram_is_masked_then_noised_then_amplified_and_never_falls_below_zero():
    torch.manual_seed(0)
    disturb = DisturbSpectrogram(max_frames=20, max_mels=20, noise=0.01, gain=0.2, lowest=0.0).train()
    disturbed = disturb(torch.full((400, 128, 100), 5.0))
    assert disturbed.min() == 0.0
    hidden = disturbed < 2.5
    factors = torch.stack([clip[clip > 2.5].mean() / 5.0 for clip in disturbed])
    assert 0.8 <= factors.min() < 0.82
    assert 1.18 < factors.max() < 1.21
    # The noise lies in the hidden stretch, too, and is amplified with the rest; half of it was below zero.
    rms = torch.tensor([clip[stretch].square().mean().sqrt() for clip, stretch in zip(disturbed, hidden, strict=True)])
    usable = hidden.flatten(1).sum(1) > 300
    noisy = usable & (rms > 0)
    assert noisy.sum() / usable.sum() == pytest.approx(0.5, abs=0.1)
    torch.testing.assert_close(
        (rms / factors)[noisy], torch.full((int(noisy.sum()),), 0.01 * 0.5**0.5), rtol=0.15, atol=0
    )
    assert DisturbSpectrogram(noise=0.01).train()(torch.zeros(50, 8, 8)).min() < 0, "decibels may fall"


def test_the_disturbance_rests_outside_training_and_follows_torchs_seed():
    disturb = DisturbSpectrogram(5, 5, noise=0.1, gain=0.2, lowest=0.0)
    spectrogram = torch.randn(20, 16, 30)
    assert torch.equal(disturb.eval()(spectrogram), spectrogram)
    disturb.train()
    versions = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        versions.append(disturb(spectrogram))
    assert torch.equal(versions[0], versions[1])
    assert not torch.equal(versions[0], versions[2])
    assert disturb(spectrogram.bfloat16()).dtype == torch.bfloat16
