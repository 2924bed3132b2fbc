"""Waveform -> logits. Importing this package makes Earmark's models known to Transformers' Auto classes."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from earmark.models.earmark_model import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification

AutoConfig.register("earmark", EarmarkConfig)
AutoFeatureExtractor.register(EarmarkConfig, EarmarkFeatureExtractor)
AutoModelForAudioClassification.register(EarmarkConfig, EarmarkForAudioClassification)

__all__ = ["EarmarkConfig", "EarmarkFeatureExtractor", "EarmarkForAudioClassification"]
