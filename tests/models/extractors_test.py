"""What stands for a feature extractor in a graph computes what the extractor computes."""

import numpy as np
import pytest
import torch
from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from earmark.models.extractors import build_extractor
from earmark.models.pretrained import prepare_inputs
from earmark.sound.synthesis import synthesise

RATE = 16_000


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Sounds of several lengths, one longer than AST hears, one with silence in it, one that is not centred on zero."""
    sounds = [
        synthesise(name, seed=i, duration_s=11.0, sample_rate=RATE)
        for i, name in enumerate(("rain", "bell", "drums", "voice"))
    ]
    return [sounds[0][:16_000], sounds[1][:1_700], sounds[2], sounds[3][:40_001] + np.float32(0.2)]


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize(
    ("extractor", "atol"),
    [
        (ASTFeatureExtractor(), 1e-3),
        (ASTFeatureExtractor(max_length=64, num_mel_bins=32, do_normalize=False), 1e-3),
        (WhisperFeatureExtractor(chunk_length=12), 2e-4),
        (WhisperFeatureExtractor(chunk_length=1, feature_size=128), 2e-4),
        (Wav2Vec2FeatureExtractor(do_normalize=True), 1e-5),
        (Wav2Vec2FeatureExtractor(do_normalize=False), 0.0),
    ],
    ids=["ast", "ast-small", "whisper", "whisper-short", "wav2vec2", "wav2vec2-as-it-is"],
)
def test_a_batch_gets_what_the_extractor_gives(extractor, atol, clips):
    expected = prepare_inputs(extractor, clips, sample_rate=RATE)[extractor.model_input_names[0]]
    lengths = torch.tensor([len(clip) for clip in clips])
    batch = torch.zeros(len(clips), int(lengths.max()))
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    given = build_extractor(extractor)(batch, lengths)
    torch.testing.assert_close(given, expected, rtol=0, atol=atol)
