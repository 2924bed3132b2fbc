"""A search: repeatable, continued after a kill, judged on validation clips alone, and no worse than the recipe."""

import builtins
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from earmark.data.clips import Clips, build_clips
from earmark.data.splits import split_clips
from earmark.data.store import Store
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import ClipsError, RunError
from earmark.training import trials as module
from earmark.training.crossval import resume_crossval
from earmark.training.fit import Fitted
from earmark.training.recipe import Recipe, list_recipes, load_recipe, to_toml
from earmark.training.run import resume, train
from earmark.training.search_space import apply_values, find_space
from earmark.training.trials import Study, Trial, choose_best, run_trial
from earmark.training.tune import resume_tune, tune

TRIALS = 4


def strip(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trials without how long they took."""
    return [{**trial, "seconds": 0} for trial in trials]


@pytest.fixture(scope="module")
def recipe(tiny_quick: Recipe) -> Recipe:
    return replace(tiny_quick, train=replace(tiny_quick.train, epochs=3, learning_rate=2e-4))


@pytest.fixture(scope="module")
def search(clips: Clips, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory):
    return tune(clips, recipe, trials=TRIALS, out=tmp_path_factory.mktemp("searches") / "one", seed=3)


def test_a_search_run_twice_finds_the_same(clips: Clips, recipe: Recipe, search, tmp_path: Path) -> None:
    again = tune(clips, recipe, trials=TRIALS, out=tmp_path / "again", seed=3)
    assert strip(again.figures["trials"]) == strip(search.figures["trials"])
    assert again.best_recipe.read_text(encoding="utf-8") == search.best_recipe.read_text(encoding="utf-8")


def test_the_first_trial_is_the_recipe_and_the_best_is_no_worse(recipe: Recipe, search) -> None:
    trials = search.figures["trials"]
    assert len(trials) == TRIALS
    assert apply_values(recipe, trials[0]["values"]) == recipe
    best = trials[search.figures["best"] - 1]
    assert best["figure"] == max(trial["figure"] for trial in trials if not trial["pruned"])
    found = load_recipe(str(search.best_recipe))
    expected = apply_values(recipe, best["values"])
    for section in ("audio", "front_end", "model", "augment"):
        assert getattr(found, section) == getattr(expected, section)
    assert found.train == replace(expected.train, seed=3)
    assert found.name == "quick-tuned"


def test_the_clips_to_be_tested_on_are_not_even_decoded(
    clips: Clips, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    prepare = Store.prepare

    def note(self: Store, paths: Any, **settings: Any) -> Any:
        asked.extend(paths := list(paths))
        return prepare(self, paths, **settings)

    monkeypatch.setattr(Store, "prepare", note)
    rows = [{**row, "fold": i % 4 + 1} for i, row in enumerate(clips.table.to_dict("records"))]
    folded = build_clips(rows)
    search = tune(folded, recipe, trials=1, out=tmp_path / "search", test_fold=3)
    tested = set(folded.table.loc[folded.table["fold"] == 3, "path"])
    assert asked
    assert not tested & set(asked)
    assert "The 9 test clips were left out of the search" in search.figures["protocol"]
    assert search.figures["next"].endswith("--test-fold 3")


def test_what_is_tested_afterwards_is_what_the_search_left_alone(clips: Clips, search, tmp_path: Path) -> None:
    """Without published parts the CSV that is named keeps the search's own; the training would deal the same."""
    dealt = split_clips(clips, validation=False, seed=3)
    searched = (search.folder / "clips.csv").read_text(encoding="utf-8")
    tested = [Path(path).name for path in clips.table["path"].iloc[dealt.rows("test")]]
    assert Path(clips.table["path"].iloc[dealt.rows("train")[0]]).name in searched
    assert not any(name in searched for name in tested)
    assert f"earmark train {search.folder / 'split.csv'} --recipe {search.best_recipe}" == search.figures["next"]
    run = train(str(search.folder / "split.csv"), str(search.best_recipe), out=tmp_path / "run")
    assert run.report["recipe"]["name"] == "quick-tuned"
    assert run.report["data"]["split"]["test"] == len(dealt.rows("test"))


KILLED = """
    import os, signal, sys
    from earmark.training import trials
    from earmark.training.recipe import load_recipe
    from earmark.training.tune import tune

    fit = trials.fit_model

    def fit_or_die(learner, waveforms, recipe, **settings):
        watch = settings.pop("on_record")

        def die(record):
            watch(record)
            if settings["title"].endswith(f"trial {sys.argv[4]} of 4") and record["epoch"] == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        return fit(learner, waveforms, recipe, on_record=die, **settings)

    trials.fit_model = fit_or_die
    tune(sys.argv[1], load_recipe(sys.argv[3]), trials=4, out=sys.argv[2], seed=3)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_search_killed_outright_is_continued_to_the_same_end(
    recipe: Recipe, sounds: Path, search, tmp_path: Path
) -> None:
    """In the third trial, after its second epoch: that trial is done again, with the same values."""
    (tmp_path / "quick.toml").write_text(to_toml(recipe), encoding="utf-8")
    script = [sys.executable, "-c", textwrap.dedent(KILLED), str(sounds), str(tmp_path / "run")]
    done = subprocess.run([*script, str(tmp_path / "quick.toml"), "3"], check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "run" / "best.toml").exists()
    resumed = resume_tune(tmp_path / "run")
    assert strip(resumed.figures["trials"]) == strip(search.figures["trials"])
    assert load_recipe(str(resumed.best_recipe)).train == load_recipe(str(search.best_recipe)).train


def test_a_budget_ends_a_search_and_more_trials_can_be_added(
    clips: Clips, recipe: Recipe, search, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tune(clips, recipe, trials=TRIALS, out=tmp_path / "short", seed=3, budget_s=0.001)
    assert len(short.figures["trials"]) == 1
    assert f"The budget is spent: 1 of {TRIALS} trials" in capsys.readouterr().err
    more = resume_tune(short.folder, trials=2)
    assert strip(more.figures["trials"]) == strip(search.figures["trials"][:2])


def test_what_is_no_search_is_not_continued(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no run to continue \(no run\.json\); start one with `earmark tune`"):
        resume_tune(tmp_path)


def test_validation_clips_that_cannot_be_heard_leave_nothing_to_search_by(
    clips: Clips, recipe: Recipe, tmp_path: Path
) -> None:
    dealt = split_clips(clips, validation=True, seed=3)
    table = clips.table.assign(split=dealt.parts)
    (tmp_path / "broken.wav").write_text("no sound")
    table.loc[dealt.rows("validation"), "path"] = str(tmp_path / "broken.wav")
    with pytest.raises(ClipsError, match=r"^No clip of the validation part can be heard; the first: .*broken\.wav"):
        tune(build_clips(table.to_dict("records")), recipe, trials=1, out=tmp_path / "search", seed=3)


def test_a_search_is_continued_by_its_own_verb(search) -> None:
    for begin_again in (resume, resume_crossval):
        with pytest.raises(RunError, match=r"is a search; continue it with `earmark tune --resume .*one`\."):
            begin_again(search.folder)


def test_without_optuna_a_sentence_names_the_extra(
    clips: Clips, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def refuse(name: str, *rest: Any, **settings: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return imported(name, *rest, **settings)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(RunError, match=r'pip install "earmark\[tune\]"'):
        tune(clips, recipe, out=tmp_path / "search")
    assert not (tmp_path / "search").exists()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, waveforms: ClipWaveforms, tmp_path: Path):
    """Runs trials whose validation figures are given, epoch by epoch."""

    def run(recipe: Recipe, figures: list[list[float]]) -> list[Trial]:
        study = Study(tmp_path, find_space(recipe), epochs=recipe.train.epochs, seed=0)
        split = split_clips(waveforms.clips, validation=True)
        for series in figures:

            def fit(*_: Any, on_record: Any, series: list[float] = series, **settings: Any) -> Fitted:
                for epoch, figure in enumerate(series, start=1):
                    on_record({"epoch": epoch, "validation_accuracy": figure})
                return Fitted([], len(series), False)

            monkeypatch.setattr(module, "fit_model", fit)
            settled = replace(recipe, audio=replace(recipe.audio, window_s=0.5))
            run_trial(study, waveforms, split, settled, None, seed=0, title="")
        return study.list_trials()

    return run


def test_a_trial_is_judged_by_the_epoch_that_the_recipe_keeps(scripted, tiny_quick: Recipe) -> None:
    assert [trial.figure for trial in scripted(tiny_quick, [[0.2, 0.9, 0.8, 0.7]])] == [0.7]


def test_with_a_validating_recipe_it_is_the_best_epoch(scripted, tiny_quick: Recipe) -> None:
    choosing = replace(tiny_quick, train=replace(tiny_quick.train, select="validation"))
    assert [trial.figure for trial in scripted(choosing, [[0.2, 0.9, 0.8, 0.7]])] == [0.9]


def test_what_is_worse_than_the_median_ends_early_and_is_never_the_best(scripted, tiny_quick: Recipe) -> None:
    good = [[0.5, 0.6, 0.7, 0.8]] * 4
    trials = scripted(tiny_quick, [*good, [0.1, 0.2, 0.9, 0.99], [0.6, 0.7, 0.8, 0.9]])
    assert [(trial.pruned, trial.epochs) for trial in trials[4:]] == [(True, 2), (False, 4)]
    assert trials[4].figure == 0.2
    assert choose_best(trials).number == 6


def test_of_equal_trials_the_earliest_is_the_best() -> None:
    trials = [Trial(n, {}, figure, False, 1, 1.0) for n, figure in ((1, 0.5), (2, 0.8), (3, 0.8))]
    assert choose_best(trials).number == 2


@pytest.mark.parametrize("name", sorted(list_recipes()))
def test_every_recipe_has_its_own_values_within_its_ranges(name: str) -> None:
    recipe = load_recipe(name)
    space = find_space(recipe)
    assert {"train.learning_rate", "train.label_smoothing"} <= {dimension.setting for dimension in space}
    for dimension in space:
        assert dimension.low <= dimension.own <= dimension.high
        assert dimension.setting in dimension.describe()
    own = {dimension.setting: dimension.own for dimension in space}
    assert apply_values(recipe, own) == recipe


def test_a_search_leaves_alone_what_a_network_does_not_hear() -> None:
    settings = {dimension.setting for dimension in find_space(load_recipe("quick"))}
    assert not any(setting.startswith("augment.") for setting in settings)
    assert {"augment.mix", "augment.mask_mels", "model.widths"} <= {d.setting for d in find_space(load_recipe("cnn"))}


def test_the_page_tells_the_trials_and_what_to_do_next(search) -> None:
    page = (search.folder / "search.html").read_text(encoding="utf-8")
    assert "Validation accuracy of each trial" in page
    assert f"--recipe {search.best_recipe}" in page
    assert "clips were left out of the search" in page
    assert page.count("<tr") == TRIALS + 1
    for dimension in search.figures["space"]:
        assert dimension in page
