"""The verbs that use a model: predict, verify."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.cli.console import console, waiting

if TYPE_CHECKING:
    from earmark.inference.classifier import Classifier, FileAnswer

Model = Annotated[str, typer.Argument(help="A model directory, a run, or a Hub id.")]


class Format(StrEnum):
    """How answers are written."""

    table = "table"
    csv = "csv"
    jsonl = "jsonl"


def predict(
    model: Model,
    files: Annotated[list[str], typer.Argument(help="Sound files, or folders of them.")],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many labels a file.")] = 3,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to write the answers.")] = Format.table,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead of the screen.")] = None,
    reasons: Annotated[
        Path | None, typer.Option("--explain", metavar="DIR", help="Show what spoke for each answer: a page in DIR.")
    ] = None,
    reject: Annotated[
        bool, typer.Option("--reject", help="Answer `unknown` to silence, and where no class is sure enough.")
    ] = False,
) -> None:
    """Label sound files with the probability of each label."""
    from earmark.progress import show_progress

    paths = list(_find_files(files))
    with waiting("Loading torch and transformers"):
        from earmark.inference.classifier import Classifier
    classifier = Classifier.from_pretrained(model)  # what comes from the Hub shows a bar of its own
    if reject and not classifier.decision.thresholds:
        typer.echo(f"earmark: {model} has no thresholds, so only silence comes out unknown.", err=True)
    answers = []
    with show_progress("Listening") as advance:
        for done, answer in enumerate(classifier.classify_files(paths, top_k=top, reject=reject), start=1):
            answers.append(answer)
            advance(done, len(paths))
    text = {Format.table: _write_table, Format.csv: _write_csv, Format.jsonl: _write_jsonl}[form](answers, top)
    if out is None:
        typer.echo(text, nl=False)
    else:
        from earmark.files import write_text_whole

        write_text_whole(out, text)
        typer.echo(f"{len(answers)} answers: {out}")
    if reasons is not None:
        _explain(classifier, model, paths, reasons)
    faults = [answer for answer in answers if answer.prediction is None]
    for answer in faults:
        typer.secho(f"earmark: {answer.reason}", fg="red", err=True)
    if faults:
        raise typer.Exit(1)


def _explain(classifier: "Classifier", model: str, paths: list[str], folder: Path) -> None:
    from earmark.inference.explanation_page import write_explanations
    from earmark.progress import show_progress

    with show_progress("Explaining") as advance:
        page = write_explanations(classifier, paths, folder, title=model, on_progress=advance)
    typer.echo(f"Why: {page}", err=True)


def verify(model: Model) -> None:
    """Replay a model's golden waveforms: does this copy, here, still give the answers it gave when it was saved?"""
    from earmark.inference.classifier import Classifier, find_model
    from earmark.inference.golden import verify_model

    folder = find_model(model)
    verdict = verify_model(Classifier.from_pretrained(folder), folder)
    for number, difference in enumerate(verdict.differences, start=1):
        typer.echo(f"golden waveform {number}: logits differ by at most {difference:.1e}")
    if not verdict.holds:
        typer.secho(
            f"This is not the model it was: more than {verdict.tolerance:g} apart. Train it again, or fetch it anew.",
            fg="red",
            err=True,
        )
        raise typer.Exit(1)
    typer.echo(f"The model {model} gives the answers it gave when it was saved.")


def _find_files(names: Iterable[str]) -> Iterator[str]:
    from earmark.errors import SoundError
    from earmark.sound.decode import AUDIO_SUFFIXES

    for name in names:
        path = Path(name)
        if not path.is_dir():
            yield name
            continue
        found = sorted(
            str(file)
            for file in path.rglob("*")
            if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file() and not file.name.startswith(".")
        )
        if not found:
            raise SoundError(f"The folder {name} holds no sound files; name files, or another folder.")
        yield from found


def _write_table(answers: "list[FileAnswer]", top: int) -> str:
    from rich.table import Table

    table = Table("file", box=None, pad_edge=False, header_style="bold")
    for rank in range(top):
        table.add_column("label" if rank == 0 else "", no_wrap=True)
        table.add_column("%" if rank == 0 else "", justify="right")
    for answer in answers:
        cells = [answer.path]
        for entry in answer.prediction or []:
            cells += [entry["label"], f"{100 * entry['score']:.1f}"]
        if answer.prediction is not None and answer.prediction.rejected:
            cells[2] = ""  # that it is unknown has no figure beside those of the classes, which follow
        table.add_row(*(cells if answer.prediction is not None else [*cells, "cannot be read"]))
    target = console()
    with target.capture() as captured:
        target.print(table)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _write_csv(answers: "list[FileAnswer]", top: int) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["path", "rank", "label", "score", "error"])
    for answer in answers:
        if answer.prediction is None:
            writer.writerow([answer.path, "", "", "", answer.reason])
        for rank, entry in enumerate(answer.prediction or [], start=1):
            writer.writerow([answer.path, rank, entry["label"], f"{entry['score']:.6g}", ""])
    return buffer.getvalue()


def _write_jsonl(answers: "list[FileAnswer]", top: int) -> str:
    lines = []
    for answer in answers:
        record: dict[str, Any] = {"path": answer.path}
        if answer.prediction is None:
            record["error"] = answer.reason
        else:
            record["prediction"] = answer.prediction
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    return "".join(lines)
