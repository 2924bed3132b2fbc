"""From recipe and clips to a model, and from a trained model to its directory."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from earmark.data.clips import Clips, build_clips
from earmark.data.leaks import hash_sound
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import ClipsError
from earmark.evaluation.sound_sample import unpack_sample
from earmark.inference.classifier import Classifier
from earmark.inference.golden import verify_model
from earmark.training.build import fit_window, save_model, settle_rate
from earmark.training.learners import OwnLearner, build_model
from earmark.training.recipe import Recipe, load_recipe


def with_lengths(waveforms: ClipWaveforms, seconds: list[float]) -> ClipWaveforms:
    """Clips as long as this, as far as the window asks."""
    places = [waveforms.places[0]._replace(length=round(length * 8000)) for length in seconds]
    return replace(waveforms, places=places)


@pytest.mark.parametrize(
    ("name", "seconds", "window_s"),
    [
        ("quick", [0.2, 0.3], 1.0),  # never shorter than a second
        ("quick", [4.0] * 99 + [12.34], 12.4),  # a summary takes each clip whole
        ("quick", [4.0, 90.0], 30.0),  # up to half a minute
        ("cnn", [4.0] * 99 + [8.0], 4.0),  # a network pays for what few clips need
        ("cnn", [45.0] * 10, 10.0),
    ],
)
def test_the_window_fits_the_clips(waveforms: ClipWaveforms, name: str, seconds: list[float], window_s: float) -> None:
    recipe = load_recipe(name, ["audio.sample_rate=8000"])
    assert fit_window(recipe, with_lengths(waveforms, seconds)).audio.window_s == pytest.approx(window_s)
    stated = load_recipe(name, ["audio.sample_rate=8000", "audio.window_s=7.5"])
    assert fit_window(stated, with_lengths(waveforms, seconds)) == stated


def test_the_window_must_be_settled_before_a_model_is_built(tiny_quick: Recipe) -> None:
    with pytest.raises(ClipsError, match="call settle_rate and fit_window first"):
        build_model(tiny_quick, ("a", "b"), multi_label=False)


def test_a_model_is_what_its_recipe_says(tiny_cnn: Recipe) -> None:
    model = build_model(tiny_cnn, ("ant", "bee"), multi_label=True)
    assert model.config.problem_type == "multi_label_classification"
    assert model.config.label2id == {"ant": 0, "bee": 1}
    assert model.config.window == 4000
    assert model.config.front_end["n_mels"] == 16
    assert model.config.backbone["widths"] == [4, 8]
    json.dumps(model.config.to_dict())


@pytest.fixture
def saved(waveforms: ClipWaveforms, tiny_quick: Recipe, tmp_path: Path) -> tuple[torch.nn.Module, Path, Classifier]:
    torch.manual_seed(0)
    learner = OwnLearner(fit_window(tiny_quick, waveforms), waveforms.clips.labels, multi_label=False)
    model = learner.model.eval()
    folder = tmp_path / "model"
    rows = [{**row, "group": "a" if i % 2 else None} for i, row in enumerate(waveforms.clips.table.to_dict("records"))]
    grouped = replace(waveforms, clips=build_clips(rows))
    return (
        model,
        folder,
        save_model(learner, folder, card="# A card 鸟\n", waveforms=grouped, rows=np.array([3, 0, 30])),
    )


def test_a_saved_model_is_the_model(saved: tuple[torch.nn.Module, Path, Classifier], waveforms: ClipWaveforms) -> None:
    model, folder, classifier = saved
    weights = load_file(folder / "model.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    waveform = np.array(waveforms.read(0))
    with torch.inference_mode():
        expected = model(torch.from_numpy(waveform)[None]).logits.softmax(-1)[0]
    np.testing.assert_allclose(classifier.score([waveform])[0], expected, atol=1e-6)
    assert (folder / "README.md").read_text(encoding="utf-8") == "# A card 鸟\n"
    assert verify_model(classifier, folder).holds
    assert not any(path.name.endswith(".part") for path in folder.parent.iterdir())


def test_a_model_remembers_clips_by_hash_and_group(
    saved: tuple[torch.nn.Module, Path, Classifier], waveforms: ClipWaveforms
) -> None:
    memory = json.loads((saved[1] / "training_data.json").read_text(encoding="utf-8"))
    assert memory["clips"] == [
        {"hash": waveforms.content_keys[row], "sound": hash_sound(waveforms.read(row)), "group": group}
        for row, group in ((3, "a"), (0, None), (30, None))
    ]
    assert memory["quantiles"] == [0.0, 0.1, 0.5, 0.9, 1.0]


def test_a_model_remembers_how_its_clips_sounded(
    saved: tuple[torch.nn.Module, Path, Classifier], waveforms: ClipWaveforms
) -> None:
    memory = json.loads((saved[1] / "training_data.json").read_text(encoding="utf-8"))
    sample = unpack_sample(memory["sound"], "the model")
    duration_s = waveforms.lengths[[0, 3, 30]] / waveforms.store.sample_rate
    assert sorted(sample.traits["duration_s"]) == pytest.approx(sorted(duration_s), abs=1e-3)


def test_an_earlier_model_is_replaced_whole(
    saved: tuple[torch.nn.Module, Path, Classifier], waveforms: ClipWaveforms, tiny_quick: Recipe
) -> None:
    _, folder, _ = saved
    (folder / "left over.txt").touch()
    learner = OwnLearner(fit_window(tiny_quick, waveforms), waveforms.clips.labels, multi_label=False)
    save_model(learner, folder, card="new", waveforms=waveforms, rows=np.array([0]))
    assert not (folder / "left over.txt").exists()
    assert (folder / "README.md").read_text(encoding="utf-8") == "new"


def test_the_rate_is_the_files_own_up_to_32_khz(clips: Clips, tmp_path: Path) -> None:
    def settle(*overrides: str) -> int | str:
        return settle_rate(load_recipe("cnn", overrides), clips).audio.sample_rate

    assert settle() == settle("audio.sample_rate=native") == 8000
    assert settle("audio.sample_rate=16000") == 16_000
    rows = []
    for i, rate in enumerate((44_100, 44_100, 48_000)):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, np.zeros(rate // 10), rate)
        rows.append({"path": str(path), "label": "ab"[i % 2]})
    several = build_clips(rows)
    assert settle_rate(load_recipe("cnn"), several).audio.sample_rate == 32_000
    assert settle_rate(load_recipe("cnn", ["audio.sample_rate=native"]), several).audio.sample_rate == 44_100
