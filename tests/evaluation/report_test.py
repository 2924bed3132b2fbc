"""The report opens from disk, tells the truth about the run, and survives what is wrong with files and names."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from earmark.errors import SoundError
from earmark.evaluation.metrics import score_predictions
from earmark.evaluation.multi_label import score_multi_label
from earmark.evaluation.report import write_report
from earmark.evaluation.report_figures import draw_confusion_matrix, draw_findings, draw_learning_curves

LABELS = ["<b>rain</b>", "dog & cat", "公鸡打鸣"]
VOID = {"meta", "link", "br", "input", "img", "hr"}


class Reader(HTMLParser):
    """Reads a page as a browser does and keeps what the tests ask for."""

    def __init__(self, page):
        super().__init__()
        self.open, self.ids, self.addresses, self.tags, self.words, self.headings = [], [], [], [], [], []
        self.feed(page)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.addresses += [given[name] for name in ("src", "href") if name in given]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, words):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(words)


def make_predictions(n_clips=60, *, seed=0, hint=1.2):
    random = np.random.default_rng(seed)
    truth = np.arange(n_clips) % 3
    scores = random.random((n_clips, 3))
    scores[np.arange(n_clips), truth] += hint / 2
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    rows = pd.DataFrame(
        {
            "path": [f"folder/clip {i:02d}.wav" for i in range(n_clips)],
            "label": [LABELS[i] for i in truth],
            "predicted": [LABELS[i] for i in probabilities.argmax(axis=1)],
            "score": probabilities.max(axis=1),
        }
    )
    return rows, score_predictions(LABELS, truth, probabilities, n_resamples=50)


def make_report(metrics, **more):
    return {"title": "Test run", "kind": "train", "metrics": metrics, "earmark": "0.1.0", **more}


def load_noise(row):
    return np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32), 8_000


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    rows, metrics = make_predictions()
    rows.loc[0, "path"] = "folder/<script>alert(1).wav"
    rows.loc[0, ["predicted", "score"]] = [LABELS[1], 0.999]
    rows["start_s"], rows["end_s"] = [12.0] + [np.nan] * 59, [17.5] + [np.nan] * 59
    report = make_report(
        metrics,
        created="2026-01-02T03:04:05+00:00",
        protocol="Split by recording.",
        notes=["The weights started at random."],
        data={
            "source": "sounds",
            "clips": 1234,
            "classes": 3,
            "labels": LABELS,
            "hash": "abc123",
            "split": {"train": 1000, "validation": 174, "test": 60},
            "left_out": [{"path": "bad.mp3", "reason": "The file is empty."}],
        },
        recipe={"train": {"epochs": 3, "nothing": None}, "model": {"backbone": "mlp"}},
        model={"parameters": 1_234_567, "sample_rate": 16_000, "window_s": 5.0, "device": "cpu"},
        seed=0,
        timing={"decode_s": 1.0, "train_s": 61.0, "evaluate_s": 0.2},
        versions={"torch": "2.15.0"},
        commit="deadbeef",
        history=[{"epoch": 1, "loss": 2.0, "accuracy": 0.5}, {"epoch": 2, "loss": float("nan"), "accuracy": 0.6}],
        chosen_epoch=2,
    )

    def load(row):
        if row["path"].endswith("clip 01.wav"):
            raise SoundError("clip 01.wav cannot be read: <i>cut off</i>. Copy it again.")
        return load_noise(row)

    rows.loc[1, ["predicted", "score"]] = [LABELS[0], 0.998]
    path = write_report(tmp_path_factory.mktemp("run") / "deep", report, rows, load)
    return path, report, rows


def test_the_page_is_one_whole_file_that_asks_nothing_of_any_network(full):
    page = full[0].read_text(encoding="utf-8")
    reader = Reader(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert all(address.startswith(("data:", "#")) for address in reader.addresses)
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)
    assert "script" not in reader.tags
    assert "url(" not in page
    assert sorted(path.name for path in full[0].parent.iterdir()) == ["report.html", "report.json"]


def test_the_page_says_how_good_and_how_sure(full):
    text = Reader(full[0].read_text(encoding="utf-8")).text
    accuracy = full[1]["metrics"]["accuracy"]
    assert f"{100 * accuracy['value']:.1f}" in text
    assert f"{100 * accuracy['low']:.1f}–{100 * accuracy['high']:.1f}" in text
    for expected in (
        "95 % bootstrap over 60 clips.",
        "Split by recording.",
        "The weights started at random.",
        "Majority guess 33.3 always “<b>rain</b>”",
        "1,234 in 3 classes",
        "train 1,000, validation 174, test 60",
        "1,234,567",
        "1 min 1 s",
        "deadbeef",
        "abc123",
        "bad.mp3 The file is empty.",
        '[model] backbone = "mlp"',
    ):
        assert expected in text
    assert "nothing" not in text


def test_names_are_shown_as_they_are_and_never_run(full):
    page = full[0].read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>rain" not in page
    text = Reader(page).text
    assert "<script>alert(1).wav , 12–17.5 s" in text
    assert "dog & cat" in text
    assert "公鸡打鸣" in text


def test_the_most_confident_mistakes_come_first_and_can_be_heard(full):
    path, _, rows = full
    page = path.read_text(encoding="utf-8")
    section = page[page.index('<section id="mistakes"') : page.index('<section id="making"')]
    wrong = rows[rows["label"] != rows["predicted"]].sort_values("score", ascending=False)
    shown = min(12, len(wrong))
    assert section.count("<article") == shown
    scores = [float(score) for score in re.findall(r"([\d.]+)\u202f% sure", section)]
    assert scores == [round(100 * score, 1) for score in wrong["score"][:shown]]
    # One of them cannot be read, and says so in its place.
    assert section.count("<audio") == section.count("Mel spectrogram,") == shown - 1
    assert "&lt;i&gt;cut off&lt;/i&gt;. Copy it again." in section


def test_each_class_has_an_example_with_waveform_and_spectrogram(full):
    page = full[0].read_text(encoding="utf-8")
    section = page[page.index('<section id="examples"') : page.index('<section id="mistakes"')]
    for what in ("<article", "<audio", 'aria-label="Waveform,', 'aria-label="Mel spectrogram,'):
        assert section.count(what) == 3


def test_report_json_is_the_report_and_valid_json(full):
    path, report, _ = full
    stored = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    assert stored["history"][1].pop("loss") is None
    assert report["history"][1]["loss"] != report["history"][1]["loss"]
    for key in ("metrics", "data", "recipe", "notes"):
        assert stored[key] == report[key]


def test_a_bare_report_leaves_out_what_it_does_not_know(tmp_path):
    rows, metrics = make_predictions()
    text = Reader(write_report(tmp_path, make_report(metrics), rows, load_noise).read_text(encoding="utf-8")).text
    for absent in ("None", "Recipe", "Left out", "Fold by fold", "epoch"):
        assert absent not in text


def test_a_model_without_mistakes_is_not_called_certain(tmp_path):
    rows, metrics = make_predictions(hint=10)
    page = write_report(tmp_path, make_report(metrics), rows, load_noise).read_text(encoding="utf-8")
    text = Reader(page).text
    assert "It made no mistake on this test set." in text
    assert "with none in 60 clips, up to 5.0\u202f% may still be wrong" in page


def test_a_cross_validation_shows_its_folds_with_mean_and_spread(tmp_path):
    rows, metrics = make_predictions()
    folds = [{"fold": i, "clips": 20, "accuracy": value, "macro_f1": value} for i, value in ((1, 0.8), (2, 0.9))]
    report = make_report(metrics, folds=folds) | {"kind": "crossval"}
    text = Reader(write_report(tmp_path, report, rows, load_noise).read_text(encoding="utf-8")).text
    assert "Cross-validation report" in text
    assert "mean 85.0 85.0 standard deviation 7.1 7.1" in text


def test_a_fault_while_writing_leaves_the_old_report_alone(tmp_path):
    rows, metrics = make_predictions(9)
    write_report(tmp_path, make_report(metrics), rows, load_noise)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stumble(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, make_report(metrics), rows, stumble)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_of_many_classes_only_the_worst_are_heard_and_the_page_says_so(tmp_path):
    labels = [f"class {i}" for i in range(50)]
    truth = np.arange(50)
    guess = np.where(truth < 25, truth, (truth + 1) % 50)
    metrics = score_predictions(labels, truth, np.eye(50)[guess], n_resamples=10)
    rows = pd.DataFrame(
        {"path": labels, "label": labels, "predicted": [labels[i] for i in guess], "score": np.linspace(0.5, 1, 50)}
    )

    def find_nothing(row):
        raise SoundError(f"{row['path']} is gone.")

    page = write_report(tmp_path, make_report(metrics), rows, find_nothing).read_text(encoding="utf-8")
    assert "20 of 50 classes, those that did worst" in page
    assert page.count("<article") == 20 + 12
    assert "class 30 is gone." in page
    assert "class 10 is gone." not in page


def test_confusion_numbers_fit_up_to_twenty_classes():
    for n_classes, numbered in ((2, True), (20, True), (21, False), (50, False)):
        counts = np.diag(np.full(n_classes, 7_777))
        svg = draw_confusion_matrix([f"name {i}" for i in range(n_classes)], counts.tolist())
        assert svg.count(">7777<") == (n_classes if numbered else 0)
        assert f"Confusion matrix of {n_classes} classes: {7_777 * n_classes:,} of {7_777 * n_classes:,} clips" in svg
        assert svg.count(">name ") == 2 * n_classes


def test_confusion_shade_is_the_share_of_the_row():
    svg = draw_confusion_matrix(["a", "b"], [[3, 1], [0, 0]])
    shades = [float(shade) for shade in re.findall(r"--accent[^;]*; fill-opacity: ([\d.]+)", svg)]
    assert shades == pytest.approx([0.1 + 0.85 * 0.75, 0.1 + 0.85 * 0.25], abs=0.01)


def test_learning_curves_take_what_there_is():
    history = [
        {"epoch": i, "loss": 1 / i, "accuracy": 0.5, "validation_loss": 2 / i, "validation_accuracy": 0.4}
        for i in (1, 2, 3)
    ]
    both = draw_learning_curves(history, chosen_epoch=2)
    assert len(both) == 2
    assert all(">train<" in svg and ">validation<" in svg and ">kept: epoch 2<" in svg for svg in both)
    assert "Loss over 3 epochs: train from 1.00 to 0.33; validation from 2.00 to 0.67." in both[0]
    alone = draw_learning_curves([{key: row[key] for key in ("epoch", "loss")} for row in history])
    assert len(alone) == 1
    assert ">validation<" not in alone[0]
    assert "kept" not in alone[0]
    assert len(draw_learning_curves(history[:1], chosen_epoch=1)) == 2
    diverged = draw_learning_curves([{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": float("nan")}])
    assert "train from 3.00 to 3.00" in diverged[0]
    assert draw_learning_curves([]) == []
    assert draw_learning_curves([{"epoch": 1, "learning_rate": 1e-3}]) == []


def make_tagged(n_clips=40, *, seed=0):
    """Clips with several labels each, of four classes, the last of them nowhere in the truth."""
    labels = [*LABELS, "unheard"]
    random = np.random.default_rng(seed)
    truth = random.random((n_clips, 4)) < [0.5, 0.3, 0.2, 0]
    truth[~truth.any(axis=1), 0] = True
    probabilities = np.clip(0.7 * random.random((n_clips, 4)) + 0.3 * truth, 0, 1)
    cells = [
        [";".join(labels[i] for i in np.flatnonzero(row)) for row in table] for table in (truth, probabilities > 0.5)
    ]
    rows = pd.DataFrame(
        {
            "path": [f"clip {i:02d}.wav" for i in range(n_clips)],
            "label": cells[0],
            "predicted": cells[1],
            "score": probabilities.max(axis=1),
            **{f"p:{label}": probabilities[:, i] for i, label in enumerate(labels)},
        }
    )
    return rows, score_multi_label(labels, truth, probabilities, n_resamples=50)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    rows, metrics = make_tagged()
    rows = pd.concat([rows, rows.iloc[[0]]], ignore_index=True)
    # The worst of all: everything that it has is missed, all else named.
    rows.loc[40, ["path", "label", "predicted"]] = ["worst.wav", f"{LABELS[0]};{LABELS[1]}", f"{LABELS[2]};unheard"]
    rows.loc[40, [f"p:{label}" for label in (*LABELS, "unheard")]] = [0.011, 0.002, 0.993, 0.994]
    history = [
        {"epoch": i, "loss": 1 / i, "accuracy": 0.9, "validation_loss": 2 / i, "validation_map": 0.2 * i}
        for i in (1, 2, 3)
    ]
    report = make_report(metrics, history=history, chosen_epoch=3)
    path = write_report(tmp_path_factory.mktemp("tagged"), report, rows, load_noise)
    return path, report, rows


def find_section(path, name, following):
    page = path.read_text(encoding="utf-8")
    return page[page.index(f'<section id="{name}"') : page.index(f'<section id="{following}"')]


def test_several_labels_a_clip_are_told_by_average_precision_and_what_it_is_worth(tagged):
    path, report, _ = tagged
    reader = Reader(path.read_text(encoding="utf-8"))
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)
    metrics = report["metrics"]
    assert f"{100 * metrics['map']['value']:.1f} % mean average precision on 40 test clips" in reader.text
    for name, key in (
        ("Mean average precision", "map"),
        ("Micro average precision", "micro_map"),
        ("Macro-F1", "macro_f1"),
        ("Micro-F1", "micro_f1"),
    ):
        value, low, high = (f"{100 * metrics[key][part]:.1f}" for part in ("value", "low", "high"))
        assert f"{name} {value} {low}–{high}" in reader.text
    shares, micro = (f"{100 * metrics[key]:.1f}" for key in ("prior_baseline", "prior_micro_map"))
    assert f"Class shares {shares} always answered; micro {micro}" in reader.text
    assert "No test clip has unheard: left out of the means over classes." in reader.text
    assert "<b>rain" not in path.read_text(encoding="utf-8")
    stored = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    assert stored == report


def test_each_of_several_labels_has_its_figures_the_weakest_first_and_the_absent_last(tagged):
    path, report, _ = tagged
    text = Reader(find_section(path, "classes", "examples")).text
    known = [row for row in report["metrics"]["per_class"] if row["support"]]
    expected = [
        " ".join([row["label"], *(f"{100 * row[key]:.1f}" for key in ("average_precision", "f1", "precision"))])
        for row in sorted(known, key=lambda row: row["average_precision"])
    ]
    places = [text.index(line) for line in expected]
    assert places == sorted(places)
    assert text.index("unheard – no clip in the test set, named") > places[-1]
    section = find_section(path, "confusions", "classes")
    found, support, false = (
        sum(row[key] for row in report["metrics"]["per_class"]) for key in ("found", "support", "false")
    )
    assert f"of {support} labels {found} were found, and {false} others were named wrongly." in section
    assert "Confusion matrix" not in section


def test_the_clip_with_the_largest_error_comes_first_with_what_was_missed_and_added(tagged):
    path, _, rows = tagged
    section = find_section(path, "mistakes", "making")
    text = Reader(section).text
    labels = [*LABELS, "unheard"]
    probabilities = rows[[f"p:{label}" for label in labels]].to_numpy()
    truth = np.array([[label in cell.split(";") for label in labels] for cell in rows["label"]])
    wrong = (probabilities >= 0.5) != truth
    error = (np.abs(probabilities - truth) * wrong).sum(axis=1)
    assert f"12 of {wrong.any(axis=1).sum()} clips with a mistake, the largest error first" in text
    shown = re.findall(r'<span class="path">(.*?)</span>', section)
    assert shown == rows["path"].iloc[np.argsort(-error)[:12]].tolist()
    assert (
        "公鸡打鸣, unheard wrongly named unheard (99.4 %), 公鸡打鸣 (99.3 %); "
        "missed dog & cat (0.2 %), <b>rain</b> (1.1 %) the label says <b>rain</b>, dog & cat"
    ) in text


def test_each_of_several_labels_has_the_clip_of_it_with_the_highest_score(tagged):
    path, _, rows = tagged
    section = find_section(path, "examples", "mistakes")
    assert section.count("<article") == 3
    for label in LABELS:
        mine = rows[[label in cell.split(";") for cell in rows["label"]]]
        best = mine.loc[mine[f"p:{label}"].idxmax()]
        assert f'<span class="path">{best["path"]}</span>' in section
        assert f"{100 * best[f'p:{label}']:.1f}\u202f% sure" in section
    assert "classes, those that did worst" not in section


def test_a_cross_validation_of_several_labels_shows_its_folds(tmp_path):
    rows, metrics = make_tagged()
    folds = [{"fold": i, "clips": 20, "map": value, "macro_f1": 0.5} for i, value in ((1, 0.8), (2, 0.9))]
    report = make_report(metrics, folds=folds) | {"kind": "crossval"}

    def find_nothing(row):
        raise SoundError("It is gone.")

    text = Reader(write_report(tmp_path, report, rows, find_nothing).read_text(encoding="utf-8")).text
    assert "mAP % macro-F1 % 1 20 80.0 50.0 2 20 90.0 50.0 mean 85.0 50.0 standard deviation 7.1 0.0" in text


def test_several_labels_without_a_mistake(tmp_path):
    labels = ["a", "b"]
    rows = pd.DataFrame({"path": ["1.wav", "2.wav"], "label": ["a;b", "b"], "p:a": [0.9, 0.1], "p:b": [0.8, 0.9]})
    metrics = score_multi_label(labels, np.array([[1, 1], [0, 1]]), rows[["p:a", "p:b"]].to_numpy())
    text = Reader(write_report(tmp_path, make_report(metrics), rows, load_noise).read_text(encoding="utf-8")).text
    assert "It made no mistake on this test set." in text
    assert "On no clip of the test set was one label missed and another named wrongly." in text
    assert "left out of the means" not in text


def test_findings_show_what_was_found_of_the_clips_and_wrong_of_the_namings():
    rows = [
        {"label": "dog", "support": 10, "found": 7, "false": 0},
        {"label": "a name of more than twenty-two letters", "support": 1_000, "found": 250, "false": 750},
        {"label": "unheard", "support": 0, "found": 0, "false": 3},
    ]
    svg = draw_findings(rows)
    for words in (">dog<", ">a name of more than t…<", ">7 of 10<", ">250 of 1,000<", ">750<", ">0 of 0<", ">3<"):
        assert words in svg
    assert "of 1,010 labels 257 were found, and 753 others were named wrongly" in svg
    bars = [
        (style, float(right) - float(left))
        for left, right, style in re.findall(r'd="M ([\d.]+) [\d.]+ L ([\d.]+) [^"]*" style="fill: ([^"]*)"', svg)
    ]
    whole = sum(width for style, width in bars[1:3])
    found = [round(width / whole, 2) for style, width in bars if "--accent" in style and "opacity" not in style]
    assert found == pytest.approx([0.7, 0.25, 0], abs=0.01)


def test_learning_curves_of_several_labels_show_the_mean_average_precision(tagged):
    page = tagged[0].read_text(encoding="utf-8")
    assert "Mean average precision over 3 epochs: validation from 0.20 to 0.60. The model of epoch 3 was kept." in page
    assert "Right yes/no answers over 3 epochs: train from 0.90 to 0.90." in page
    assert "Accuracy over" not in page


def test_a_ranking_without_a_fault_is_not_called_certain(tmp_path):
    rows = pd.DataFrame({"path": ["1.wav", "2.wav"], "label": ["a", "b"], "p:a": [0.4, 0.1], "p:b": [0.1, 0.9]})
    metrics = score_multi_label(["a", "b"], np.eye(2), rows[["p:a", "p:b"]].to_numpy())
    text = Reader(write_report(tmp_path, make_report(metrics), rows, load_noise).read_text(encoding="utf-8")).text
    assert "an interval without a width is not a certainty" in text
    assert "nothing named missed a (40.0 %) the label says a" in text
