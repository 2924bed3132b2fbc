"""The verbs that use a model: predict, verify."""

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.console import console, load_classifier

if TYPE_CHECKING:
    from earmark.inference.classifier import Classifier, FileAnswer

Model = Annotated[str, typer.Argument(help="A model directory, a run, a Hub id, or an exported .onnx file.")]
FAULTS_TOLD = 10


class Format(StrEnum):
    """How answers are written."""

    table = "table"
    csv = "csv"
    jsonl = "jsonl"
    parquet = "parquet"


class Engine(StrEnum):
    """What an archive is answered on."""

    local = "local"
    ray = "ray"


def predict(
    model: Model,
    files: Annotated[
        list[str], typer.Argument(help="Sound files, folders of them, a .txt with a path a line, or - for such lines.")
    ],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many labels a file.")] = 3,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format", "-f", help="How to write the answers.", show_default="by the ending of --out, else table"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write to this file instead of the screen; for millions of files: what is killed goes on.",
        ),
    ] = None,
    reasons: Annotated[
        Path | None, typer.Option("--explain", metavar="DIR", help="Show what spoke for each answer: a page in DIR.")
    ] = None,
    reject: Annotated[
        bool, typer.Option("--reject", help="Answer `unknown` to silence, and where no class is sure enough.")
    ] = False,
    engine: Annotated[
        Engine, typer.Option("--engine", help="Where an --out is worked on: this machine, or a Ray cluster.")
    ] = Engine.local,
) -> None:
    """Label sound files with the probability of each label."""
    from earmark.inference.listing import list_sounds, look_ahead

    form = _choose_form(form, out)
    shards = out is not None and form is not Format.table and reasons is None
    if form is Format.parquet and not shards:
        raise typer.BadParameter("Parquet goes to a file, without --explain: give --out results.parquet")
    if engine is Engine.ray and not shards:
        raise typer.BadParameter("--engine ray writes a file, without --explain: give --out results.csv")
    paths = look_ahead(list_sounds(files))
    classifier = load_classifier(model)
    if reject and not classifier.decision.thresholds:
        typer.echo(f"earmark: {model} has no thresholds, so only silence comes out unknown.", err=True)
    if shards:
        assert out is not None
        _predict_archive(classifier, model, paths, out, form, top, reject=reject, engine=engine)
        return
    heard = _Heard(reasons is not None)
    total = _count_files(files)
    answers = heard.note(classifier.classify_files(paths, top_k=top, reject=reject), total)
    if out is None:
        _show(answers, form, top)
    else:
        _write(answers, out, form, top)
        typer.echo(f"{heard.files} answers: {out}")
    if reasons is not None:
        _explain(classifier, model, heard.paths, reasons)
    _tell_faults(heard.faults, len(heard.faults))


def _choose_form(form: Format | None, out: Path | None) -> Format:
    """What was asked for; else what the ending of the file says; else a table."""
    ending = out.suffix.removeprefix(".").lower() if out is not None else ""
    return form or (Format(ending) if ending in set(Format) else Format.table)


def _predict_archive(
    classifier: "Classifier",
    model: str,
    paths: Iterator[str],
    out: Path,
    form: Format,
    top: int,
    *,
    reject: bool,
    engine: Engine,
) -> None:
    from earmark.inference.batch import predict_archive
    from earmark.progress import show_progress

    with show_progress("Listening") as advance:
        summary = predict_archive(
            model,
            paths,
            out,
            form=form.value,
            top_k=top,
            reject=reject,
            engine=engine.value,
            classifier=classifier,
            on_progress=advance,
        )
    if summary.kept:
        typer.echo(f"{summary.kept} of them were answered before.", err=True)
    typer.echo(f"{summary.files} answers: {out}")
    _tell_faults(summary.reasons, summary.faults)


def _tell_faults(reasons: list[str], faults: int) -> None:
    """Name what could not be read, and end with the code that says so."""
    for reason in reasons:
        typer.secho(f"earmark: {reason}", fg="red", err=True)
    if faults > len(reasons):
        typer.secho(f"earmark: and {faults - len(reasons)} files more; each is a row with its reason.", err=True)
    if faults:
        raise typer.Exit(1)


class _Heard:
    """What is told of answers once they are out."""

    def __init__(self, keep_paths: bool) -> None:
        self.files = 0
        self.faults: list[str] = []
        self.paths: list[str] = []
        self._keep_paths = keep_paths

    def note(self, answers: "Iterable[FileAnswer]", total: int | None) -> "Iterator[FileAnswer]":
        """The same answers, counted, with a bar if their number is known."""
        from earmark.progress import show_progress

        with show_progress("Listening") as advance:
            for answer in answers:
                self.files += 1
                if self._keep_paths:
                    self.paths.append(answer.path)
                if answer.prediction is None:
                    self.faults.append(answer.reason)
                yield answer
                advance(self.files, total or self.files)


def _count_files(names: list[str]) -> int | None:
    """How many files there will be, where somebody watches the bar and they can be listed twice."""
    from earmark.inference.listing import STANDARD_INPUT, list_sounds
    from earmark.progress import is_live

    return sum(1 for _ in list_sounds(names)) if is_live() and STANDARD_INPUT not in names else None


def _show(answers: "Iterator[FileAnswer]", form: Format, top: int) -> None:
    if form is Format.table:
        typer.echo(_write_table(list(answers), top), nl=False)
        return
    from earmark.inference.answer_files import to_record, write_stream

    # Lines come as they are known, unless they would come between those of the bar.
    records = map(to_record, list(answers) if sys.stdout.isatty() else answers)
    write_stream(records, sys.stdout, form.value)


def _write(answers: "Iterator[FileAnswer]", out: Path, form: Format, top: int) -> None:
    from earmark.files import replace_whole, write_text_whole
    from earmark.inference.answer_files import to_record, write_records

    if form is Format.table:
        write_text_whole(out, _write_table(list(answers), top))
        return
    with replace_whole(out) as part:
        write_records(map(to_record, answers), part, form.value)


def _explain(classifier: "Classifier", model: str, paths: list[str], folder: Path) -> None:
    from earmark.inference.explanation_page import write_explanations
    from earmark.progress import show_progress

    with show_progress("Explaining") as advance:
        page = write_explanations(classifier, paths, folder, title=model, on_progress=advance)
    typer.echo(f"Why: {page}", err=True)


def verify(model: Model) -> None:
    """Replay a model's golden waveforms: does this copy, here, still give the answers it gave when it was saved?"""
    from earmark.inference.classifier import find_model
    from earmark.inference.golden import verify_model
    from earmark.inference.onnx_network import is_onnx

    place = find_model(model)
    verdict = verify_model(load_classifier(place), place)
    for number, difference in enumerate(verdict.differences, start=1):
        typer.echo(f"golden waveform {number}: {verdict.measure} differ by at most {difference:.1e}")
    if not verdict.holds:
        typer.secho(
            f"This is not the model it was: more than {verdict.tolerance:g} apart. "
            + ("Export it again, or fetch it anew." if is_onnx(place) else "Train it again, or fetch it anew."),
            fg="red",
            err=True,
        )
        raise typer.Exit(1)
    given = "that torch gave when it was exported" if is_onnx(place) else "it gave when it was saved"
    within = f", to within {verdict.tolerance:g} of probability" if verdict.measure == "probabilities" else ""
    typer.echo(f"The model {model} gives the answers {given}{within}.")


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
