"""Waveform -> logits. Importing this package makes Earmark's models known to Transformers' Auto classes."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification
from transformers.pipelines import PIPELINE_REGISTRY

from earmark.models.earmark_model import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification

AutoConfig.register("earmark", EarmarkConfig)
AutoFeatureExtractor.register(EarmarkConfig, EarmarkFeatureExtractor)
AutoModelForAudioClassification.register(EarmarkConfig, EarmarkForAudioClassification)
# Named, not imported: the class is loaded when somebody makes such a pipeline.
PIPELINE_REGISTRY.supported_tasks["audio-classification"]["impl"] = "earmark.models.pipeline.SoundPipeline"

__all__ = ["EarmarkConfig", "EarmarkFeatureExtractor", "EarmarkForAudioClassification"]
