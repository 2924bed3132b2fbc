"""The gate: what stands on two sides stops a run by name, unless a published protocol or somebody says otherwise."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from earmark.data.clips import Clips, build_clips
from earmark.data.groups import hash_group
from earmark.errors import ClipsError
from earmark.inference.classifier import Classifier
from earmark.training.assess import evaluate
from earmark.training.crossval import crossval
from earmark.training.recipe import Recipe
from earmark.training.run import Run, resume, train

Rows = list[dict[str, Any]]


@pytest.fixture
def rows(clips: Clips) -> Rows:
    """The clips in the order beep, hiss, hum, beep, …; the last third is set aside."""
    table = clips.table.to_dict("records")
    dealt = [table[label * 12 + take] for take in range(12) for label in range(3)]
    return [row | {"split": "test" if i >= 24 else "train"} for i, row in enumerate(dealt)]


@pytest.fixture
def brief(tiny_quick: Recipe) -> Recipe:
    return replace(tiny_quick, train=replace(tiny_quick.train, epochs=1))


def add_copy(rows: Rows, row: int, path: Path, **changes: Any) -> Rows:
    path.parent.mkdir(parents=True, exist_ok=True)
    return [*rows, rows[row] | {"path": shutil.copy(rows[row]["path"], path)} | changes]


def read_pages(run: Run) -> tuple[dict[str, Any], str]:
    return json.loads((run.folder / "report.json").read_text(encoding="utf-8")), (run.folder / "report.html").read_text(
        encoding="utf-8"
    )


def test_a_split_that_keeps_all_apart_passes_and_says_what_was_compared(
    rows: Rows, brief: Recipe, tmp_path: Path
) -> None:
    grouped = [row | {"group": f"take {i // 3}"} for i, row in enumerate(rows)]
    report, page = read_pages(train(build_clips(grouped), brief, out=tmp_path / "run"))
    assert report["leaks"] == {
        "found": [],
        "checked": "Compared: 12 groups and the sound of 36 clips, sample by sample.",
        "consequence": "",
        "allowed": False,
        "published": False,
    }
    assert 'class="alarm"' not in page
    assert "Nothing stands on two sides." in page


def test_groups_on_two_sides_are_named_and_stop_the_run(rows: Rows, brief: Recipe, tmp_path: Path) -> None:
    leaking = build_clips([row | {"group": f"take {i % 5}"} for i, row in enumerate(rows)])
    with pytest.raises(ClipsError) as caught:
        train(leaking, brief, out=tmp_path / "run")
    assert str(caught.value) == (
        "5 groups stand on two sides of the split: 'take 0' (5 clips in train, 3 in test); 'take 1' (5 clips in train, "
        "2 in test); 'take 2' (5 clips in train, 2 in test); and 2 more. Either keep each group and each sound on one "
        "side, or go on with --allow-leak (allow_leak=True in Python), and the report will say so in red."
    )
    assert not (tmp_path / "run").exists()


def test_with_leave_the_run_goes_on_and_every_page_says_so(rows: Rows, brief: Recipe, tmp_path: Path) -> None:
    copied = add_copy(rows, 0, tmp_path / "copy" / "beep.wav", split="test")
    run = train(build_clips(copied), brief, out=tmp_path / "run", allow_leak=True)
    report, page = read_pages(run)
    (entry,) = report["leaks"]["found"]
    assert (entry["kind"], entry["clips"]) == ("duplicate", 2)
    assert entry["sentence"] == "1 sound stands on two sides of the split"
    assert re.fullmatch(r".*beep 00\.wav \(train\) = .*copy/beep\.wav \(test\)", entry["examples"][0])
    assert (report["leaks"]["allowed"], report["leaks"]["published"]) == (True, False)
    assert "learns from part of what it is tested on" in report["leaks"]["consequence"]
    banner = page[page.index('class="alarm"') : page.index('id="result"')]
    assert "Do not trust these figures" in banner
    assert "1 sound stands on two sides of the split" in banner
    card = (run.model_folder / "README.md").read_text(encoding="utf-8")
    assert "**It leaks.** The model learns from part of what it is tested on" in card
    assert card.index("It leaks") < card.index("## Figures")
    assert str(tmp_path) not in card


def test_a_copy_is_found_whatever_its_format(rows: Rows, brief: Recipe, tmp_path: Path) -> None:
    import soundfile

    samples, rate = soundfile.read(rows[0]["path"], dtype="int16")
    soundfile.write(tmp_path / "again.flac", samples, rate)
    copied = [*rows, rows[0] | {"path": str(tmp_path / "again.flac"), "split": "test"}]
    with pytest.raises(
        ClipsError, match=r"1 sound stands on two sides of the split: .*beep 00\.wav \(train\) = .*flac \(test\)"
    ):
        train(build_clips(copied), brief, out=tmp_path / "run")


def test_copies_on_one_side_are_no_leak_but_two_labels_are_told(rows: Rows, brief: Recipe, tmp_path: Path) -> None:
    copied = add_copy(rows, 0, tmp_path / "copy.wav", label="hum")
    run = train(build_clips(copied), brief, out=tmp_path / "run")
    assert run.report["leaks"]["found"] == []
    (note,) = [note for note in run.report["notes"] if "two labels" in note]
    assert re.fullmatch(
        r"1 sound under two labels: .*beep 00\.wav \(beep\) = .*copy\.wav \(hum\)\. Listen to them\.", note
    )


def test_two_labels_on_two_sides_are_told_with_the_leak(rows: Rows, brief: Recipe, tmp_path: Path) -> None:
    copied = add_copy(rows, 0, tmp_path / "copy.wav", label="hum", split="test")
    with pytest.raises(ClipsError, match=r"beep 00\.wav \(train, labelled beep\) = .*copy\.wav \(test, labelled hum\)"):
        train(build_clips(copied), brief, out=tmp_path / "run")


def test_cuts_of_one_file_that_overlap_are_the_same_sound(rows: Rows, brief: Recipe, tmp_path: Path) -> None:
    grouped = [row | {"group": None if i else "told"} for i, row in enumerate(rows)]
    cut = rows[0] | {"start_s": 0.25, "split": "test"}
    with pytest.raises(
        ClipsError, match=r"1 sound stands on two sides .*beep 00\.wav \(train\) = .*beep 00\.wav 0\.25–end \(test\)"
    ):
        train(build_clips([*grouped, cut]), brief, out=tmp_path / "run")
    halves = [grouped[0] | {"end_s": 0.25}, *grouped[1:], cut]
    assert train(build_clips(halves), brief, out=tmp_path / "run").report["leaks"]["found"] == []


def test_what_leaks_into_validation_only_is_told_as_such(rows: Rows, brief: Recipe, tmp_path: Path) -> None:
    parted = [row | {"split": "validation"} if i in (3, 4, 5) else row for i, row in enumerate(rows)]
    leaking = build_clips(add_copy(parted, 0, tmp_path / "copy.wav", split="validation"))
    chosen = replace(brief, train=replace(brief.train, select="validation"))
    with pytest.raises(ClipsError, match=r"\(train\) = .*\(validation\)"):
        train(leaking, chosen, out=tmp_path / "run")
    report, page = read_pages(train(leaking, chosen, out=tmp_path / "run", allow_leak=True))
    assert "its figures on the test clips are not touched" in report["leaks"]["consequence"]
    assert "This split leaks" in page
    # Nothing is chosen: both train.
    assert train(leaking, brief, out=tmp_path / "last").report["leaks"]["found"] == []


def test_a_published_protocol_stands_and_what_it_splits_is_noted(rows: Rows, brief: Recipe, tmp_path: Path) -> None:
    folded = [row | {"fold": 1 + i % 2, "group": f"r{i // 6}" if i < 6 else f"s{i}"} for i, row in enumerate(rows)]
    published = replace(build_clips([{**row, "split": None} for row in folded]), layout="UrbanSound8K")
    run = train(published, brief, out=tmp_path / "run")
    note = (
        "The published protocol of UrbanSound8K, which stands as it is, splits some itself: 1 group stands on two sides"
    )
    assert [note for note in run.report["notes"] if note.startswith("The published protocol")] == [
        f"{note} of the split: 'r0' (3 clips in test, 3 in train)."
    ]
    leaks = run.report["leaks"]
    assert (leaks["allowed"], leaks["published"], leaks["found"][0]["clips"]) == (False, True, 6)
    assert 'class="alarm"' not in read_pages(run)[1]
    assert crossval(published, brief, out=tmp_path / "folds").report["leaks"]["published"]
    # The same folds in somebody's own table are a leak, and so is a random split, though it needs no leave.
    with pytest.raises(ClipsError, match="1 group stands on two sides of the split: 'r0'"):
        train(replace(published, layout="CSV manifest"), brief, out=tmp_path / "own")
    # Its own test part may be asked about again; its training part may not.
    again = evaluate(run.folder, run.folder / "clips.csv", split="test", out=tmp_path / "again")
    assert again.report["leaks"]["found"] == []
    assert any(
        "share a group or a sound with 3 clips here, because the published" in note for note in again.report["notes"]
    )
    with pytest.raises(ClipsError, match="The model learned from 18 of these 18 clips"):
        evaluate(run.folder, run.folder / "clips.csv", split="train", out=tmp_path / "learned")


def test_a_random_split_goes_on_and_says_what_it_ignores(rows: Rows, brief: Recipe, tmp_path: Path) -> None:
    random = replace(brief, train=replace(brief.train, split="random"))
    grouped = replace(
        build_clips([row | {"group": f"r{i % 3}"} for i, row in enumerate(rows)]), layout="Speech Commands"
    )
    run = train(grouped, random, out=tmp_path / "run")
    assert [entry["sentence"] for entry in run.report["leaks"]["found"]] == [
        "3 groups stand on two sides of the split",
        "the split is random, so the published split of Speech Commands and what it keeps apart were ignored",
    ]
    assert run.report["leaks"]["allowed"]
    assert "Do not trust these figures" in read_pages(run)[1]
    # Tracks by one artist are only kept apart by the published split: nothing in the files says who plays.
    gtzan = replace(
        build_clips([{"path": row["path"], "label": row["label"], "split": row["split"]} for row in rows]),
        layout="GTZAN",
    )
    leaks = train(gtzan, random, out=tmp_path / "gtzan").report["leaks"]
    assert [entry["kind"] for entry in leaks["found"]] == ["split"]
    assert (
        leaks["consequence"] == "What belongs together may stand on two sides, and the figures may be too good for it."
    )
    # Where there was nothing to ignore, it is the split one would get anyway.
    plain = build_clips([{"path": row["path"], "label": row["label"]} for row in rows])
    assert train(plain, random, out=tmp_path / "plain").report["leaks"]["found"] == []


def test_folds_that_leak_stop_a_cross_validation(rows: Rows, brief: Recipe, tmp_path: Path) -> None:
    folded = build_clips(
        [{**row, "split": None, "fold": 1 + i % 3, "group": f"r{i // 2}"} for i, row in enumerate(rows)]
    )
    with pytest.raises(ClipsError, match=r"18 groups stand on two folds: 'r0' \(1 clip in fold 1, 1 in fold 2\);"):
        crossval(folded, brief, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = crossval(folded, brief, out=tmp_path / "run", allow_leak=True)
    assert run.report["leaks"]["allowed"]
    assert "Do not trust these figures" in read_pages(run)[1]
    assert (run.report["ledger"]["reads"], run.report["ledger"]["clips"]) == (1, 36)


def test_groups_read_from_names_are_kept_apart_and_told(rows: Rows, brief: Recipe, tmp_path: Path) -> None:
    chunks = []
    for i, row in enumerate(rows):
        path = tmp_path / row["label"] / f"site {'abcd'[i // 3 % 4]}_{i // 12}.wav"
        path.parent.mkdir(exist_ok=True)
        chunks.append({"label": row["label"], "path": shutil.copy(row["path"], path)})
    run = train(build_clips(chunks), brief, out=tmp_path / "runs" / "run")
    assert run.report["leaks"]["found"] == []
    assert run.report["leaks"]["checked"].startswith("Compared: 12 groups")
    assert "whole groups together" in run.report["protocol"]
    (note,) = [note for note in run.report["notes"] if "Groups were read from the file names" in note]
    assert "12 recordings in 36 of 36 clips, chunks of one recording such as site a_0.wav" in note
    assert not any("Nothing says which clips share a recording" in note for note in run.report["notes"])
    memory = (run.model_folder / "training_data.json").read_text(encoding="utf-8")
    assert "site" not in memory
    # A split of one's own that goes through recordings is a leak, and the message doubts the guess.
    own = build_clips([row | {"split": "test" if i >= 24 else "train"} for i, row in enumerate(chunks)])
    with pytest.raises(
        ClipsError, match=r"12 groups stand on two sides .*in a `group` column if the file names mislead"
    ):
        train(own, brief, out=tmp_path / "runs" / "own")
    # The model knows the recordings again.
    learned = {entry["group"] for entry in json.loads(memory)["clips"]}
    for name, known in (("beep/site a", True), ("beep/site b", True), ("beep/site z", False)):
        assert known >= (hash_group(name) in learned)


def test_a_resumed_run_keeps_what_was_allowed(
    rows: Rows, brief: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from earmark.training import run as run_module

    leaking = build_clips([row | {"group": f"take {i % 5}"} for i, row in enumerate(rows)])
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "save_model", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            train(leaking, brief, out=tmp_path / "run", allow_leak=True)
    leaks = resume(tmp_path / "run").report["leaks"]
    assert (leaks["allowed"], leaks["found"][0]["sentence"]) == (True, "5 groups stand on two sides of the split")


@pytest.fixture(scope="module")
def taught(clips: Clips, tiny_quick: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model that learned from takes 0 to 7, two takes a group."""
    rows = [row | {"group": f"pair {i % 12 // 2}", "split": "test" if i % 12 >= 8 else "train"} for i, row in
            enumerate(clips.table.to_dict("records"))]  # fmt: skip
    recipe = replace(tiny_quick, train=replace(tiny_quick.train, epochs=1))
    return train(build_clips(rows), recipe, out=tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def ask(taught: Run, clips: Clips, tmp_path: Path) -> Callable[..., Run]:
    """Evaluate takes of each class, with changes to their rows."""

    def ask_about(*takes: int, allow_leak: bool = False, model: Any = None, **changes: Any) -> Run:
        table = clips.table.to_dict("records")
        asked = [table[label * 12 + take] | changes for take in takes for label in range(3)]
        model = taught.folder if model is None else model
        return evaluate(model, build_clips(asked), out=tmp_path / "asked", allow_leak=allow_leak)

    return ask_about


def test_clips_that_a_model_learned_from_stop_an_evaluation(ask: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(
        ClipsError, match=r"^The model learned from 3 of these 6 clips: .*beep 07\.wav; .* Either ask it about"
    ):
        ask(7, 8)
    assert not (tmp_path / "asked").exists()
    report = ask(7, 8, allow_leak=True).report
    assert (report["leaks"]["allowed"], report["leaks"]["found"][0]["clips"]) == (True, 3)
    assert "The model learned from part of what it is asked about" in report["leaks"]["consequence"]


def test_groups_that_a_model_learned_from_stop_an_evaluation(ask: Callable[..., Run]) -> None:
    with pytest.raises(
        ClipsError, match=r"^The model learned from other clips of 1 group: 'pair 3' \(6 clips\)\. Either"
    ):
        ask(8, 9, group="pair 3")
    report = ask(8, 9, group="pair 4").report
    assert report["leaks"]["found"] == []
    assert report["leaks"]["checked"] == (
        "The sound and the groups of these clips were compared with the 24 the model learned from."
    )


def test_a_stretch_of_a_clip_that_a_model_learned_from_is_known(ask: Callable[..., Run]) -> None:
    with pytest.raises(ClipsError, match="learned from 3 of these 3 clips"):
        ask(0, start_s=0.1, end_s=0.2)
    assert ask(8, start_s=0.1, end_s=0.2).report["leaks"]["found"] == []


def test_a_model_on_the_hub_knows_groups_by_their_hashes(taught: Run, ask: Callable[..., Run], tmp_path: Path) -> None:
    pushed = shutil.copytree(taught.model_folder, tmp_path / "pushed")
    memory = json.loads((pushed / "training_data.json").read_text(encoding="utf-8"))
    for clip in memory["clips"]:
        clip["group"] = hash_group(clip["group"])
    (pushed / "training_data.json").write_text(json.dumps(memory), encoding="utf-8")
    with pytest.raises(ClipsError, match="other clips of 1 group: 'pair 3'"):
        ask(8, group="pair 3", model=Classifier.from_pretrained(pushed))


@pytest.mark.parametrize("damage", [None, "no JSON", '{"clips": []}'])
def test_a_model_that_does_not_say_what_it_learned_from(
    taught: Run, ask: Callable[..., Run], tmp_path: Path, damage: str | None
) -> None:
    stranger = shutil.copytree(taught.model_folder, tmp_path / "stranger")
    (stranger / "training_data.json").unlink()
    if damage:
        (stranger / "training_data.json").write_text(damage, encoding="utf-8")
    report = ask(0, model=stranger).report
    assert report["leaks"]["found"] == []
    assert "does not say which clips it learned from" in report["leaks"]["checked"]
    assert report["leaks"]["checked"] in report["notes"]


def test_the_report_counts_the_readings(taught: Run, ask: Callable[..., Run], tmp_path: Path) -> None:
    assert taught.report["ledger"]["sentence"] == "These test clips were read for the first time."
    ask(8, 9)
    shutil.rmtree(tmp_path / "asked")
    report, page = read_pages(ask(8, 9))
    assert report["ledger"]["reads"] == 2
    assert "have now been read 2 times (evaluate in asked, evaluate in asked); each choice made after looking" in page
