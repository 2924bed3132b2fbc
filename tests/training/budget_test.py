"""A budget: times as people write them, what is chosen for what things cost, and a run that tells what it announced."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earmark.data.clips import Clips
from earmark.data.splits import Split, split_clips
from earmark.data.waveforms import ClipWaveforms, load_waveforms
from earmark.errors import RecipeError, RunError
from earmark.training import budget as module
from earmark.training import rehearsal
from earmark.training.budget import Budget, list_candidates, open_budget, parse_budget
from earmark.training.build import fit_window
from earmark.training.learners import build_learner
from earmark.training.recipe import Recipe, load_recipe
from earmark.training.rehearsal import Costs, EndCosts, expect_decoding, hear_sample, measure_costs
from earmark.training.run import train

RATE = 8000
END = EndCosts(save_s=1.0, sample_s=0.0, remember_s=0.1, draw_s=0.5, page_s=1.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("45", 45), ("2h", 7200), ("1.5m", 90), (" 1H 5m 3s ", 3903)],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10 minutes", "0", "0m", "-5m", "5m1h", "1h30", "nan"])
def test_what_is_no_time_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(RunError, match="is no time; write it as 90s, 10m, 1h30m, or plain seconds"):
        parse_budget(text)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, waveforms: ClipWaveforms):
    """Plans a budget where everything costs what is said here, and the clock stands at ten seconds."""
    clock = {"s": 10.0}
    monkeypatch.setattr(Budget, "spent_s", property(lambda self: clock["s"]))
    monkeypatch.setattr(module, "hear_sample", lambda clips, *, sample_rate: waveforms)
    monkeypatch.setattr(module, "expect_decoding", lambda clips, few: 0.0)
    monkeypatch.setattr(module, "measure_end", lambda learner, few: END)
    window_s = fit_window(load_recipe("cnn"), waveforms).audio.window_s
    asked = []

    def measure(recipe: Recipe, few: ClipWaveforms, *, most_s: float) -> tuple[Costs, None] | None:
        asked.append((recipe.name, recipe.model.widths[0]))
        encode_s, batch_s = (0.1, 0.001) if recipe.name == "quick" else (0.0, recipe.model.widths[0] / 16)
        return Costs(encode_s, 1.0, 0.0, 0.0, batch_s, 0.0, plan.explain_s, window_s), None

    monkeypatch.setattr(module, "measure_costs", measure)
    split = split_clips(waveforms.clips, validation=False)

    def plan(seconds: float, recipe: Recipe | None = None, decoded_at_s: float = 10.0):
        asked.clear()
        chosen = open_budget(seconds, recipe, ["train.batch_size=4", "train.epochs=60"])
        settled = chosen.candidates[0]
        settled = replace(settled, audio=replace(settled.audio, sample_rate=RATE))
        clock["s"] = 10.0
        chosen.rehearse(waveforms.clips, split, settled)
        clock["s"] = decoded_at_s
        return chosen.settle(waveforms, split)

    plan.asked, plan.explain_s = asked, 0.0
    plan.train_clips, plan.test_clips = len(split.rows("train")), len(split.rows("test"))
    return plan


def test_the_best_that_fits_is_chosen(planned) -> None:
    """30 clips to learn from in batches of four: eight batches an epoch, so 38 epochs are the least."""
    assert planned.train_clips == 30
    wide, narrow, quick = planned(700), planned(280), planned(100)
    assert (wide.recipe.name, wide.recipe.model.widths[0], wide.recipe.train.epochs) == ("cnn", 16, 60)
    # Ten seconds are gone, nine go at the begin and the end; a wide epoch takes 7.5, a narrow one half of that.
    assert (narrow.recipe.model.widths[0], narrow.recipe.train.epochs) == (8, 60)
    assert quick.recipe.name == "quick"
    assert planned.asked == [("quick", 16), ("cnn", 8)]  # the wide network was not even timed
    assert "cnn with half its widths would need at least" in quick.sentence


def test_what_is_announced_is_the_sum_of_its_parts(planned) -> None:
    plan = planned(700)
    # Spent, begun, 60 epochs of 7.5 batches; saved, 30 clips remembered; the page with half of six mistakes, and three
    # examples.
    assert planned.test_clips == 6
    assert plan.announced_s == pytest.approx(10 + 1 + 60 * 7.5 + 1 + 3 + 1 + 0.5 * (3 + 3))
    assert plan.sentence.startswith(
        "Budget 11 min 40 s: cnn for all its 60 epochs, done about 7 min 49 s after the start"
    )
    assert plan.tell() == {"budget_s": 700, "announced_s": 469.0, "sentence": plan.sentence, "explained_mistakes": 6}


def test_fewer_epochs_are_taken_where_not_all_fit(planned) -> None:
    plan = planned(450)
    assert (plan.recipe.model.widths[0], plan.recipe.train.epochs) == (16, int((0.95 * 450 - 19) / 7.5))
    assert "54 epochs instead of 60" in plan.sentence
    assert plan.announced_s <= 450


def test_so_many_mistakes_are_explained_as_there_is_time_for(planned) -> None:
    """Half of them are counted beforehand, a tenth of the rest of the run is the most that they may take."""
    planned.explain_s = 20.0
    plan = planned(700)
    rest_s = 1 + 60 * 7.5 + 1 + 3 + 1 + 0.5 * (3 + 3)
    assert plan.explained_mistakes == int(0.1 * rest_s / 10) == 4
    assert plan.announced_s == pytest.approx(10 + rest_s + 4 * 10)
    assert "There is time to explain 4 mistakes in the report." in plan.sentence
    planned.explain_s = 0.0
    assert "There is time to explain" not in planned(700).sentence


def test_of_a_recipe_that_is_given_only_size_and_epochs_are_chosen(planned) -> None:
    recipe = load_recipe("cnn", ["train.batch_size=4"])
    assert planned(200, recipe).recipe.train.epochs == int((0.95 * 200 - 19) / 7.5)
    narrow = planned(40, recipe)
    assert (narrow.recipe.name, narrow.recipe.model.widths[0], narrow.recipe.train.epochs) == ("cnn", 8, 5)


def test_a_budget_too_small_names_the_least_that_would_do(planned) -> None:
    with pytest.raises(RunError) as refused:
        planned(15)
    assert str(refused.value).count(". ") == 0
    least = re.search(r"--budget (\d+s)", str(refused.value))
    assert least is not None
    assert planned(parse_budget(least[1])).recipe.name == "quick"


def test_where_decoding_took_longer_than_expected_the_least_is_done_and_told(planned) -> None:
    """What was decoded is not thrown away for a promise that came a little too early."""
    plan = planned(60, decoded_at_s=55.0)
    assert plan.recipe.name == "quick"
    assert plan.announced_s > 60
    assert "That is more than the budget: decoding, or the timing itself, took longer" in plan.sentence


def test_a_recipe_that_counts_its_steps_has_no_room_for_a_budget() -> None:
    with pytest.raises(RecipeError, match="leave one of them out"):
        list_candidates(load_recipe("cnn", ["train.max_steps=5"]))


def test_longer_windows_cost_in_proportion() -> None:
    costs = Costs(0.0, 1.0, 0.01, 2.0, 3.0, 0.2, 0.5, window_s=5.0).scale(10.0)
    assert costs == Costs(0.0, 1.0, 0.02, 2.0, 6.0, 0.4, 1.0, window_s=10.0)


def test_what_sums_clips_up_costs_the_same_whatever_the_window() -> None:
    costs = Costs(0.1, 1.0, 0.0, 2.0, 3.0, 0.2, 0.5, window_s=5.0)
    assert costs.scale(10.0) == replace(costs, window_s=10.0)


def test_the_sample_holds_every_class(clips: Clips) -> None:
    few = hear_sample(clips, sample_rate=RATE)
    assert set(few.clips.table["label"]) == set(clips.labels)
    assert len(few) < len(clips)


def test_decoding_costs_what_is_not_stored_yet(clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample that an earlier attempt has decoded says nothing about the other files."""
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path))
    monkeypatch.setattr(rehearsal, "_time", lambda work: (work(), 10.0))
    monkeypatch.setattr(rehearsal, "count_decoders", lambda files: 1)
    for _ in range(2):
        few = hear_sample(clips, sample_rate=RATE)
        assert expect_decoding(clips, few) == 10.0 * (len(clips) - len(few)) > 0
    load_waveforms(clips, sample_rate=RATE)
    assert expect_decoding(clips, few) == 0.0


def test_a_timing_that_takes_too_long_is_given_up(waveforms: ClipWaveforms, tiny_quick: Recipe) -> None:
    assert measure_costs(tiny_quick, waveforms, most_s=0.0) is None


@pytest.mark.parametrize(
    ("of_one_s", "most_s", "batches", "of_all_s", "batch_s", "epoch_s"),
    [
        (0.5, 160.0, 4, 1.6, 0.4, 0.0),  # too few and too slow to be told by a difference
        (0.5, 20.0, 2, 0.9, 0.45, 0.0),
        (0.03, 1e4, 40, 0.81, 0.02, 0.01),
    ],
)
def test_a_batch_is_timed_by_as_many_as_there_is_time_for(
    waveforms: ClipWaveforms,
    tiny_quick: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    of_one_s: float,
    most_s: float,
    batches: int,
    of_all_s: float,
    batch_s: float,
    epoch_s: float,
) -> None:
    seconds = {1: of_one_s, batches: of_all_s}
    monkeypatch.setattr(rehearsal, "_time_epochs", lambda *_, batches, **__: (1.0, seconds[batches]))
    measured = measure_costs(tiny_quick, waveforms, most_s=most_s)
    assert measured is not None
    assert (measured[0].batch_s, measured[0].epoch_s) == pytest.approx((batch_s, epoch_s))


def test_a_budget_that_not_even_the_timing_fits_is_refused(planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measure_costs", lambda recipe, few, *, most_s: None)
    with pytest.raises(
        RunError, match=r"^A budget of 50 s is too small for quick on this machine: decoding and a few "
    ):
        planned(50)


def test_only_what_computes_features_once_pays_for_them_once(
    waveforms: ClipWaveforms, tiny_quick: Recipe, tiny_cnn: Recipe
) -> None:
    quick, cnn = measure_costs(tiny_quick, waveforms), measure_costs(tiny_cnn, waveforms)
    assert quick is not None
    assert cnn is not None
    assert quick[0].encode_s > 0
    costs, learner = cnn
    assert costs.encode_s == 0
    assert costs.batch_s > 0
    assert type(learner) is type(build_learner(tiny_cnn, waveforms.clips.labels, multi_label=False))


def test_a_run_within_a_budget_tells_what_was_chosen(
    clips: Clips, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ["front_end.n_fft=256", "front_end.n_mels=16", "model.widths=[4, 8]", "model.hidden=[8]"]
    tiny += [f"audio.sample_rate={RATE}", "augment.mask_mels=2", "train.epochs=2"]
    with pytest.raises(RecipeError, match="changes mel spectrograms"):
        train(clips, out=tmp_path / "run", overrides=tiny, budget_s=3600, seed=1)
    run = train(clips, out=tmp_path / "run", overrides=[*tiny[:5], "train.epochs=2"], budget_s=3600, seed=3)
    told = run.report["budget"]
    assert told["sentence"] in run.report["notes"]
    assert told["sentence"] in capsys.readouterr().err
    assert told["sentence"].startswith("Budget 1 h 0 min: cnn for all its 2 epochs, done about ")
    assert 0 < told["announced_s"] < 3600
    assert load_recipe(str(run.folder / "recipe.toml")).train.seed == 3
    assert json.loads((run.folder / "report.json").read_text(encoding="utf-8"))["budget"] == told
    assert len(run.report["history"]) == 2


def test_parts_are_counted_without_clips_that_take_none(waveforms: ClipWaveforms) -> None:
    parts = np.array(["train"] * 30 + ["test"] * 4 + ["unused"] * 2, dtype=object)
    counted = module._count_parts(Split(parts, ""), waveforms.clips)
    assert (counted.train, counted.test, counted.clips, counted.retrainings) == (30, 4, 34, 3)


def test_a_head_is_trained_again_on_what_is_left_without_classes_and_a_part() -> None:
    """As `retrain_without` deals its rounds: five, where there are ten classes."""
    assert module.Parts(train=800, validation=0, test=200, classes=10, retrainings=5).learnt_again == 512
    assert module.Parts(train=800, validation=100, test=100, classes=10, retrainings=5).learnt_again == 640
