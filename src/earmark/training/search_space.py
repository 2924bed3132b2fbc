"""What a search may change of a recipe: a closed list of settings, with ranges around the recipe's own values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from earmark.training.recipe import Recipe

WIDTHS = {"cnn": "model.widths", "mlp": "model.hidden"}
"""The setting that holds a network's widths; a search multiplies all of them by one factor."""

_NARROWEST = 4


@dataclass(frozen=True)
class Dimension:
    """One setting that is searched.

    Args:
        setting: ``"train.learning_rate"``; where it holds a list of widths, what is searched is a factor on them.
        own: What the recipe says: a number, true or false; 1 for a factor.
        low: The least that is tried; as ``high`` without a meaning where the setting is true or false.
        high: The most that is tried.
        log: Values are drawn evenly on a logarithmic scale.
    """

    setting: str
    own: float | int | bool
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    @property
    def is_factor(self) -> bool:
        """Whether the setting is a list of widths."""
        return self.setting in WIDTHS.values()

    def describe(self) -> str:
        """The range, in words.

        Example:
            >>> Dimension("train.learning_rate", 3e-3, 3e-4, 3e-2, log=True).describe()
            'train.learning_rate: 0.0003 to 0.03 (logarithmic), 0.003 in the recipe'
        """
        if isinstance(self.own, bool):
            return f"{self.setting}: true or false, {str(self.own).lower()} in the recipe"
        times = "times " if self.is_factor else ""
        scale = " (logarithmic)" if self.log else ""
        own = "" if self.is_factor else f", {self.own:g} in the recipe"
        return f"{self.setting}: {times}{self.low:g} to {self.high:g}{scale}{own}"


def find_space(recipe: Recipe) -> tuple[Dimension, ...]:
    """The settings of a recipe that a search may change.

    The front end and the sample rate are left alone: what is computed of the clips once serves all trials. So are
    disturbances of the sound where the recipe computes features once and the network never hears the sound.

    Args:
        recipe: As somebody would train it.

    Example:
        >>> from earmark.training.recipe import load_recipe
        >>> [dimension.setting for dimension in find_space(load_recipe("quick"))][:3]
        ['train.learning_rate', 'train.weight_decay', 'train.label_smoothing']
    """
    return (*_find_training(recipe), *_find_network(recipe), *_find_augmentation(recipe))


def apply_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with what a trial tried in its place.

    Args:
        recipe: The one that is searched around.
        values: Setting -> value; for widths the factor.

    Example:
        >>> from earmark.training.recipe import load_recipe
        >>> tried = apply_values(load_recipe("cnn"), {"train.learning_rate": 0.01234567, "model.widths": 0.5})
        >>> tried.train.learning_rate, tried.model.widths
        (0.01235, (8, 16, 32, 64, 128))
    """
    for setting, value in values.items():
        section, key = setting.split(".")
        if setting in WIDTHS.values():
            settled: Any = tuple(_widen(width, value) for width in getattr(recipe.model, key))
        else:
            settled = float(f"{value:.4g}") if type(value) is float else value
        recipe = replace(recipe, **{section: replace(getattr(recipe, section), **{key: settled})})
    return recipe


def _find_training(recipe: Recipe) -> list[Dimension]:
    train = recipe.train
    rate, decay = train.learning_rate, train.weight_decay
    found = [Dimension("train.learning_rate", rate, float(f"{rate / 10:.4g}"), float(f"{rate * 10:.4g}"), log=True)]
    if train.optimizer == "adamw" and decay > 0:
        found.append(Dimension("train.weight_decay", decay, min(1e-4, decay), max(0.3, decay), log=True))
    return [*found, _around("train.label_smoothing", train.label_smoothing, 0.2)]


def _find_network(recipe: Recipe) -> list[Dimension]:
    model = recipe.model
    if recipe.brings_features:
        return []
    found = [_around("model.dropout", model.dropout, 0.6)]
    if model.name in WIDTHS:
        found.append(Dimension(WIDTHS[model.name], 1.0, 0.5, 2.0, log=True))
    return found


def _find_augmentation(recipe: Recipe) -> list[Dimension]:
    augment = asdict(recipe.augment)
    summarised = not recipe.brings_features and recipe.front_end.kind != "log_mel"
    if summarised or recipe.model.tuning == "probe":
        return []
    found = [
        _around("augment.mix", augment["mix"], 1.0),
        Dimension("augment.roll", augment["roll"]),
        _around("augment.gain_db", augment["gain_db"], 12.0),
    ]
    if not recipe.brings_features:
        found.append(_around("augment.mask_time_s", augment["mask_time_s"], 0.5))
        found.append(_around("augment.mask_mels", augment["mask_mels"], recipe.front_end.n_mels // 4))
    return found


def _around(setting: str, own: float | int, high: float) -> Dimension:
    """From nothing to ``high``, or to what the recipe has if that is more."""
    return Dimension(setting, own, 0, max(high, own))


def _widen(width: int, factor: float) -> int:
    """A width that a factor gives, in steps of four where it is large enough; unchanged by a factor of one."""
    if factor == 1.0:
        return width
    return max(min(width, _NARROWEST), _NARROWEST * round(width * factor / _NARROWEST))
