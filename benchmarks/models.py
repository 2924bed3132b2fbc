"""Models to measure with: a recipe's, untrained, as a run saves it; weights make no difference to speed."""

from dataclasses import replace
from pathlib import Path

SAMPLE_RATE, WINDOW_S = 32_000, 5.0


def write_model(name: str, folder: Path) -> Path:
    """A recipe's model with random weights, in a model directory with its golden waveforms.

    Args:
        name: A shipped recipe.
        folder: Where the directory goes; it is named after the recipe.
    """
    from earmark.inference.classifier import Classifier
    from earmark.inference.golden import write_golden
    from earmark.models import EarmarkFeatureExtractor
    from earmark.training.learners import build_model
    from earmark.training.recipe import load_recipe

    recipe = load_recipe(name)
    recipe = replace(recipe, audio=replace(recipe.audio, sample_rate=SAMPLE_RATE, window_s=WINDOW_S))
    model = folder / name
    build_model(recipe, tuple(f"class {i}" for i in range(10)), multi_label=False).save_pretrained(model)
    EarmarkFeatureExtractor(sampling_rate=SAMPLE_RATE).save_pretrained(model)
    write_golden(Classifier.from_pretrained(model, device="cpu"), model)
    return model
