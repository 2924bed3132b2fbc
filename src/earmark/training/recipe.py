"""The recipe: everything that decides a training, as typed sections read from TOML.

``[audio] [front_end] [model] [augment] [train]``; a shipped recipe states only what differs from the defaults below,
and every key is what ``--set section.key=value`` takes.
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

DEFAULT_RECIPE = "cnn"
SHIPPED = resources.files("earmark.training") / "recipes"


@dataclass(frozen=True)
class AudioSection:
    """What the model hears.

    ``window_s``: the longest stretch it sees at once; ``"auto"`` fits it to the clips.
    """

    sample_rate: int = 32_000
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
    reference: Literal["one", "max"] = "one"
    top_db: float | None = None
    range_db: float = 60.0
    n_mfcc: int = 40


@dataclass(frozen=True)
class ModelSection:
    """Features -> logits: ``mlp``, ``cnn``, or any network timm knows by name.

    ``hidden``, ``batch_norm`` and ``activation`` shape the MLP, ``widths`` the CNN, ``pretrained`` timm's networks.
    """

    name: str = "cnn"
    hidden: tuple[int, ...] = (256,)
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    dropout: float = 0.2
    batch_norm: bool = True
    activation: Literal["relu", "gelu", "silu"] = "relu"
    pretrained: bool = False


@dataclass(frozen=True)
class AugmentSection:
    """What happens to clips in training only; nothing by default.

    ``mix``: the share of clips mixed with one of another class, at a ratio that counts loudness. ``roll``: turn each
    clip round in time. ``gain_db``: louder or softer by up to this. ``mask_time_s`` and ``mask_mels``: one stretch of
    time and one of the mel bands, up to this long, hidden.
    """

    mix: float = 0.0
    roll: bool = False
    gain_db: float = 0.0
    mask_time_s: float = 0.0
    mask_mels: int = 0


@dataclass(frozen=True)
class TrainSection:
    """How the weights are found.

    ``select``: ``"validation"`` keeps the epoch with the best validation accuracy and stops after ``patience`` epochs
    without a better one; ``"last"`` holds nothing out and keeps the last. ``balance``: weigh the loss, or draw rare
    classes more often. ``precision``: ``"auto"`` takes bf16 where the hardware computes in it.
    """

    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    label_smoothing: float = 0.0
    select: Literal["validation", "last"] = "validation"
    patience: int = 15
    balance: Literal["none", "weights", "sampler"] = "none"
    precision: Literal["auto", "fp32", "bf16"] = "auto"


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

    def front_end_settings(self) -> dict[str, Any]:
        """The settings the chosen kind of front end knows, for `earmark.models.front_ends.build_front_end`."""
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
}
_SHARES = {"model.dropout", "augment.mix", "train.label_smoothing"}


def list_recipes() -> dict[str, str]:
    """The shipped recipes: name -> one line of description.

    Example:
        >>> "quick" in list_recipes()
        True
    """
    names = sorted(entry.name.removesuffix(".toml") for entry in SHIPPED.iterdir() if entry.name.endswith(".toml"))
    return {name: load_recipe(name).description for name in names}


def load_recipe(name: str = DEFAULT_RECIPE, overrides: Iterable[str] = ()) -> Recipe:
    """A shipped recipe by name, or any recipe by the path of its TOML file, with overrides.

    Args:
        name: ``"cnn"``, ``"quick"``…, or a path ending in ``.toml``.
        overrides: ``"section.key=value"``, the value written as in TOML (quotes may be left out).

    Raises:
        RecipeError: no such recipe, an unknown section or key (the nearest is named), a value out of its range.

    Example:
        >>> load_recipe("quick", ["train.epochs=3"]).train.epochs
        3
    """
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
    return tables, str(tables.pop("name", label))


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
    return recipe


def _check_section(section: str) -> None:
    if section not in SECTIONS:
        raise RecipeError(f"A recipe has no section [{section}].{_nearest(section, SECTIONS)}")


def _check_front_end(stated: dict[str, Any], recipe: Recipe) -> None:
    known = recipe.front_end_settings()
    for key in stated:
        if key not in known:
            raise RecipeError(
                f"front_end.{key} has no meaning for the {recipe.front_end.kind} front end; it knows "
                f"{', '.join(name for name in known if name != 'kind')}."
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
    if isinstance(checked, tuple) and (not checked or min(checked) < 1):
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
        whole = isinstance(value, list | tuple) and all(type(item) is int for item in value)
        return tuple(value) if whole else _REFUSED
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
        return "a list of whole numbers such as [256, 64]"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}[hint]


def to_tables(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as plain tables, only with what has a meaning for it; TOML has no null, so none is "none"."""
    tables: dict[str, Any] = {"name": recipe.name, "description": recipe.description}
    for section in SECTIONS:
        values = recipe.front_end_settings() if section == "front_end" else asdict(getattr(recipe, section))
        tables[section] = {
            key: "none" if value is None else list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
        }
    return tables


def to_toml(recipe: Recipe) -> str:
    """The resolved recipe as TOML; `load_recipe` reads it back to the same recipe."""
    import tomli_w

    return tomli_w.dumps(to_tables(recipe))
