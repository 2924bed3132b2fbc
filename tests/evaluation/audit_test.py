"""One of each fault, planted: the audit names it, the page and the record show it, the corrections list it."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from earmark.data.clips import build_clips
from earmark.data.corrections import apply_corrections, write_corrections
from earmark.evaluation.audit import audit
from earmark.evaluation.audit_checks import Check, list_checks, sum_up
from earmark.evaluation.audit_page import write_audit_page
from earmark.evaluation.audit_record import describe_audit, propose_corrections

RATE = 16_000


def sing(place):
    """A tone that starts and ends at random, with a little noise; a hiss for every second clip."""
    generator = np.random.default_rng(place)
    time_s = np.arange(RATE) / RATE
    hiss = generator.normal(0, 0.15, RATE)
    tone = 0.3 * np.sin(2 * np.pi * generator.uniform(400, 900) * time_s) * generator.uniform(0.2, 1, 10).repeat(1600)
    return np.clip(hiss if place % 2 else tone + 0.02 * hiss, -0.9, 0.9)


def write(path, samples, rate=RATE, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **how)
    return str(path)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Name -> row of the table, and the clips: 12 tones and 12 hisses, then the faults."""
    folder = tmp_path_factory.mktemp("planted")
    rows = [
        {"path": write(folder / f"{place}.wav", sing(place)), "label": ("tone", "hiss")[place % 2]}
        for place in range(24)
    ]
    for place, row in enumerate(rows):
        row["split"] = "train" if place < 16 else "test"
        row["group"] = f"source {place}"

    def plant(name, label, samples, rate=RATE, split="train", **how):
        rows.append({"path": write(folder / name, samples, rate, **how), "label": label, "split": split})

    plant("copy.wav", "tone", sing(0), split="test")
    plant("late.wav", "hiss", 0.5 * np.concatenate([np.zeros(2000), sing(1)[:-2000]]))
    plant("conflict.wav", "tone", np.concatenate([sing(3)[800:], np.zeros(800)]))
    plant("mislabelled.wav", "tone", sing(31))
    plant("clipped.wav", "tone", np.clip(8 * sing(32), -1, 1))
    plant("silent.wav", "hiss", np.zeros(RATE))
    plant("short.wav", "hiss", sing(33)[:800])
    plant("offset.wav", "hiss", sing(35) * 0.5 + 0.2)
    broken = sing(37).astype(np.float32)
    broken[9] = np.nan
    plant("broken.wav", "hiss", broken, subtype="FLOAT")
    plant("stereo.wav", "hiss", np.stack([sing(39), sing(41)], axis=1))
    plant("cut.wav", "hiss", sing(43))
    (folder / "cut.wav").write_bytes((folder / "cut.wav").read_bytes()[:-8_000])
    plant("text.wav", "tone", sing(44))
    (folder / "text.wav").write_text("no sound")
    for row in rows[24:]:
        row["group"] = "source 20" if row["path"].endswith("short.wav") else None
    return build_clips(rows, source=str(folder), layout="CSV manifest")


@pytest.fixture(scope="module")
def found(planted):
    return audit(planted, workers=1)


def rows_with(found, kind):
    return [found.names[fault.row] for fault in found.faults if fault.kind == kind and fault.row >= 0]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("undecodable", "text.wav"),
        ("truncated", "cut.wav"),
        ("clipped", "clipped.wav"),
        ("silent", "silent.wav"),
        ("too short", "short.wav"),
        ("dc offset", "offset.wav"),
        ("not finite", "broken.wav"),
    ],
)
def test_each_planted_fault_is_found_in_its_clip_and_nowhere_else(found, kind, name):
    assert rows_with(found, kind) == [name]


def test_mixed_formats_are_told_of_the_whole_set(found):
    kinds = {fault.kind for fault in found.faults if fault.row < 0}
    assert {"channels", "bit depths"} <= kinds
    assert "sample rates" not in kinds


def name_rows(found, rows):
    return sorted(found.names[row] for row in rows)


def test_copies_near_duplicates_and_conflicts_are_found(found):
    alike = found.resemblance
    assert [name_rows(found, rows) for rows in alike.copies] == [["0.wav", "copy.wav"]]
    pairs = [name_rows(found, (pair.first, pair.second)) for pair in alike.near_duplicates]
    assert sorted(pairs) == [["1.wav", "late.wav"], ["3.wav", "conflict.wav"]]
    assert [name_rows(found, conflict[:2]) for conflict in alike.conflicts] == [["3.wav", "conflict.wav"]]


def test_leaks_are_found_by_group_and_by_sound(found):
    leaks = {leak.kind: name_rows(found, leak.rows) for leak in found.resemblance.leaks}
    assert leaks == {"group": ["20.wav", "short.wav"], "duplicate": ["0.wav", "copy.wav"]}


def test_a_wrong_label_is_the_first_suspect(found):
    first = found.label_faults.suspects[0]
    assert (found.names[first.row], first.label, first.suggested) == ("mislabelled.wav", "tone", "hiss")


def test_the_verdict_names_what_must_be_mended_first(found):
    checks = list_checks(found)
    states = {check.name: check.state for check in checks}
    assert [check.state for check in checks[:3]] == ["mend"] * 3
    assert {name for name, state in states.items() if state == "mend"} == {"Files", "Label conflicts", "Leaks"}
    assert states["Classes"] == "fine"
    assert {check.name: check.found for check in checks}["Files"] == 2
    assert sum_up(checks).startswith("Mend before training: files, label conflicts and leaks. Worth a look: ")


def test_the_record_is_json_that_names_every_clip_by_its_path(found):
    record = json.loads(json.dumps(describe_audit(found), allow_nan=False))
    assert record["clips"] == len(found.clips)
    assert record["labels"] == {"hiss": 19, "tone": 17}
    undecodable = next(fault for fault in record["faults"] if fault["kind"] == "undecodable")
    assert undecodable["path"].endswith("text.wav")
    assert "is text, not sound" in undecodable["sentence"]
    assert [clip["path"].rsplit("/", 1)[-1] for clip in record["copies"][0]] == ["0.wav", "copy.wav"]
    assert record["label_faults"]["suspects"][0]["suggested"] == "hiss"
    assert {shortcut["name"] for shortcut in record["shortcuts"]} >= {"majority", "loudness", "codec"}


def test_corrections_propose_to_drop_only_what_is_safe_to_drop(found, tmp_path):
    proposed = {correction.path.rsplit("/", 1)[-1]: correction for correction in propose_corrections(found)}
    assert {name for name, one in proposed.items() if one.action == "drop"} == {"text.wav", "copy.wav"}
    assert proposed["conflict.wav"].suggested == "hiss"
    assert "labelled hiss" in proposed["conflict.wav"].reason
    assert proposed["mislabelled.wav"].suggested == "hiss"
    assert "copy of 0.wav" in proposed["copy.wav"].reason
    assert "nearly the same sound as 1.wav" in proposed["late.wav"].reason
    corrected = apply_corrections(found.clips, write_corrections(proposed.values(), tmp_path / "c.csv"))
    assert (corrected.relabelled, corrected.dropped, len(corrected.clips)) == (0, 2, len(found.clips) - 2)


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "audit.html"
    return write_audit_page(found, path, corrections="mine.csv").read_text(encoding="utf-8")


def split_sections(page):
    return {part.split('"', 1)[0]: part for part in page.split('<section id="')[1:]}


def test_the_page_asks_nothing_of_any_network_and_its_links_lead_somewhere(page):
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets <= set(re.findall(r'id="([^"]+)"', page))


def test_the_page_begins_with_the_verdict_and_says_how_to_go_on(page):
    verdict = split_sections(page)["verdict"]
    assert "Mend before training" in verdict
    assert verdict.index(">Files<") < verdict.index(">Recordings<")
    assert "mine.csv" in verdict
    assert "earmark data apply" in verdict


def test_suspects_and_pairs_can_be_heard_side_by_side(page):
    sections = split_sections(page)
    assert sections["labels"].count("<audio") == sections["labels"].count('<article class="clip">') >= 1
    assert "sounds like <strong>hiss</strong>" in sections["labels"]
    assert sections["conflicts"].count("<audio") == 2
    assert sections["near"].count("<audio") == 2
    assert "0.125 s later" in sections["near"]
    assert sections["copies"].count("<audio") == 1
    assert sections["recordings"].count("<audio") >= 3


def test_the_page_lists_files_leaks_and_shortcuts(page):
    sections = split_sections(page)
    assert "text.wav" in sections["files"]
    assert "cut.wav" in sections["files"]
    assert "source 20" in sections["leaks"]
    assert all(name in sections["shortcuts"] for name in ("majority", "duration", "loudness", "codec"))


def test_what_cannot_be_played_says_so_in_its_place(page):
    assert "This sound could not be shown." in split_sections(page)["recordings"]


def test_names_and_labels_are_text_on_the_page(tmp_path):
    rows = [
        {"path": write(tmp_path / f"<b>{place}.wav", sing(place)[:4000]), "label": ("<i>&", "x")[place % 2]}
        for place in range(4)
    ]
    clips = build_clips([*rows, {**rows[0], "path": write(tmp_path / "<b>0 again.wav", sing(0)[:4000])}])
    page = write_audit_page(audit(clips, workers=1), tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "&lt;i&gt;&amp;" in page


def test_a_published_protocol_stands_as_it_is(found):
    published = replace(found, clips=replace(found.clips, layout="Speech Commands"))
    leaks = next(check for check in list_checks(published) if check.name == "Leaks")
    assert leaks.state == "look"
    assert "published protocol, which stands as it is" in leaks.sentence


def test_clean_clips_need_no_correction(tmp_path):
    rows = [
        {"path": write(tmp_path / f"{place}.wav", sing(place)), "label": ("tone", "hiss")[place % 2]}
        for place in range(20)
    ]
    found = audit(build_clips(rows), workers=1)
    assert propose_corrections(found) == []
    states = {check.name: check.state for check in list_checks(found)}
    assert {states[name] for name in ("Files", "Recordings", "Formats", "Copies", "Near duplicates", "Labels")} == {
        "fine"
    }
    assert states["Leaks"] == "not checked"
    assert any("neither a split nor folds" in note for note in found.notes)


def test_clips_with_several_labels_say_which_checks_do_not_apply(tmp_path):
    rows = [
        {"path": write(tmp_path / f"{place}.wav", sing(place)), "label": ("tone;low", "hiss")[place % 2]}
        for place in range(6)
    ]
    rows.append({"path": write(tmp_path / "again.wav", sing(0)), "label": "tone"})
    found = audit(build_clips(rows, multi_label=True), workers=1)
    states = {check.name: check.state for check in list_checks(found)}
    assert (states["Shortcuts"], states["Labels"]) == ("not checked", "not checked")
    assert "one label each" in found.label_faults.sentence
    assert any("Shortcuts were not tested" in note for note in found.notes)
    assert states["Label conflicts"] == "mend"
    assert found.count_labels() == {"hiss": 3, "low": 3, "tone": 4}
    assert json.dumps(describe_audit(found), allow_nan=False)
    page = write_audit_page(found, tmp_path / "a.html").read_text(encoding="utf-8")
    assert "counts in each of them" in page


def test_nothing_that_can_be_decoded_is_still_an_audit(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.wav").write_text("no sound")
    found = audit(build_clips([{"path": str(tmp_path / f"{name}.wav"), "label": name} for name in "ab"]), workers=1)
    assert {check.name: check.found for check in list_checks(found)}["Files"] == 2
    assert write_audit_page(found, tmp_path / "a.html").is_file()


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        (["fine", "not checked"], "Nothing was found that speaks against training on these clips."),
        (["look"], "Nothing must be mended. Worth a look: check 0."),
        (["mend", "look", "look"], "Mend before training: check 0. Worth a look: check 1 and check 2."),
    ],
)
def test_the_verdict_in_one_sentence(states, sentence):
    checks = [Check(f"Check {place}", 1, state, "", "") for place, state in enumerate(states)]
    assert sum_up(checks) == sentence
