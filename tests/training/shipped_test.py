"""Every shipped recipe trains: with a small network and few clips, by its own front end, schedule and augmentation."""

from pathlib import Path

import pytest

from earmark.data.clips import Clips
from earmark.training.recipe import SHIPPED, load_recipe
from earmark.training.run import train

NAMES = sorted(entry.name.removesuffix(".toml") for entry in SHIPPED.iterdir() if entry.name.endswith(".toml"))
SMALL = {"resnet18": "resnet10t", "resnext101": "resnet10t", "vit": "test_vit"}


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_trains(name: str, clips: Clips, write_native, tmp_path: Path) -> None:
    overrides = ["train.epochs=2", "train.batch_size=8", "model.pretrained=false", "train.max_steps=0"]
    if load_recipe(name).brings_features:
        write_native(tmp_path / "base", "hubert")
        overrides[2] = f'model.name="{tmp_path / "base"}"'
    elif small := SMALL.get(name.removeprefix("tutorial-")):
        overrides += [f"model.name={small}", "model.size_px=64", "audio.window_s=0.5"]
    run = train(clips, name, out=tmp_path / "run", overrides=overrides)
    recipe = load_recipe(name)
    history = run.report["history"]
    assert [record["epoch"] for record in history] == [1, 2]
    assert ("validation_accuracy" in history[0]) == (recipe.train.select == "validation")
    assert ("owe much to leakage" in run.report["protocol"]) == (recipe.train.split == "random")
    assert run.report["seed"] == recipe.train.seed
    assert len(run.load_classifier().classify(clips.table["path"].iloc[0])) == 3
