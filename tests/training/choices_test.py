"""What is chosen for a machine, and that `--explain` tells of the very choices a training makes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from earmark.cli.main import app
from earmark.data.waveforms import ClipWaveforms
from earmark.inference import device
from earmark.sound.synthesis import write_sounds
from earmark.training import choices, fit
from earmark.training.build import fit_window
from earmark.training.choices import decide_precision, explain_choices
from earmark.training.learners import build_learner
from earmark.training.recipe import Recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def asking(recipe: Recipe, precision: Any) -> Recipe:
    return replace(recipe, train=replace(recipe.train, precision=precision))


def explain(recipe: Recipe, waveforms: ClipWaveforms, clips: int = 320) -> dict[str, str]:
    settled = fit_window(recipe, waveforms)
    learner = build_learner(settled, waveforms.clips.labels, multi_label=False)
    return dict(line.split(": ", 1) for line in explain_choices(settled, learner, clips))


@pytest.mark.parametrize(("able", "value"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_what_the_processor_computes_in(
    tiny_cnn: Recipe, monkeypatch: pytest.MonkeyPatch, able: bool, value: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: able)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    recipe = asking(tiny_cnn, "auto")
    assert decide_precision(recipe, CPU).value == decide_precision(recipe, GPU).value == value
    assert "AVX512-BF16" in decide_precision(recipe, CPU).reason
    assert "this GPU" in decide_precision(recipe, GPU).reason
    assert decide_precision(recipe, torch.device("mps")).value == "fp32"


def test_a_recipes_precision_stands_and_fp16_is_for_gpus(tiny_cnn: Recipe) -> None:
    assert decide_precision(asking(tiny_cnn, "bf16"), CPU) == choices.Choice("bf16", "as the recipe says")
    assert decide_precision(asking(tiny_cnn, "fp16"), GPU).value == "fp16"
    assert decide_precision(asking(tiny_cnn, "fp16"), CPU).value == "fp32"


def test_a_network_over_spectrograms_is_explained(
    waveforms: ClipWaveforms, tiny_cnn: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "choose_device", lambda: CPU)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    recipe = replace(asking(tiny_cnn, "auto"), augment=replace(tiny_cnn.augment, mix=1.0, roll=True, gain_db=6.0))
    told = explain(recipe, waveforms)
    assert told["Precision"].startswith("bf16; this CPU computes in it")
    assert told["Memory layout"].startswith("channels-last; ")
    assert told["Threads"].startswith(f"{torch.get_num_threads()}; ")
    assert told["Features"].startswith("computed in every step; ")
    assert "mix, roll, gain_db" in told["Features"]
    assert told["Batches"].startswith(f"{recipe.train.batch_size} clips, {-(-320 // recipe.train.batch_size)} steps")
    assert told["torch.compile"].startswith("not used; ")
    # A single clip left over takes no step of its own.
    alone = explain(recipe, waveforms, clips=2 * recipe.train.batch_size + 1)
    assert "clips, 2 steps an epoch" in alone["Batches"]


def test_a_summary_over_time_is_explained(
    waveforms: ClipWaveforms, tiny_quick: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "choose_device", lambda: CPU)
    told = explain(tiny_quick, waveforms)
    assert told["Features"].startswith("computed once, before the first epoch; ")
    assert told["Memory layout"].startswith("contiguous; ")
    assert told["Threads"].startswith("1; ")


def test_a_container_gets_no_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch counts those of the machine."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(device, "count_cores", lambda: 2)
    told = choices.decide_threads(encoded=False)
    assert (told.value, told.reason) == ("2", "this process may use no more cores, though PyTorch finds 64")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert choices.decide_threads(encoded=False).value == "64"


def test_training_uses_the_threads_that_are_told(
    waveforms: ClipWaveforms, tiny_quick: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    count = fit.ClassificationTrainer.compute_loss

    def note(self: Any, *given: Any, **settings: Any) -> Any:
        used.append(torch.get_num_threads())
        return count(self, *given, **settings)

    monkeypatch.setattr(fit.ClassificationTrainer, "compute_loss", note)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        recipe = fit_window(tiny_quick, waveforms)
        learner = build_learner(recipe, waveforms.clips.labels, multi_label=False)
        rows = torch.arange(len(waveforms)).numpy()
        encoded = fit.encode_clips(learner, waveforms)
        fit.fit_model(learner, waveforms, recipe, train_rows=rows, validation_rows=rows[:0], seed=0, encoded=encoded)
        assert set(used) == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_command_explains_on_standard_error(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sounds = write_sounds(tmp_path / "sounds", clips_per_class=5, duration_s=0.5, sample_rate=8_000)
    tiny = ["--set", "train.epochs=1", "--set", "front_end.n_mels=8", "--set", "model.hidden=[4]"]
    done = CliRunner().invoke(app, ["train", str(sounds), "-r", "quick", "--out", "run", "--explain", *tiny])
    assert done.exit_code == 0, done.output
    assert "Precision: fp32; as the recipe says." in done.stderr.splitlines()
    assert "Precision" not in done.stdout
