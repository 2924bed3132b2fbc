"""The sections of a recipe: every setting there is, its type and its default."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class AudioSection:
    """What the model hears.

    ``sample_rate``: Hz; ``"native"`` is the rate most of the files have, ``"auto"`` what a pretrained model wants, else
    the files' own up to 32,000. ``window_s``: the longest stretch heard at once; ``"auto"`` fits it to the clips.
    """

    sample_rate: int | Literal["auto", "native"] = "auto"
    window_s: float | Literal["auto"] = "auto"


@dataclass(frozen=True)
class FrontEndSection:
    """Waveform -> features; what a kind does not know it refuses. See `earmark.models.front_ends`."""

    kind: Literal["log_mel", "mel_statistics", "mfcc_mean"] = "log_mel"
    n_fft: int = 1024
    hop_length: int = 512
    n_mels: int = 64
    f_min: float = 0.0
    f_max: float | None = None
    mel_scale: Literal["slaney", "htk"] = "slaney"
    mel_norm: Literal["slaney", "none"] = "slaney"
    power: float = 2.0
    decibels: bool = True
    amplitude_db: bool = False
    reference: Literal["one", "max"] = "one"
    top_db: float | None = None
    range_db: float = 60.0
    n_mfcc: int = 40


@dataclass(frozen=True)
class ModelSection:
    """Features -> logits: ``mlp``, ``cnn``, any network timm knows by name; or a whole audio model of Transformers.

    ``name``: the last is a Hub id (``facebook/hubert-base-ls960``) or a model directory, brings its own features and
    is tuned as ``tuning`` says: all of it (``"full"``), its head on what the frozen encoder gives (``"probe"``), or
    its head and low-rank adapters (``"lora"``). ``freeze_convolutions`` leaves the layers that read the waveform as
    they are; ``normalise`` brings each waveform to mean zero and variance one, whatever the model's own settings say.
    ``hidden``, ``batch_norm``, ``activation`` and ``output_activation`` shape the MLP, ``widths`` the CNN.
    ``pretrained``, ``picture`` and ``size_px`` are timm's: the spectrogram as it is in one channel (``"mel"``), thrice
    and averaged into a square (``"repeated"``), or drawn in colour as a square (``"coloured"``). ``standardise``:
    shift and scale the features by the training clips' statistics first.
    """

    name: str = "cnn"
    hidden: tuple[int, ...] = (256,)
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    dropout: float = 0.2
    batch_norm: bool = True
    activation: Literal["relu", "gelu", "silu"] = "relu"
    output_activation: Literal["none", "sigmoid", "tanh"] = "none"
    standardise: bool = True
    picture: Literal["mel", "repeated", "coloured"] = "mel"
    size_px: int = 224
    pretrained: bool = False
    tuning: Literal["full", "probe", "lora"] = "full"
    freeze_convolutions: bool = True
    normalise: bool = False


@dataclass(frozen=True)
class AugmentSection:
    """What happens to clips in training only; nothing by default.

    ``mix``: the share of clips mixed with one of another class, at a ratio that counts loudness. ``roll``: turn each
    clip round in time. ``speed``: faster or slower, and higher or lower with it, by up to this share (0.25 is 0.8 to
    1.25 times). ``gain_db``: louder or softer by up to this. ``waveform``: changes of audiomentations by name,
    each a table such as ``{name = "AddGaussianSNR", p = 0.5}`` with the change's own settings. ``mask_time_s`` and
    ``mask_mels``: one stretch of time and one of the mel bands, up to this long, hidden. ``spectrogram_noise``,
    ``spectrogram_filter`` and ``spectrogram_gain``: noise of this deviation, a curve over the bands up to this high or
    low, and a factor up to this far from one, each on half of the clips.
    """

    mix: float = 0.0
    roll: bool = False
    speed: float = 0.0
    gain_db: float = 0.0
    waveform: tuple[dict[str, Any], ...] = ()
    mask_time_s: float = 0.0
    mask_mels: int = 0
    spectrogram_noise: float = 0.0
    spectrogram_filter: float = 0.0
    spectrogram_gain: float = 0.0


@dataclass(frozen=True)
class TrainSection:
    """How the weights are found.

    ``split``: ``"official"`` keeps published splits, folds and groups; ``"random"`` deals four fifths to training
    whatever they say. ``max_steps``: end after so many steps, whatever ``epochs`` says; 0 leaves it to the epochs.
    ``accumulate``: batches a step. ``optimizer``: AdamW, whose decay is ``weight_decay``, or plain Adam, without any.
    ``warm_up``: the share of the training in which the rate rises, for ``"linear"``, ``"cosine"`` and ``"step"``.
    ``step_epochs`` and ``step_factor``: ``"step"`` multiplies the rate so often by this.
    ``"plateau"`` multiplies it by ``plateau_factor`` once the training accuracy has not risen for
    ``plateau_patience`` epochs. ``average``: the decay of a moving average of the weights, which is what is kept; 0 for
    none. ``select``: ``"validation"`` keeps the epoch with the best validation figure and stops after ``patience``
    epochs without a better one; ``"last"`` holds nothing out and keeps the last. ``balance``: weigh the loss, or draw
    rare classes more often. ``precision``: ``"auto"`` takes bf16 where the hardware computes in it; ``"fp16"`` is for
    GPUs. ``seed``: decides all that is random; ``--seed`` overrides it.
    """

    split: Literal["official", "random"] = "official"
    epochs: int = 60
    max_steps: int = 0
    batch_size: int = 32
    accumulate: int = 1
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Literal["one_cycle", "cosine", "linear", "step", "plateau", "constant"] = "one_cycle"
    warm_up: float = 0.0
    step_epochs: int = 10
    step_factor: float = 0.1
    plateau_factor: float = 0.3
    plateau_patience: int = 3
    average: float = 0.0
    label_smoothing: float = 0.0
    select: Literal["validation", "last"] = "validation"
    patience: int = 15
    balance: Literal["none", "weights", "sampler"] = "none"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: int = 0
