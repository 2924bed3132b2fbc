"""Recipes: every shipped one loads, says only what is its own, comes back from TOML, and builds a model."""

import tomllib
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import torch

from earmark.errors import RecipeError
from earmark.training.build import check_recipe
from earmark.training.learners import build_model
from earmark.training.recipe import SECTIONS, SHIPPED, Recipe, list_recipes, load_recipe, to_tables, to_toml

NAMES = sorted(entry.name.removesuffix(".toml") for entry in SHIPPED.iterdir() if entry.name.endswith(".toml"))


def test_the_promised_recipes_are_shipped() -> None:
    tutorials = {"mlp-128-64", "mlp-128-256-512-64", "resnet18", "resnext101", "vit", "distilhubert"}
    mended = {"mfcc-mlp", "resnet18", "resnext101", "vit", "distilhubert"}
    assert set(NAMES) == {"quick", "cnn", "cnn-long"} | mended | {f"tutorial-{name}" for name in tutorials}
    assert list(list_recipes()) == NAMES
    assert load_recipe().name == "cnn"


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_is_short_and_says_only_what_is_its_own(name: str) -> None:
    text = (SHIPPED / f"{name}.toml").read_text(encoding="utf-8")
    assert sum(1 for line in text.splitlines() if line) < 25
    tables = tomllib.loads(text)
    assert len(tables.pop("description").splitlines()) == 1
    base = tables.pop("base", None)
    defaults = load_recipe(base) if base else Recipe(name="")
    for section, values in tables.items():
        for key, value in values.items():
            default = getattr(getattr(defaults, section), key)
            stated = tuple(value) if isinstance(value, list) else value
            assert stated != default, f"{name} states {section}.{key} = {value!r}, which its base has, too"
            assert stated == getattr(getattr(load_recipe(name), section), key)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_comes_back_from_its_toml(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, ["audio.window_s=2.5", "train.learning_rate=1e-4"])
    path = tmp_path / "any name.toml"
    path.write_text(to_toml(recipe), encoding="utf-8")
    again = load_recipe(str(path))
    assert again == recipe  # the name too: a run's recipe.toml stays the recipe it was
    assert to_toml(again) == to_toml(recipe)


@pytest.mark.parametrize("name", NAMES)
def test_the_toml_states_every_setting_that_means_something(name: str) -> None:
    tables = tomllib.loads(to_toml(load_recipe(name)))
    present = [section for section in SECTIONS if section != "front_end" or not load_recipe(name).brings_features]
    assert [section for section in tables if section in SECTIONS] == present
    for section in present:
        names = {entry.name for entry in fields(getattr(load_recipe(name), section))}
        assert set(tables[section]) <= names
        assert section == "front_end" or set(tables[section]) == names


# At full size these two take five seconds each; `shipped_test` trains every recipe scaled down.
LARGE = {"tutorial-resnext101", "tutorial-vit"}
OURS = [
    pytest.param(name, marks=pytest.mark.slow if name in LARGE else ())
    for name in NAMES
    if not load_recipe(name).brings_features
]


@pytest.mark.parametrize("name", OURS)
def test_a_shipped_recipe_builds_a_model_that_answers(name: str) -> None:
    recipe = load_recipe(name, ["audio.window_s=1.0", "audio.sample_rate=22050"])
    assert isinstance(recipe.audio.sample_rate, int)
    model = build_model(recipe, ("a", "b", "c"), multi_label=False).eval()
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert model.config.window == model.config.sampling_rate == recipe.audio.sample_rate
    with torch.inference_mode():
        logits = model(torch.randn(2, recipe.audio.sample_rate) * 0.1).logits
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()


def test_overrides_are_laid_over_a_recipe_in_hand() -> None:
    recipe = load_recipe("cnn", ["train.epochs=3"])
    assert load_recipe(recipe) == recipe
    assert load_recipe(recipe, ["train.batch_size=8"]) == load_recipe("cnn", ["train.epochs=3", "train.batch_size=8"])


def test_overrides_take_every_kind_of_value() -> None:
    recipe = load_recipe(
        "cnn",
        [
            "train.epochs = 3",
            "train.learning_rate=1",
            "train.select=last",
            'train.balance="weights"',
            "model.widths=[4, 8]",
            "augment.roll=false",
            "audio.window_s=auto",
            "front_end.f_max=3000",
            "front_end.top_db=none",
        ],
    )
    assert recipe.train.epochs == 3
    assert type(recipe.train.learning_rate) is float
    assert (recipe.train.select, recipe.train.balance) == ("last", "weights")
    assert recipe.model.widths == (4, 8)
    assert recipe.augment.roll is False
    assert recipe.audio.window_s == "auto"
    assert recipe.front_end.f_max == 3000.0
    assert recipe.front_end.top_db is None
    assert load_recipe("cnn", ["train.epochs=3", "train.epochs=4"]).train.epochs == 4
    # What was not overridden stays.
    assert asdict(recipe)["front_end"]["hop_length"] == load_recipe("cnn").front_end.hop_length


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.epoch=3", r"There is no setting train\.epoch\. Did you mean train\.epochs\?"),
        ("train.hop_length=3", r"There is no setting train\.hop_length\. Did you mean front_end\.hop_length\?"),
        ("trian.epochs=3", r"A recipe has no section \[trian\]\. Did you mean train\?"),
        ("description.x=3", r"A recipe has no section \[description\]"),
        ("train.epochs", r"--set takes section\.key=value, such as train\.epochs=30; 'train\.epochs' is not"),
        ("epochs=3", r"--set takes section\.key=value"),
        ("train.epochs=many", "train.epochs = 'many' will not do; it takes a whole number"),
        ("train.epochs=2.5", "it takes a whole number"),
        ("train.epochs=true", "it takes a whole number"),
        ("train.epochs=0", "train.epochs = 0 is too small; use at least 1"),
        ("train.learning_rate=-1", "too small; use at least 0"),
        ("train.learning_rate=nan", "takes a finite number"),
        ("augment.gain_db=inf", "takes a finite number"),
        ("audio.window_s=0", "too small; use at least 0.1"),
        ("audio.window_s=long", "it takes a number or 'auto'"),
        ("augment.mix=1.5", "is a share; use a value from 0 to 1"),
        ("augment.roll=1", "it takes true or false"),
        ("train.select=best", "it takes 'validation' or 'last'"),
        ("model.widths=[]", "a list of widths, each at least 1"),
        ("model.widths=[4, 0]", "a list of widths, each at least 1"),
        ("model.widths=8", r"a list of whole numbers such as \[256, 64\]"),
        ("front_end.f_max=high", "it takes a number or 'none'"),
        ("front_end.n_mfcc=13", r"front_end\.n_mfcc has no meaning for the log_mel front end; it knows n_fft, "),
    ],
)
def test_a_wrong_override_is_answered_with_what_is_right(override: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence) as caught:
        load_recipe("cnn", [override])
    assert "\n" not in str(caught.value)


def test_a_wrong_recipe_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"There is no recipe 'quik'\. Did you mean quick\?"):
        load_recipe("quik")
    with pytest.raises(RecipeError, match="There is no recipe file"):
        load_recipe(str(tmp_path / "none.toml"))
    for content, sentence in (
        (b"[train\n", "is not valid TOML"),
        (b"description = '\xff'\n", "cannot be read as UTF-8"),
        (b"train = 3\n", r"train = 3 will not do; \[train\] is a section"),
        (b"[training]\nepochs = 3\n", r"no section \[training\]\. Did you mean train\?"),
    ):
        (tmp_path / "wrong.toml").write_bytes(content)
        with pytest.raises(RecipeError, match=sentence):
            load_recipe(str(tmp_path / "wrong.toml"))


def test_a_recipe_of_ones_own_starts_from_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[train]\nepochs = 7\n", encoding="utf-8")
    recipe = load_recipe(str(tmp_path / "mine.toml"), ["train.batch_size=2"])
    assert (recipe.name, recipe.train.epochs, recipe.train.batch_size) == ("mine", 7, 2)
    assert recipe.model == Recipe(name="").model
    assert to_tables(recipe)["train"]["epochs"] == 7


@pytest.mark.parametrize(
    ("name", "override", "sentence"),
    [
        ("cnn", "model.name=resnet19", "neither mlp, cnn nor a network timm knows.*resnet1"),
        ("cnn", "front_end.f_max=17000", "f_max"),
        ("quick", "model.name=cnn", r"model\.name = 'cnn' does not fit this front end; it needs mlp"),
        ("cnn", "model.name=mlp", "does not fit this front end; it needs a network over time"),
    ],
)
def test_what_cannot_be_built_is_refused_before_any_work(name: str, override: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        check_recipe(load_recipe(name, ["audio.sample_rate=32000", override]))
