"""Front ends: waveform -> what a backbone sees, inside the model.

Each module has the same two-step life. `forward` computes what never changes in a run (it has no weights); the
standardisation that follows, `Standardise`, is fitted once on training clips and saved as buffers.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from earmark.errors import RecipeError
from earmark.sound.features import MelNorm, MelScale, MelSpectrogram, Reference, dct_matrix, to_db
from earmark.sound.statistics import STATISTICS_PER_BAND, mel_statistics


class Encoded(NamedTuple):
    """What a front end gives: ``features`` and, for each row, how many of its ``frames`` are sound, not padding.

    ``features`` is (rows, n_mels, frames) for a spectrogram, (rows, size) for a summary over time.
    """

    features: Tensor
    frames: Tensor


@dataclass(frozen=True)
class LogMelConfig:
    """A mel spectrogram, in dB unless ``decibels`` is off. See `earmark.sound.features.log_mel` for the units.

    ``amplitude_db`` takes the spectrogram for an amplitude though it is a power: twice as many decibels, a slip of
    much-read tutorials, kept to be measured.
    """

    n_fft: int = 1024
    hop_length: int = 512
    n_mels: int = 64
    f_min: float = 0.0
    f_max: float | None = None
    mel_scale: MelScale = "slaney"
    mel_norm: MelNorm = "slaney"
    power: float = 2.0
    decibels: bool = True
    amplitude_db: bool = False
    reference: Reference = "one"
    top_db: float | None = None


@dataclass(frozen=True)
class MelStatisticsConfig:
    """Seven statistics a mel band over the frames within ``range_db`` of the loudest."""

    n_fft: int = 1024
    hop_length: int = 512
    n_mels: int = 64
    f_min: float = 0.0
    f_max: float | None = None
    mel_scale: MelScale = "slaney"
    mel_norm: MelNorm = "slaney"
    range_db: float = 60.0


@dataclass(frozen=True)
class MfccMeanConfig:
    """The mean of each MFCC over time, with librosa's defaults."""

    n_mfcc: int = 40
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    f_min: float = 0.0
    f_max: float | None = None
    mel_scale: MelScale = "slaney"
    mel_norm: MelNorm = "slaney"
    top_db: float | None = 80.0


FrontEndConfig = LogMelConfig | MelStatisticsConfig | MfccMeanConfig
FRONT_END_CONFIGS: dict[str, type[FrontEndConfig]] = {
    "log_mel": LogMelConfig,
    "mel_statistics": MelStatisticsConfig,
    "mfcc_mean": MfccMeanConfig,
}


def _mel(sample_rate: int, config: FrontEndConfig, power: float = 2.0) -> MelSpectrogram:
    return MelSpectrogram(
        sample_rate=sample_rate,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        f_min=config.f_min,
        f_max=config.f_max,
        mel_scale=config.mel_scale,
        mel_norm=config.mel_norm,
        power=power,
    )


def count_frames(lengths: Tensor, hop_length: int) -> Tensor:
    """Frames whose centre lies on sound: a clip of ``lengths`` samples has ``1 + lengths // hop_length``."""
    return torch.div(lengths, hop_length, rounding_mode="floor") + 1


def mark_frames(frames: Tensor, total: int) -> Tensor:
    """(rows,) counts -> (rows, total), bool: true where a frame is sound, not padding."""
    return torch.arange(total, device=frames.device)[None, :] < frames[:, None]


class LogMel(nn.Module):
    """Waveform (rows, samples) -> (rows, n_mels, frames); `LogMelConfig` says how.

    Example:
        >>> LogMel(16_000, LogMelConfig())(torch.zeros(2, 16_000), torch.tensor([16_000, 8_000])).frames
        tensor([32, 16])
    """

    over_time = True

    def __init__(self, sample_rate: int, config: LogMelConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = _mel(sample_rate, config, config.power)
        self.size = config.n_mels

    def forward(self, waveform: Tensor, lengths: Tensor) -> Encoded:
        mel = self.mel(waveform)
        frames = count_frames(lengths, self.config.hop_length)
        # A frame of padding still sees the sound's last samples; it must not be the loudest, which sets the range.
        mel = mel.masked_fill(~mark_frames(frames, mel.shape[-1]).unsqueeze(1), 0.0)
        if self.config.decibels:
            power = 1.0 if self.config.amplitude_db else self.config.power
            mel = to_db(mel, power=power, reference=self.config.reference, top_db=self.config.top_db)
        return Encoded(mel, frames)


class MelStatistics(nn.Module):
    """Waveform (rows, samples) -> (rows, 7 * n_mels); see `earmark.sound.statistics.mel_statistics`."""

    over_time = False

    def __init__(self, sample_rate: int, config: MelStatisticsConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = _mel(sample_rate, config)
        self.size = STATISTICS_PER_BAND * config.n_mels

    def forward(self, waveform: Tensor, lengths: Tensor) -> Encoded:
        return self.summarise(self.mel(waveform), lengths)

    def summarise(self, mel: Tensor, lengths: Tensor) -> Encoded:
        """Mel spectrograms (rows, n_mels, frames) of ``lengths`` samples each -> what `forward` gives."""
        valid = mark_frames(count_frames(lengths, self.config.hop_length), mel.shape[-1])
        return Encoded(mel_statistics(mel, valid, range_db=self.config.range_db), torch.ones_like(lengths))


class MfccMean(nn.Module):
    """Waveform (rows, samples) -> (rows, n_mfcc): each coefficient's mean over the clip's own frames."""

    over_time = False
    dct: Tensor

    def __init__(self, sample_rate: int, config: MfccMeanConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = _mel(sample_rate, config)
        self.register_buffer("dct", dct_matrix(config.n_mfcc, config.n_mels).clone())
        self.size = config.n_mfcc

    def forward(self, waveform: Tensor, lengths: Tensor) -> Encoded:
        return self.summarise(self.mel(waveform), lengths)

    def summarise(self, mel: Tensor, lengths: Tensor) -> Encoded:
        """Mel spectrograms (rows, n_mels, frames) of ``lengths`` samples each -> what `forward` gives."""
        valid = mark_frames(count_frames(lengths, self.config.hop_length), mel.shape[-1]).unsqueeze(1)
        # A frame of padding still sees the sound's last samples; it must not be the loudest, which sets the floor.
        bands_db = to_db(mel.masked_fill(~valid, 0.0), top_db=self.config.top_db)
        # The DCT is linear: the mean of the coefficients is the coefficients of the mean, at a fraction of the cost.
        mean_db = (bands_db * valid).sum(-1) / valid.sum(-1)
        return Encoded(mean_db @ self.dct, torch.ones_like(lengths))


class Standardise(nn.Module):
    """Subtract the training clips' mean and divide by their deviation, a feature (or a mel band) at a time.

    Before `fit` it changes nothing. The statistics are persistent buffers: they travel with the model.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int, *, over_time: bool) -> None:
        super().__init__()
        self.over_time = over_time
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def fit(self, batches: list[Encoded]) -> None:
        """Take mean and deviation from the valid frames of ``batches``, in float64, so that order hardly matters."""
        count = torch.zeros((), dtype=torch.float64)
        total = torch.zeros(self.mean.shape[0], dtype=torch.float64)
        squares = torch.zeros_like(total)
        for features, frames in batches:
            rows = features.double().cpu()
            if self.over_time:
                valid = mark_frames(frames.cpu(), rows.shape[-1])
                rows = rows.transpose(1, 2)[valid]
            count += rows.shape[0]
            total += rows.sum(0)
            squares += rows.square().sum(0)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0.0).sqrt()
        # A feature that never varies carries nothing; dividing by one leaves it at zero instead of at infinity.
        deviation = torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def forward(self, encoded: Encoded) -> Encoded:
        features, frames = encoded
        if not self.over_time:
            return Encoded((features - self.mean) / self.deviation, frames)
        scaled = (features - self.mean[:, None]) / self.deviation[:, None]
        # Padding becomes the mean, which is zero here: it says nothing to a convolution.
        valid = mark_frames(frames, features.shape[-1]).unsqueeze(1)
        return Encoded(scaled.masked_fill(~valid, 0.0), frames)


def build_front_end(settings: dict[str, Any], sample_rate: int) -> LogMel | MelStatistics | MfccMean:
    """A front end from ``{"kind": "log_mel", "n_mels": 64, …}``, as it stands in a recipe and in ``config.json``.

    Raises:
        RecipeError: an unknown kind or setting.

    Example:
        >>> build_front_end({"kind": "mfcc_mean", "n_mfcc": 13}, sample_rate=22_050).size
        13
    """
    config = parse_front_end(settings)
    if isinstance(config, MelStatisticsConfig):
        return MelStatistics(sample_rate, config)
    if isinstance(config, MfccMeanConfig):
        return MfccMean(sample_rate, config)
    return LogMel(sample_rate, config)


def parse_front_end(settings: dict[str, Any]) -> FrontEndConfig:
    """The typed configuration of ``settings``; its ``kind`` chooses the class."""
    kind = settings.get("kind", "log_mel")
    if kind not in FRONT_END_CONFIGS:
        raise RecipeError(f"front_end.kind = {kind!r} is unknown; use one of {', '.join(FRONT_END_CONFIGS)}.")
    config_class = FRONT_END_CONFIGS[kind]
    values = {key: value for key, value in settings.items() if key != "kind"}
    unknown = sorted(values.keys() - {field.name for field in fields(config_class)})
    if unknown:
        raise RecipeError(f"front_end.{unknown[0]} is no setting of the {kind} front end.")
    return config_class(**values)


def describe_front_end(config: FrontEndConfig) -> dict[str, Any]:
    """The settings of ``config`` with its kind: what `build_front_end` reads."""
    kind = next(name for name, config_class in FRONT_END_CONFIGS.items() if isinstance(config, config_class))
    return {"kind": kind, **asdict(config)}
