"""Earmark: from a folder of labelled sounds to a classifier that people can trust, share and run.

The public names are loaded on first use, so that ``import earmark`` costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "earmark.inference.classifier",
    "Clips": "earmark.data.clips",
    "Recipe": "earmark.training.recipe",
    "Run": "earmark.training.run",
    "audit": "earmark.evaluation.audit",
    "compare": "earmark.training.comparison",
    "crossval": "earmark.training.crossval",
    "decode": "earmark.sound.decode",
    "drift": "earmark.evaluation.drift",
    "evaluate": "earmark.training.assess",
    "explain": "earmark.inference.explanation",
    "export": "earmark.publishing.export",
    "find_events": "earmark.inference.timeline",
    "load_recipe": "earmark.training.recipe",
    "probe": "earmark.sound.decode",
    "push": "earmark.publishing.hub",
    "read_clips": "earmark.data.layouts",
    "train": "earmark.training.run",
    "tune": "earmark.training.tune",
}

if TYPE_CHECKING:
    from earmark.data.clips import Clips as Clips
    from earmark.data.layouts import read_clips as read_clips
    from earmark.evaluation.audit import audit as audit
    from earmark.evaluation.drift import drift as drift
    from earmark.inference.classifier import Classifier as Classifier
    from earmark.inference.explanation import explain as explain
    from earmark.inference.timeline import find_events as find_events
    from earmark.publishing.export import export as export
    from earmark.publishing.hub import push as push
    from earmark.sound.decode import decode as decode
    from earmark.sound.decode import probe as probe
    from earmark.training.assess import evaluate as evaluate
    from earmark.training.comparison import compare as compare
    from earmark.training.crossval import crossval as crossval
    from earmark.training.recipe import Recipe as Recipe
    from earmark.training.recipe import load_recipe as load_recipe
    from earmark.training.run import Run as Run
    from earmark.training.run import train as train
    from earmark.training.tune import tune as tune

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'earmark' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
