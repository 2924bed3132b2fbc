"""The stock audio-classification pipeline with our decoder: any file or bytes, without the ffmpeg program."""

import os
from typing import Any

from transformers.pipelines.audio_classification import AudioClassificationPipeline

from earmark.sound.decode import decode
from earmark.sound.resample import resample


class SoundPipeline(AudioClassificationPipeline):
    """What ``transformers.pipeline("audio-classification", …)`` makes once `earmark.models` is imported.

    Files, bytes and ``{"array", "sampling_rate"}`` are decoded and resampled as everywhere in Earmark; the stock class
    needs the ffmpeg program for the first two and torchaudio for the third. The answers are its own.
    """

    def preprocess(self, inputs: Any) -> Any:
        rate = self.feature_extractor.sampling_rate
        if isinstance(inputs, bytes | os.PathLike) or (isinstance(inputs, str) and "://" not in inputs):
            inputs = decode(inputs, sample_rate=rate)[0]
        elif isinstance(inputs, dict) and "sampling_rate" in inputs and inputs["sampling_rate"] != rate:
            waveform = inputs["raw"] if "raw" in inputs else inputs["array"]
            inputs = resample(waveform, inputs["sampling_rate"], rate)
        return super().preprocess(inputs)
