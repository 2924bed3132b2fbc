"""The model card: what a stranger needs to know before trusting a model."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from earmark.data.catalogue import KnownDataset, find_dataset
from earmark.errors import EarmarkError
from earmark.evaluation.metrics import SCORE_NAMES
from earmark.models.hub import is_hub_id
from earmark.training.gate import tell_found
from earmark.training.recipe import Recipe, to_tables

PLACE = "path/to/this/directory"
"""What stands in a card for where the model lies; pushing puts its id on the Hub there."""

CLASSES_SHOWN = 20
LEFT_OUT_SHOWN = 10
CONFUSIONS_SHOWN = 3
_TASK = "audio-classification"
# The scores that the Hub shows beside a model, by the names it has for them.
_HUB_METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "f1",
    "map": "mean_average_precision",
    "micro_f1": "f1",
}
# Where their makers, or the Hub itself, keep them there.
_DATASETS_ON_HUB = {"GTZAN": "marsyas/gtzan", "Speech Commands": "google/speech_commands"}
# Folders of an absolute path, such as /home/me/sounds/ or C:\sounds\; neither a URL nor a fraction.
_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\](?:[^\s/\\]+[/\\])+")
_MARKDOWN = re.compile(r"[\\*\[\]<>|#~]|(?<!\w)_|_(?!\w)")


def write_card(recipe: Recipe, report: dict[str, Any]) -> str:
    """Markdown with the header that the Hub reads.

    What the model answers, how to use it, its figures with their protocol, what to know before trusting it, the data,
    the settings, the training, the licences. Folders of this machine are named nowhere.

    Args:
        recipe: As the run used it, with its sample rate and window settled.
        report: What stands in the run's ``report.json``; without ``metrics`` the card promises no figures.

    Example:
        >>> data = {"source": "/home/me/my sounds", "labels": ["dog", "rain"], "clips": 9, "split": {"train": 9}}
        >>> report = {"title": "cnn on my sounds", "protocol": "Nothing was tested.", "notes": [], "data": data}
        >>> print(*write_card(Recipe("cnn"), report).splitlines()[8:11], sep="\\n")
        # cnn on my sounds
        <BLANKLINE>
        Tells 2 classes of sound apart: dog, rain.
    """
    report = hide_places(report)
    if recipe.brings_features and not _is_on_hub(recipe.model.name):
        recipe = replace(recipe, model=replace(recipe.model, name=_as_path(recipe.model.name).name))
    sections = [
        [f"# {_escape(report['title'])}", "", *_warn_of_leaks(report), _tell_answers(report)],
        ["## Use", "", *_tell_use(recipe, report)],
        *([["## Figures", "", *_tell_figures(report)]] if report.get("metrics") else []),
        ["## Before you trust it", "", *_tell_limits(report)],
        ["## Data", "", *_tell_data(report)],
        ["## Recipe", "", *_tell_recipe(recipe)],
        ["## Training", "", *_tell_training(report)],
        ["## Licence", "", *_tell_licence(recipe, report)],
    ]
    body = "\n\n".join("\n".join(section) for section in sections)
    return f"---\n{_write_header(recipe, report)}\n---\n\n{body}\n"


def hide_places(report: dict[str, Any]) -> dict[str, Any]:
    """A report as it may be shown to strangers: nothing in it says where files lie on this machine."""
    source = report["data"]["source"]
    told = [key for key in ("protocol", "notes", "recipe") if key in report]
    shown: dict[str, Any] = {key: hide_folders(report[key], source) for key in told}
    left_out = hide_folders(report["data"].get("left_out", []), source)
    # Who leaks stays here, since groups are often people, and so do the names of other runs.
    if "leaks" in report:
        found = [entry | {"examples": []} for entry in report["leaks"]["found"]]
        shown["leaks"] = report["leaks"] | {"found": found}
    if "ledger" in report:
        shown["ledger"] = {name: report["ledger"][name] for name in ("reads", "clips")}
    return report | shown | {"data": report["data"] | {"source": hide_folders(source, source), "left_out": left_out}}


def hide_folders(value: Any, source: str) -> Any:
    """``value`` without this machine's folders: what lies in the data is named from there, all else by its last name.

    Args:
        value: A text, or dicts and lists of texts and other things.
        source: The folder or file that the clips were read from.

    Example:
        >>> hide_folders("/home/me/my sounds/dog/1.wav is empty; so is /tmp/x/2.wav", "/home/me/my sounds")
        'dog/1.wav is empty; so is 2.wav'
    """
    if isinstance(value, dict):
        return {key: hide_folders(inner, source) for key, inner in value.items()}
    if isinstance(value, list):
        return [hide_folders(inner, source) for inner in value]
    if not isinstance(value, str):
        return value
    path = _as_path(source)
    if path.is_absolute() and path.name:
        for folder in (path, path.parent):
            if folder.name:
                value = value.replace(f"{folder}/", "").replace(f"{folder}\\", "")
        value = value.replace(str(path), path.name)
    return _FOLDERS.sub("", value)


def _as_path(text: str) -> PurePosixPath | PureWindowsPath:
    """A path as the system wrote it that the run was made on."""
    return PureWindowsPath(text) if "\\" in text else PurePosixPath(text)


def _is_on_hub(name: str) -> bool:
    return is_hub_id(name) and not os.path.exists(name)


def _write_header(recipe: Recipe, report: dict[str, Any]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    dataset = _name_dataset(report)
    metrics = report.get("metrics", {})
    names = SCORE_NAMES[metrics["primary"]] if metrics else {}
    shown = [key for key in names if key in _HUB_METRICS]
    results = [
        EvalResult(
            task_type=_TASK,
            task_name="Audio Classification",
            dataset_type=dataset or "audiofolder",
            dataset_name=_name_data(report),
            dataset_split="cross-validation" if _is_cross_validated(report) else "test",
            metric_type=_HUB_METRICS[key],
            metric_name=names[key],
            metric_value=round(metrics[key]["value"], 4),
        )
        for key in shown
    ]
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=_TASK,
        tags=[_TASK, "earmark"],
        base_model=recipe.model.name if recipe.brings_features and _is_on_hub(recipe.model.name) else None,
        datasets=[dataset] if dataset else None,
        metrics=list(dict.fromkeys(_HUB_METRICS[key] for key in shown)) or None,
        model_name=report["title"] if results else None,  # it names the results only
        eval_results=results or None,
    )
    return data.to_yaml()


def _find_known(report: dict[str, Any]) -> KnownDataset | None:
    """The known dataset that the clips were recognised as, if any."""
    try:
        return find_dataset(report["data"].get("layout", ""))
    except EarmarkError:
        return None


def _name_data(report: dict[str, Any]) -> str:
    """What people call the data: the dataset's name where it is a known one, else that of its folder or file."""
    return report["data"]["layout"] if _find_known(report) else _as_path(report["data"]["source"]).name or "sounds"


def _name_dataset(report: dict[str, Any]) -> str:
    """The dataset's id on the Hub, or nothing."""
    layout, source = report["data"].get("layout", ""), report["data"]["source"]
    if layout == "Hugging Face dataset" and is_hub_id(source):
        return source
    return _DATASETS_ON_HUB.get(layout, "")


def _is_cross_validated(report: dict[str, Any]) -> bool:
    return report.get("kind") == "crossval"


def _warn_of_leaks(report: dict[str, Any]) -> list[str]:
    """A block that stands out, where something is on two sides and no published protocol has it so."""
    leaks = report.get("leaks", {})
    if not leaks.get("found") or leaks["published"]:
        return []
    told = "; ".join(_escape(tell_found(entry)) for entry in leaks["found"])
    return ["> [!CAUTION]", f"> **It leaks.** {_escape(leaks['consequence'])} Found: {told}.", ""]


def _is_multi_label(report: dict[str, Any]) -> bool:
    return bool(report["data"].get("multi_label"))


def _tell_answers(report: dict[str, Any]) -> str:
    labels = report["data"]["labels"]
    names = ", ".join(_escape(label) for label in labels)
    if _is_multi_label(report):
        return f"Says which of {len(labels)} kinds of sound are there, several at once: {names}."
    return f"Tells {len(labels)} classes of sound apart: {names}."


def _tell_use(recipe: Recipe, report: dict[str, Any]) -> list[str]:
    heard = report.get("model", {"sample_rate": recipe.audio.sample_rate, "window_s": recipe.audio.window_s})
    rate, window_s = heard["sample_rate"], heard["window_s"]
    if recipe.brings_features:
        first = ["from transformers import pipeline"]
        call = f'classify({{"raw": waveform, "sampling_rate": {rate}}})  # float32, mono, {rate} Hz'
        hears = (
            f"It needs Transformers only. It hears {rate} Hz and was trained on at most {window_s} s at once; "
            "Transformers gives it a sound whole, Earmark cuts a longer one into windows and averages their answers."
        )
    else:
        first = ["import earmark.models  # makes the model known to Transformers", "from transformers import pipeline"]
        call = f'classify("sound.wav")  # any format, any rate; or a waveform: float32, mono, {rate} Hz'
        hears = (
            f"It hears {rate} Hz, {window_s} s at once; a longer sound is cut into windows and their answers averaged."
        )
    return [
        "```python",
        *first,
        "",
        f'classify = pipeline("{_TASK}", model="{PLACE}")',
        call,
        "```",
        "",
        hears,
        "",
        f"With Earmark, for files of any format: `earmark predict {PLACE} FILE…`; "
        f"`earmark verify {PLACE}` tells whether a copy still answers as it did when it was saved.",
    ]


def _tell_figures(report: dict[str, Any]) -> list[str]:
    metrics = report["metrics"]
    rows = [
        [name, _percent(metrics[key]["value"]), f"{_percent(metrics[key]['low'])} to {_percent(metrics[key]['high'])}"]
        for key, name in SCORE_NAMES[metrics["primary"]].items()
    ]
    if "majority_baseline" in metrics:
        majority = metrics["majority_baseline"]
        rows.append(
            [f"Accuracy of always saying {_escape(repr(majority['label']))}", _percent(majority["accuracy"]), ""]
        )
    if "prior_baseline" in metrics:
        rows.append(
            ["Mean average precision of always answering the class shares", _percent(metrics["prior_baseline"]), ""]
        )
    tested = "test clips, read once by this run" if not _is_cross_validated(report) else "clips, cross-validated"
    lines = [f"On {metrics['clips']} {tested}. {_escape(report['protocol'])}", ""]
    lines += _write_table(["", "value", "95 % interval"], rows)
    lines += ["", f"Intervals: {metrics['interval']}.", "", *_tell_classes(metrics)]
    relation = "missed and named" if metrics["primary"] == "map" else "taken for"
    confusions = [
        f"{_escape(row['truth'])} {relation} {_escape(row['guess'])} ({row['share']:.0%} of its clips)"
        for row in metrics.get("top_confusions", [])[:CONFUSIONS_SHOWN]
    ]
    return [*lines, "", f"Most often confused: {'; '.join(confusions)}."] if confusions else lines


def _tell_classes(metrics: dict[str, Any]) -> list[str]:
    columns = {"precision": "precision", "recall": "recall", "f1": "F1"}
    if metrics["primary"] == "map":
        columns = {"average_precision": "average precision", **columns}
    weakest_first = sorted(metrics["per_class"], key=lambda row: row["f1"])
    rows = [
        [_escape(row["label"]), *(_percent(row[key]) for key in columns), str(row["support"])]
        for row in weakest_first[:CLASSES_SHOWN]
    ]
    counted = "answers" if "answers" in metrics else "test clips"
    table = _write_table(["class, weakest first", *columns.values(), counted], rows)
    more = len(weakest_first) - CLASSES_SHOWN
    return [*table, "", f"And {more} more that do better."] if more > 0 else table


def _tell_limits(report: dict[str, Any]) -> list[str]:
    from earmark.evaluation.rejection import tell_rejection

    told = [
        "The figures hold for recordings like those it was tested on; measure it on yours with "
        f"`earmark evaluate {PLACE} SOUNDS`."
    ]
    if not _is_multi_label(report):
        told.append("It names one of its classes whatever it hears, silence and strange sounds included.")
    told += tell_rejection(report.get("rejection", {}))
    told += report["notes"]
    if (reads := report.get("ledger", {}).get("reads", 1)) > 1:
        told.append(f"Its test clips have been read {reads} times; choices made after looking flatter the figures.")
    left_out = report["data"].get("left_out", [])
    told += [f"Left out: {entry['reason']}" for entry in left_out[:LEFT_OUT_SHOWN]]
    if len(left_out) > LEFT_OUT_SHOWN:
        told.append(f"And {len(left_out) - LEFT_OUT_SHOWN} more left out.")
    return [f"- {_escape(note)}" for note in told]


def _tell_data(report: dict[str, Any]) -> list[str]:
    data = report["data"]
    split = ", ".join(f"{count} {part}" for part, count in data["split"].items())
    lines = [f"{_escape(_name_data(report))}: {data['clips']} clips{f' ({split})' if split else ', all learned from'}."]
    if "hash" in data:
        lines += ["", f"Fingerprint of the clips: `{data['hash']}`"]
    if counts := data.get("class_counts"):
        shares = ", ".join(f"{_escape(label)} {count}" for label, count in counts.items())
        lines += ["", f"Clips of each class: {shares}."]
    if known := _find_known(report):
        lines += ["", f"Please cite: {_escape(known.citation)}"]
    return lines


def _tell_recipe(recipe: Recipe) -> list[str]:
    import tomli_w

    changes = hide_folders(_find_changes(recipe), "")
    lines = [f"`{recipe.name}`: {_escape(recipe.description)}" if recipe.description else f"`{recipe.name}`"]
    if not changes:
        return [*lines, "", "Every setting is the default."]
    return [*lines, "", "What differs from the defaults:", "", "```toml", tomli_w.dumps(changes).rstrip(), "```"]


def _find_changes(recipe: Recipe) -> dict[str, Any]:
    """The recipe's sections, with only the settings that are not the default."""
    defaults = Recipe("")
    changes: dict[str, Any] = {}
    for section, values in to_tables(recipe).items():
        if isinstance(values, dict):
            usual = asdict(getattr(defaults, section))
            changed = {key: value for key, value in values.items() if value != _as_table(usual[key])}
            changes |= {section: changed} if changed else {}
    return changes


def _as_table(value: Any) -> Any:
    """A default as `to_tables` writes it."""
    return "none" if value is None else list(value) if isinstance(value, tuple) else value


def _tell_training(report: dict[str, Any]) -> list[str]:
    told = []
    refit = report.get("refit", {})
    if history := refit.get("history") or report.get("history"):
        kept = f", of which epoch {report['chosen_epoch']} was kept" if report.get("chosen_epoch") else ""
        told.append(f"{len(history)} epochs{kept}")
    train_s = report.get("timing", {}).get("refit_s" if refit else "train_s")
    if train_s is not None:
        told.append(f"{train_s / 60:.1f} minutes")
    if model := report.get("model"):
        told.append(f"on {model['device']}, {model['precision']}, {model['parameters']:,} parameters")
    if "seed" in report:
        told.append(f"seed {report['seed']}")
    lines = [f"{'; '.join(told)}."] if told else []
    versions = [f"earmark {report['earmark']}"] if "earmark" in report else []
    versions += [f"{name} {version}" for name, version in report.get("versions", {}).items()]
    return [*lines, "", f"Versions: {', '.join(versions)}."] if versions else lines


def _tell_licence(recipe: Recipe, report: dict[str, Any]) -> list[str]:
    lines = [
        "None is stated yet: whoever shares this model adds `license:` to the header of this page. Others bind it:"
    ]
    known = _find_known(report)
    terms = f": {_escape(known.licence)}" if known else ""
    lines += ["", f"- that of the recordings it learned from{terms};"]
    if recipe.brings_features:
        lines.append(f"- that of the model it started from, {_escape(recipe.model.name)};")
    elif recipe.model.pretrained:
        lines.append(f"- that of the pretrained weights it started from, timm's `{recipe.model.name}`;")
    return [*lines[:-1], f"{lines[-1].removesuffix(';')}."]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _write_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; all columns but the first to the right."""
    marks = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, marks, *rows)]


def _escape(text: str) -> str:
    """Text that Markdown takes for nothing but text, on one line."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(str(text).split()))
