"""Front ends inside a model: padding counts nowhere, they export, and standardisation is what NumPy says."""

import numpy as np
import pytest
import torch

from earmark.errors import RecipeError
from earmark.models.front_ends import (
    Encoded,
    LogMelConfig,
    MelStatisticsConfig,
    MfccMeanConfig,
    Standardise,
    build_front_end,
    count_frames,
    describe_front_end,
    mark_frames,
    parse_front_end,
)
from earmark.sound.features import log_mel, mel_spectrogram, mfcc
from earmark.sound.statistics import mel_statistics
from earmark.sound.synthesis import synthesise

RATE = 16_000
FRONT_ENDS = [
    {"kind": "log_mel"},
    {"kind": "log_mel", "reference": "max", "top_db": 60.0, "hop_length": 160, "n_fft": 400, "n_mels": 40},
    {"kind": "log_mel", "decibels": False, "power": 1.0, "mel_scale": "htk"},
    {"kind": "mel_statistics"},
    {"kind": "mel_statistics", "range_db": 30.0, "n_mels": 24},
    {"kind": "mfcc_mean"},
    {"kind": "mfcc_mean", "n_mfcc": 13, "top_db": None, "n_mels": 40},
]


def make_clips(*durations_s: float) -> list[torch.Tensor]:
    names = ("siren", "rain", "drums", "voice")
    return [
        torch.from_numpy(synthesise(names[i % 4], seed=i, duration_s=duration_s, sample_rate=RATE))
        for i, duration_s in enumerate(durations_s)
    ]


def pad_together(clips: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(clip) for clip in clips])
    return torch.nn.utils.rnn.pad_sequence(clips, batch_first=True), lengths


def own_part(encoded: Encoded, row: int) -> torch.Tensor:
    """What of a row is sound."""
    features = encoded.features[row]
    return features[:, : encoded.frames[row]] if features.ndim == 2 else features


@pytest.mark.parametrize("settings", FRONT_ENDS)
def test_a_clip_gets_the_same_features_alone_and_padded(settings):
    front_end = build_front_end(settings, RATE)
    clips = make_clips(0.3, 1.0, 0.51, 0.07)
    # A click on the last sample: the first frame of padding sees it better than the clip's own last frame does.
    click = torch.zeros(20 * 512 - 1)
    click[-1] = 1.0
    clips.append(click)
    together = front_end(*pad_together(clips))
    for row, clip in enumerate(clips):
        alone = front_end(clip[None], torch.tensor([len(clip)]))
        torch.testing.assert_close(own_part(together, row), own_part(alone, 0), rtol=1e-5, atol=1e-3)


def test_log_mel_is_the_function_of_that_name():
    (clip,) = make_clips(0.8)
    encoded = build_front_end({"kind": "log_mel", "n_mels": 40, "top_db": 70.0}, RATE)(
        clip[None], torch.tensor([12_800])
    )
    torch.testing.assert_close(encoded.features[0], log_mel(clip, sample_rate=RATE, n_mels=40, top_db=70.0))
    assert encoded.frames.tolist() == [1 + 12_800 // 512]


def test_mfcc_mean_is_the_mean_of_the_mfccs():
    (clip,) = make_clips(0.8)
    encoded = build_front_end({"kind": "mfcc_mean", "n_mfcc": 20}, RATE)(clip[None], torch.tensor([len(clip)]))
    expected = mfcc(clip, sample_rate=RATE, n_mfcc=20).mean(-1)
    torch.testing.assert_close(encoded.features[0], expected, rtol=1e-5, atol=1e-3)


def test_mel_statistics_are_those_of_the_mel_spectrogram():
    (clip,) = make_clips(0.8)
    encoded = build_front_end({"kind": "mel_statistics", "n_mels": 32}, RATE)(clip[None], torch.tensor([len(clip)]))
    mel = mel_spectrogram(clip[None], sample_rate=RATE, n_mels=32)
    valid = torch.ones(1, mel.shape[-1], dtype=torch.bool)
    torch.testing.assert_close(encoded.features, mel_statistics(mel, valid))


@pytest.mark.parametrize("settings", FRONT_ENDS)
def test_size_is_what_comes_out(settings):
    front_end = build_front_end(settings, RATE)
    encoded = front_end(torch.zeros(2, 4_000), torch.tensor([4_000, 1]))
    assert encoded.features.shape[1] == front_end.size
    assert encoded.features.ndim == (3 if front_end.over_time else 2)
    assert torch.isfinite(encoded.features).all()


@pytest.mark.parametrize("kind", ["log_mel", "mfcc_mean", "mel_statistics"])
def test_an_exported_front_end_takes_any_batch_and_length_and_gives_the_same(kind):
    front_end = build_front_end({"kind": kind}, RATE).eval()
    dynamic = {"waveform": {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}, "lengths": {0: torch.export.Dim.AUTO}}
    example = pad_together(make_clips(1.0, 0.6))
    exported = torch.export.export(front_end, example, dynamic_shapes=dynamic).module()
    for durations_s in ((0.7, 1.3, 0.4), (2.0, 1.0), (0.5, 0.9, 0.6, 0.8, 0.7)):
        batch = pad_together(make_clips(*durations_s))
        expected, given = front_end(*batch), exported(*batch)
        torch.testing.assert_close(given[0], expected.features, rtol=1e-5, atol=1e-3)
        assert torch.equal(given[1], expected.frames)


def test_frames_are_counted_as_the_spectrogram_makes_them():
    for samples in (1, 511, 512, 513, 5_120):
        assert (
            count_frames(torch.tensor([samples]), 512).item()
            == log_mel(torch.zeros(samples), sample_rate=RATE).shape[1]
        )
    assert mark_frames(torch.tensor([1, 3]), 3).tolist() == [[True, False, False], [True, True, True]]


def test_standardise_takes_mean_and_deviation_from_valid_frames_only():
    generator = np.random.default_rng(0)
    batches, heard = [], []
    for rows, frames in ((3, 20), (5, 11), (1, 7)):
        features = generator.normal(-40, 15, size=(rows, 6, frames)).astype(np.float32)
        counts = generator.integers(1, frames + 1, size=rows)
        for row, count in enumerate(counts):
            heard.append(features[row, :, :count])
            features[row, :, count:] = 1e9  # padding, which must not be looked at
        batches.append(Encoded(torch.from_numpy(features), torch.from_numpy(counts)))
    standardise = Standardise(6, over_time=True)
    standardise.fit(batches)
    frames_heard = np.concatenate(heard, axis=1).astype(np.float64)
    np.testing.assert_allclose(standardise.mean.numpy(), frames_heard.mean(1), rtol=1e-5)
    np.testing.assert_allclose(standardise.deviation.numpy(), frames_heard.std(1), rtol=1e-5)

    features, counts = standardise(batches[0])
    for row, count in enumerate(counts):
        expected = (heard[row] - frames_heard.mean(1)[:, None]) / frames_heard.std(1)[:, None]
        np.testing.assert_allclose(features[row, :, :count].numpy(), expected, atol=1e-4)
        assert (features[row, :, count:] == 0).all(), "padding becomes the mean"


def test_standardise_of_summaries_counts_every_row():
    values = np.random.default_rng(1).normal(5, 3, size=(50, 4)).astype(np.float32)
    batches = [Encoded(torch.from_numpy(part), torch.ones(len(part))) for part in np.split(values, [7, 30])]
    standardise = Standardise(4, over_time=False)
    standardise.fit(batches)
    np.testing.assert_allclose(standardise.mean.numpy(), values.mean(0), rtol=1e-5)
    np.testing.assert_allclose(standardise.deviation.numpy(), values.std(0), rtol=1e-5)
    scaled = standardise(Encoded(torch.from_numpy(values), torch.ones(50))).features.numpy()
    np.testing.assert_allclose(scaled, (values - values.mean(0)) / values.std(0), atol=1e-4)


@pytest.mark.parametrize("constant", [0.0, -100.0, 12.345])
def test_a_feature_that_never_varies_becomes_zero_and_stays_tame(constant):
    standardise = Standardise(2, over_time=False)
    values = torch.stack([torch.full((9,), constant), torch.arange(9.0)], dim=1)
    standardise.fit([Encoded(values, torch.ones(9))])
    torch.testing.assert_close(standardise(Encoded(values, torch.ones(9))).features[:, 0], torch.zeros(9))
    later = standardise(Encoded(values + 1.0, torch.ones(9))).features
    assert later[:, 0].abs().max() < 1.001, "one unit away from a constant is one, not infinity"


def test_before_it_is_fitted_standardise_changes_nothing():
    values = torch.randn(3, 5)
    assert torch.equal(Standardise(5, over_time=False)(Encoded(values, torch.ones(3))).features, values)


@pytest.mark.parametrize(
    "config", [LogMelConfig(n_mels=40, f_max=7e3), MelStatisticsConfig(), MfccMeanConfig(n_mfcc=9)]
)
def test_a_front_end_is_read_back_from_its_description(config):
    assert parse_front_end(describe_front_end(config)) == config


def test_what_does_not_exist_is_refused_by_name():
    with pytest.raises(
        RecipeError, match=r"front_end.kind = 'mel' is unknown; use one of log_mel, mel_stat.*, mfcc_mean"
    ):
        build_front_end({"kind": "mel"}, RATE)
    with pytest.raises(RecipeError, match=r"front_end.n_mfcc is no setting of the log_mel front end"):
        build_front_end({"kind": "log_mel", "n_mfcc": 13}, RATE)
    with pytest.raises(RecipeError, match="use at most 8000 Hz"):
        build_front_end({"kind": "mfcc_mean", "f_max": 9_000.0}, RATE)
