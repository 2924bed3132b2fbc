"""The recipe: everything that decides a training, as typed sections read from TOML.

``[audio] [front_end] [model] [augment] [train]``; a shipped recipe states only what differs from the defaults in
`earmark.training.sections`, or from the recipe it names as its ``base``, and every key is what
``--set section.key=value`` takes.
"""

import difflib
import math
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from earmark.errors import RecipeError
from earmark.training.sections import AudioSection, AugmentSection, FrontEndSection, ModelSection, TrainSection

DEFAULT_RECIPE = "cnn"
TIMM_PREFIXES = ("hf_hub:", "hf-hub:", "local-dir:")
SHIPPED = resources.files("earmark.training") / "recipes"


@dataclass(frozen=True)
class Recipe:
    """A recipe's name, its one-line description and its sections."""

    name: str
    description: str = ""
    audio: AudioSection = field(default_factory=AudioSection)
    front_end: FrontEndSection = field(default_factory=FrontEndSection)
    model: ModelSection = field(default_factory=ModelSection)
    augment: AugmentSection = field(default_factory=AugmentSection)
    train: TrainSection = field(default_factory=TrainSection)

    @property
    def brings_features(self) -> bool:
        """Whether the model is one of Transformers, which has features of its own: a Hub id, or a model directory."""
        name = self.model.name
        return not name.startswith(TIMM_PREFIXES) and ("/" in name or (Path(name) / "config.json").is_file())

    @property
    def augments(self) -> bool:
        """Whether anything happens to clips in training."""
        return any(asdict(self.augment).values())

    def front_end_settings(self) -> dict[str, Any]:
        """The settings the chosen kind of front end knows, for `earmark.models.front_ends.build_front_end`."""
        if self.brings_features:
            return {}
        from earmark.models.front_ends import FRONT_END_CONFIGS

        known = {entry.name for entry in fields(FRONT_END_CONFIGS[self.front_end.kind])}
        return {"kind": self.front_end.kind, **{k: v for k, v in asdict(self.front_end).items() if k in known}}


SECTIONS = ("audio", "front_end", "model", "augment", "train")
_SMALLEST: dict[str, float] = {
    "audio.sample_rate": 1000,
    "audio.window_s": 0.1,
    "front_end.n_fft": 16,
    "front_end.hop_length": 1,
    "front_end.n_mels": 1,
    "front_end.n_mfcc": 1,
    "train.epochs": 1,
    "train.batch_size": 1,
    "train.patience": 1,
    "train.accumulate": 1,
    "train.step_epochs": 1,
    "model.size_px": 32,
}
_SHARES = {
    "model.dropout",
    "augment.mix",
    "augment.speed",
    "augment.spectrogram_gain",
    "train.label_smoothing",
    "train.warm_up",
    "train.average",
    "train.step_factor",
    "train.plateau_factor",
}


def list_recipes() -> dict[str, str]:
    """The shipped recipes: name -> one line of description.

    Example:
        >>> "quick" in list_recipes()
        True
    """
    names = sorted(entry.name.removesuffix(".toml") for entry in SHIPPED.iterdir() if entry.name.endswith(".toml"))
    return {name: load_recipe(name).description for name in names}


def load_recipe(name: "str | Recipe" = DEFAULT_RECIPE, overrides: Iterable[str] = ()) -> Recipe:
    """A shipped recipe by name, or any recipe by the path of its TOML file, with overrides.

    Args:
        name: ``"cnn"``, ``"quick"``…, a path ending in ``.toml``, or a recipe to lay the overrides over.
        overrides: ``"section.key=value"``, the value written as in TOML (quotes may be left out).

    Raises:
        RecipeError: no such recipe, an unknown section or key (the nearest is named), a value out of its range.

    Example:
        >>> load_recipe("quick", ["train.epochs=3"]).train.epochs
        3
    """
    if isinstance(name, Recipe):
        tables = to_tables(name)
        label = tables.pop("name")
    else:
        tables, label = _read_tables(name)
    for override in overrides:
        section, key, value = _parse_override(override)
        _check_section(section)
        tables.setdefault(section, {})[key] = value
    return _build_recipe(label, tables)


def _read_tables(name: str) -> tuple[dict[str, Any], str]:
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise RecipeError(f"There is no recipe file {name}.")
        try:
            text, label = path.read_text(encoding="utf-8"), path.stem
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"The recipe file {name} cannot be read as UTF-8 text: {error}.") from error
    else:
        entry = SHIPPED / f"{name}.toml"
        known = sorted(item.name.removesuffix(".toml") for item in SHIPPED.iterdir() if item.name.endswith(".toml"))
        if name not in known:
            raise RecipeError(f"There is no recipe {name!r}.{_nearest(name, known)} `earmark recipes` lists them all.")
        text, label = entry.read_text(encoding="utf-8"), name
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"The recipe {name} is not valid TOML: {error}.") from error
    if "base" in tables:
        tables = _lay_over(_read_base(tables.pop("base")), tables)
    return tables, str(tables.pop("name", label))


def _read_base(name: Any) -> dict[str, Any]:
    """The tables of the shipped recipe that another one starts from."""
    if not isinstance(name, str) or name.endswith(".toml"):
        raise RecipeError(f"base = {name!r} will not do; it takes the name of a shipped recipe such as 'cnn'.")
    tables, _ = _read_tables(name)
    return tables


def _lay_over(base: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    """The settings of ``base``, those of ``tables`` in their place; a section that is none is left to be refused."""
    merged = dict(base)
    for key, value in tables.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = {**base[key], **value} if both else value
    return merged


def _parse_override(text: str) -> tuple[str, str, Any]:
    place, equals, value = text.partition("=")
    section, dot, key = place.strip().partition(".")
    if not equals or not dot:
        raise RecipeError(f"--set takes section.key=value, such as train.epochs=30; {text!r} is not of that form.")
    try:
        return section, key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return section, key, value.strip()


def _build_recipe(name: str, tables: dict[str, Any]) -> Recipe:
    recipe = Recipe(name=name, description=str(tables.pop("description", "")))
    for section, values in tables.items():
        _check_section(section)
        if not isinstance(values, dict):
            raise RecipeError(f"{section} = {values!r} will not do; [{section}] is a section with settings of its own.")
        default = getattr(recipe, section)
        hints = get_type_hints(type(default))
        checked = {}
        for key, value in values.items():
            if key not in hints:
                near = _nearest(key, hints, prefix=f"{section}.") or _find_elsewhere(key)
                raise RecipeError(f"There is no setting {section}.{key}.{near}")
            checked[key] = _check_value(f"{section}.{key}", value, hints[key])
        recipe = replace(recipe, **{section: replace(default, **checked)})
    _check_front_end(tables.get("front_end", {}), recipe)
    _check_tuning(recipe)
    if recipe.train.average == 1.0:
        raise RecipeError("train.average = 1.0 would keep the weights of the start for ever; use 0.999 or less.")
    return recipe


def _check_section(section: str) -> None:
    if section not in SECTIONS:
        raise RecipeError(f"A recipe has no section [{section}].{_nearest(section, SECTIONS)}")


def _check_front_end(stated: dict[str, Any], recipe: Recipe) -> None:
    known = recipe.front_end_settings()
    for key in stated:
        if recipe.brings_features:
            raise RecipeError(
                f"front_end.{key} has no meaning for {recipe.model.name}, which brings its own features; leave it out."
            )
        if key not in known:
            raise RecipeError(
                f"front_end.{key} has no meaning for the {recipe.front_end.kind} front end; it knows "
                f"{', '.join(name for name in known if name != 'kind')}."
            )


def _check_tuning(recipe: Recipe) -> None:
    tuning = recipe.model.tuning
    if tuning != "full" and not recipe.brings_features:
        raise RecipeError(
            f"model.tuning = {tuning!r} is for audio models of Transformers, and model.name = {recipe.model.name!r} is "
            "none; name one, such as ntu-spml/distilhubert."
        )
    if tuning == "probe" and recipe.augments:
        raise RecipeError(
            "model.tuning = 'probe' computes each clip once, so nothing of it can be augmented; "
            "take what stands in [augment] out, or use 'lora'."
        )


def _nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {prefix}{near[0]}?" if near else ""


def _find_elsewhere(key: str) -> str:
    for section in SECTIONS:
        if key in get_type_hints(type(getattr(Recipe(""), section))):
            return f" Did you mean {section}.{key}?"
    return ""


def _check_value(name: str, value: Any, hint: Any) -> Any:
    checked = _match(value, hint)
    if checked is _REFUSED:
        raise RecipeError(f"{name} = {value!r} will not do; it takes {_describe(hint)}.")
    if isinstance(checked, int | float) and not isinstance(checked, bool):
        if not math.isfinite(checked):
            raise RecipeError(f"{name} = {value!r} will not do; it takes a finite number.")
        low = _SMALLEST.get(name, 0.0)
        if checked < low and name != "front_end.top_db":
            raise RecipeError(f"{name} = {value!r} is too small; use at least {low:g}.")
        if name in _SHARES and checked > 1.0:
            raise RecipeError(f"{name} = {value!r} is a share; use a value from 0 to 1.")
    if name in ("model.hidden", "model.widths") and (not checked or min(checked) < 1):
        raise RecipeError(f"{name} = {value!r} will not do; it takes a list of widths, each at least 1.")
    return checked


_REFUSED = object()


def _match(value: Any, hint: Any) -> Any:
    """``value`` as ``hint`` wants it, or ``_REFUSED``."""
    origin = get_origin(hint)
    if origin is Literal:
        return value if value in get_args(hint) else _REFUSED
    if origin is Union or origin is type(int | str):
        if value == "none" and type(None) in get_args(hint):
            return None
        choices = (_match(value, choice) for choice in get_args(hint))
        return next((choice for choice in choices if choice is not _REFUSED), _REFUSED)
    if origin is tuple:
        kind = int if get_args(hint)[0] is int else dict
        fitting = isinstance(value, list | tuple) and all(type(item) is kind for item in value)
        return tuple(value) if fitting else _REFUSED
    if hint is float and type(value) is int:
        return float(value)
    return value if type(value) is hint else _REFUSED


def _describe(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))
    if origin is Union or origin is type(int | str):
        return " or ".join("'none'" if choice is type(None) else _describe(choice) for choice in get_args(hint))
    if origin is tuple:
        whole = get_args(hint)[0] is int
        return "a list of whole numbers such as [256, 64]" if whole else 'tables such as [{name = "Gain", p = 0.5}]'
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}[hint]


def to_tables(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as plain tables, only with what has a meaning for it; TOML has no null, so none is "none"."""
    tables: dict[str, Any] = {"name": recipe.name, "description": recipe.description}
    for section in SECTIONS:
        values = recipe.front_end_settings() if section == "front_end" else asdict(getattr(recipe, section))
        if not values:
            continue
        tables[section] = {
            key: "none" if value is None else list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
        }
    return tables


def to_toml(recipe: Recipe) -> str:
    """The resolved recipe as TOML; `load_recipe` reads it back to the same recipe."""
    import tomli_w

    return tomli_w.dumps(to_tables(recipe))
