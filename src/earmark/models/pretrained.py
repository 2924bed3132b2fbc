"""Any audio model of Transformers as it is: HuBERT, Wav2Vec2, WavLM, Data2Vec, SEW, AST, the encoder of Whisper…

They are used as their native classes, unwrapped, with their own feature extractors: what is trained here opens without
Earmark. The encoder's weights are those of the checkpoint or there is an error; only the head's last layer is new.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from earmark.errors import EarmarkError, ModelError
from earmark.models.hub import fetch_model, hide_progress, is_hub_id
from earmark.models.lora import add_lora, measure_trainable_share
from earmark.models.probe import freeze_encoder, is_head

Tuning = Literal["full", "probe", "lora"]

LONGEST_S = 30.0  # what a model without a limit of its own hears at once
SHORTEST_S = 0.1  # what is shorter than the first convolutions need is filled up with zeros
EXTRACTOR_FILES = ("preprocessor_config.json", "processor_config.json")
FBANK_LENGTH, FBANK_HOP = 400, 160  # samples; AST's feature extractor knows no others

# With a mask these answer a clip alike alone and padded, if no layer normalises over time. Measured, not promised:
# Data2Vec and the Conformer let padding leak through convolutions, SEW through its pooling.
HEAR_THROUGH_MASKS = ("hubert", "unispeech", "unispeech-sat", "wav2vec2", "wav2vec2-bert", "wavlm")


@dataclass(frozen=True)
class Pretrained:
    """A native audio classifier, ready to be trained.

    Args:
        model: A Transformers class such as ``HubertForSequenceClassification``.
        extractor: Its feature extractor; give it sound through `prepare_inputs`.
        sample_rate: Hz; no other rate will do.
        window: Samples it hears at once; what lies behind is cut off or was never learned.
        shortest: Samples it needs in training; `prepare_inputs` fills up to them.
        note: How much of it learns, where that is not all.
    """

    model: Any
    extractor: Any
    sample_rate: int
    window: int
    shortest: int
    note: str | None = None


def load_pretrained_audio(
    name: str,
    labels: Sequence[str],
    *,
    multi_label: bool,
    tuning: Tuning = "full",
    freeze_feature_encoder: bool = True,
    normalise: bool | None = None,
) -> Pretrained:
    """A pretrained encoder with a head for ``labels``, drawn by torch's seed, and only what ``tuning`` names trainable.

    Args:
        name: A Hub id ``owner/name`` or a directory, with or without a classification head.
        labels: The classes, in the order of the logits.
        multi_label: Whether several labels may hold at once.
        tuning: ``"full"``: all learns; ``"probe"``: the head (see `earmark.models.probe`); ``"lora"``: the head and
            adapters (see `earmark.models.lora`).
        freeze_feature_encoder: In full tuning, leave the first convolutions of HuBERT and its kin as they are, as
            Transformers' own example does.
        normalise: Bring each waveform to mean zero and variance one; ``None``: as the extractor's own setting has it.

    Raises:
        ModelError: there is no such model, the Hub does not give it out, it is no audio model, its extractor is
            missing, or its weights are not whole; the message says which.

    Example:
        >>> pretrained = load_pretrained_audio("ntu-spml/distilhubert", ("a", "b"), multi_label=False)  # doctest: +SKIP
        >>> pretrained.sample_rate, pretrained.window                                                  # doctest: +SKIP
        (16000, 480000)
    """
    folder = _find_folder(name)
    with load_quietly():
        try:
            config = _load_config(folder, name, labels, multi_label=multi_label)
            extractor = _load_extractor(folder, name, normalise)
            model, loading = _load_weights(folder, config)
        except EarmarkError:
            raise
        except Exception as error:  # a damaged directory fails in many ways, all of them the user's to mend
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"{name} cannot be loaded as an audio model: {reason}") from error
        _complete_weights(name, model, loading)
    _choose_trainable(model, tuning, freeze_feature_encoder=freeze_feature_encoder)
    return Pretrained(
        model=model,
        extractor=extractor,
        sample_rate=extractor.sampling_rate,
        window=longest_window(extractor),
        shortest=_count_shortest(config, extractor.sampling_rate, masking=tuning != "probe"),
        note=None if tuning == "full" else _describe_share(model, tuning),
    )


@contextmanager
def load_quietly() -> Iterator[None]:
    """Not a word from Transformers while it loads a model.

    No bars, no table of missing weights (we look for ourselves), nothing on empty mel bands, which AST has always had.
    """
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with hide_progress(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
            yield
    finally:
        logging.set_verbosity(verbosity)


def longest_window(extractor: Any) -> int:
    """Samples that the models of ``extractor`` hear at once: 10.255 s for AST, else 30 s, Whisper's own limit.

    Example:
        >>> from transformers import ASTFeatureExtractor
        >>> longest_window(ASTFeatureExtractor(max_length=1024))
        164080
    """
    return _fixed_window(extractor) or round(LONGEST_S * extractor.sampling_rate)


def prepare_inputs(
    extractor: Any, waveforms: Sequence[np.ndarray], *, sample_rate: int, shortest: int = 1
) -> dict[str, Tensor]:
    """Waveforms as the model takes them: padded to the longest, or to the one length that AST and Whisper know.

    Where padding is needed, a mask says where sound is, also for models whose extractor gives none by itself: without
    it zeros count as sound, in the level that is normalised and in the average over time.

    Args:
        extractor: A feature extractor.
        waveforms: Each (samples,), float32, at the extractor's rate.
        sample_rate: Their rate, Hz.
        shortest: Fill up to this many samples with zeros.

    Returns:
        The model's keyword arguments; on the CPU.

    Example:
        >>> from transformers import Wav2Vec2FeatureExtractor
        >>> clips = [np.zeros(16_000, np.float32), np.zeros(8_000, np.float32)]
        >>> batch = prepare_inputs(Wav2Vec2FeatureExtractor(), clips, sample_rate=16_000)
        >>> batch["input_values"].shape, batch["attention_mask"].sum(1)
        (torch.Size([2, 16000]), tensor([16000,  8000]))
    """
    rows = [np.pad(waveform, (0, max(0, shortest - len(waveform)))) for waveform in waveforms]
    settings: dict[str, Any] = {"padding": True}
    if _fixed_window(extractor):
        settings["padding"] = "max_length"
    elif len({len(row) for row in rows}) > 1:
        settings["return_attention_mask"] = True
    return dict(extractor(rows, sampling_rate=sample_rate, return_tensors="pt", **settings))


def ignores_padding(config: Any, extractor: Any) -> bool:
    """Whether a clip gets the same answer alone and in a batch of longer ones, given `prepare_inputs`."""
    if _fixed_window(extractor):
        return True
    normalises_over_time = getattr(config, "feat_extract_norm", None) == "group"
    return config.model_type in HEAR_THROUGH_MASKS and not normalises_over_time


def _fixed_window(extractor: Any) -> int | None:
    """Samples, for extractors that pad and cut every sound to one length."""
    from transformers import ASTFeatureExtractor, WhisperFeatureExtractor

    if isinstance(extractor, ASTFeatureExtractor):
        return (extractor.max_length - 1) * FBANK_HOP + FBANK_LENGTH
    return extractor.n_samples if isinstance(extractor, WhisperFeatureExtractor) else None


def _find_folder(name: str) -> Path:
    """The directory ``name`` is, or the one in the cache that holds the Hub's model of that id."""
    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return path
    if path.exists():
        raise ModelError(f"{name} holds no model (no config.json); give a Transformers model directory or a Hub id.")
    if not is_hub_id(name):
        raise ModelError(f"There is no {name}; give a Transformers model directory or a Hub id such as owner/name.")
    return fetch_model(name)


def _load_config(folder: Path, name: str, labels: Sequence[str], *, multi_label: bool) -> Any:
    from transformers import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(
        folder,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type="multi_label_classification" if multi_label else "single_label_classification",
        trust_remote_code=False,
    )
    if config.model_type == "earmark":
        raise ModelError(f"{name} is a model of Earmark; train its recipe anew, or start from one of Transformers.")
    if type(config) not in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING:
        raise ModelError(
            f"{name} ({config.model_type}) is no audio model that Transformers can make a classifier of; "
            "give a HuBERT, Wav2Vec2, WavLM, Data2Vec, SEW, AST or Whisper."
        )
    if hasattr(config, "mask_time_min_masks"):
        # At least two masks of 0.2 s, as the usual settings have it, would leave a short clip nothing to learn from.
        config.mask_time_min_masks = 0
    if getattr(config, "use_weighted_layer_sum", False):
        # A layer left out by chance leaves the sum one short, and some families then fail.
        for setting in ("layerdrop", "encoder_layerdrop"):
            if hasattr(config, setting):
                setattr(config, setting, 0.0)
    return config


def _load_extractor(folder: Path, name: str, normalise: bool | None) -> Any:
    from transformers import AutoFeatureExtractor

    if not any((folder / file).is_file() for file in EXTRACTOR_FILES):
        raise ModelError(
            f"{name} has no feature extractor (preprocessor_config.json), which says how it wants its sound; "
            "add the one of the model it was made from."
        )
    settings = {} if normalise is None else {"do_normalize": normalise}
    return AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False, **settings)


def _load_weights(folder: Path, config: Any) -> tuple[Any, dict[str, Any]]:
    from transformers import AutoModelForAudioClassification

    return AutoModelForAudioClassification.from_pretrained(
        folder,
        config=config,
        ignore_mismatched_sizes=True,  # a head for other labels
        output_loading_info=True,
        trust_remote_code=False,
        dtype=torch.float32,  # half precision is how some are stored, not how they can be trained
    )


@torch.no_grad()
def _complete_weights(name: str, model: Any, loading: dict[str, Any]) -> None:
    """See that the encoder is the pretrained one, and give what is new its first values."""
    missing = set(loading["missing_keys"]) | {key for key, *_ in loading["mismatched_keys"]}
    # The stand-in for masked frames is no part of the encoder; fine-tuned checkpoints often lack it.
    replaceable = {key for key in missing if is_head(key) or key.endswith("masked_spec_embed")}
    if missing != replaceable:
        lost = sorted(missing - replaceable)
        raise ModelError(
            f"{name} lacks {len(lost)} weights of its encoder ({lost[0]}…), or has them in another size; "
            "it would be trained from noise: get it again, or give another model."
        )
    for key, parameter in model.named_parameters():
        # Transformers leaves these two as whatever the memory held, in most families.
        if key in missing and key == "layer_weights":
            parameter.fill_(1 / len(parameter))
        elif key in missing and key.endswith("masked_spec_embed"):
            parameter.uniform_()
    # Always new, so that other labels that happen to be as many do not inherit a decision.
    last: nn.Linear = getattr(model.classifier, "dense", model.classifier)
    config = model.config
    last.weight.normal_(0.0, config.init_std if config.model_type == "whisper" else config.initializer_range)
    last.bias.zero_()


def _choose_trainable(model: Any, tuning: Tuning, *, freeze_feature_encoder: bool) -> None:
    if model.config.model_type == "whisper":
        model.encoder.embed_positions.requires_grad_(False)  # sinusoids, which loading sets free
    if tuning == "probe":
        freeze_encoder(model)
    elif tuning == "lora":
        add_lora(model)
    elif freeze_feature_encoder and hasattr(model, "freeze_feature_encoder"):
        model.freeze_feature_encoder()


def _count_shortest(config: Any, sample_rate: int, *, masking: bool) -> int:
    """Samples that training needs: with SpecAugment, as many frames as one of its masks covers; it refuses fewer."""
    shortest = round(SHORTEST_S * sample_rate)
    masks = getattr(config, "apply_spec_augment", True) and getattr(config, "mask_time_prob", 0.0) > 0
    if not (masking and masks and hasattr(config, "conv_kernel")):
        return shortest
    samples = config.mask_time_length
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return max(shortest, samples)


def _describe_share(model: nn.Module, tuning: Tuning) -> str:
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return f"Of {millions:.1f} million parameters, {measure_trainable_share(model):.2%} were trained ({tuning})."
