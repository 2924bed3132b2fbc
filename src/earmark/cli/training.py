"""The verbs that measure: train, crossval, evaluate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earmark.cli.console import console, waiting

if TYPE_CHECKING:
    from earmark.training.run import Run

LOADING = "Loading torch and transformers"

Sounds = Annotated[
    str, typer.Argument(help="A folder with a folder of sounds for each class, or a CSV with path,label.")
]
RecipeName = Annotated[str, typer.Option("--recipe", "-r", help="A recipe's name, or a TOML file.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="The run directory; runs/<time>-<recipe> if not given.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Override one setting: section.key=value.", metavar="KEY=VALUE")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides all that is random.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse clips that cannot be heard instead of leaving them out.")
]


def train(
    sounds: Annotated[str | None, typer.Argument(help="A folder of class folders, or a CSV with path,label.")] = None,
    recipe: RecipeName = "cnn",
    out: Out = None,
    overrides: Set = None,
    seed: Seed = 0,
    test_fold: Annotated[int | None, typer.Option("--test-fold", help="The published fold to test on.")] = None,
    strict: Strict = False,
    resume: Annotated[Path | None, typer.Option("--resume", help="Continue this killed run.")] = None,
) -> None:
    """Train a classifier, measure it on clips it never heard, and write the report."""
    if (sounds is None) == (resume is None):
        raise typer.BadParameter("give the sounds to train on, or --resume RUN")
    with waiting(LOADING):
        from earmark.training import run as training
    if resume is not None:
        run = training.resume(resume)
    else:
        run = training.train(
            str(sounds), recipe, out=out, overrides=overrides or (), seed=seed, test_fold=test_fold, strict=strict
        )
    tell_run(run)
    typer.echo(f"Report: {run.folder / 'report.html'}")
    typer.echo(f"Label a file: earmark predict {run.model_folder} FILE")


def crossval(
    sounds: Sounds,
    recipe: RecipeName = "cnn",
    out: Out = None,
    overrides: Set = None,
    seed: Seed = 0,
    folds: Annotated[int, typer.Option("--folds", min=2, help="How many, where none are published.")] = 5,
    strict: Strict = False,
) -> None:
    """Test every clip once, on a model that never heard it: fold after fold, answers pooled."""
    with waiting(LOADING):
        from earmark.training.crossval import crossval as run_crossval
    run = run_crossval(sounds, recipe, out=out, overrides=overrides or (), seed=seed, folds=folds, strict=strict)
    from rich.table import Table

    table = Table("fold", "clips", "accuracy", "macro-F1", box=None, pad_edge=False)
    for figure in run.report["folds"]:
        figures = (f"{figure['accuracy']:.1%}", f"{figure['macro_f1']:.1%}")
        table.add_row(str(figure["fold"]), str(figure["clips"]), *figures)
    console().print(table)
    mean = run.report["fold_mean"]
    typer.echo(f"Mean of the folds: {mean['accuracy']:.1%}, standard deviation {mean['deviation']:.1%}")
    tell_run(run)
    typer.echo(f"Report: {run.folder / 'report.html'}")


def evaluate(
    model: Annotated[str, typer.Argument(help="A model directory, a run, or a Hub id.")],
    sounds: Sounds,
    out: Out = None,
    split: Annotated[str | None, typer.Option("--split", help="Only clips of this part of the split column.")] = None,
    strict: Strict = False,
) -> None:
    """Measure a model on labelled clips and write the report."""
    with waiting(LOADING):
        from earmark.training.assess import evaluate as run_evaluate
    run = run_evaluate(model, sounds, out=out, split=split, strict=strict)
    tell_run(run)
    typer.echo(f"Report: {run.folder / 'report.html'}")


def tell_run(run: "Run") -> None:
    """The figures in three lines, and what a reader must know."""
    report = run.report
    metrics = report["metrics"]
    for note in report["notes"]:
        typer.secho(f"Note: {note}", fg="yellow")
    for entry in report["data"]["left_out"]:
        typer.secho(f"Left out: {entry['reason']}", fg="yellow")
    typer.echo(f"{report['protocol']}")
    for name, key in (("Accuracy", "accuracy"), ("Balanced accuracy", "balanced_accuracy"), ("Macro-F1", "macro_f1")):
        figure = metrics[key]
        typer.echo(f"{name:<18} {figure['value']:6.1%}   ({figure['low']:.1%} to {figure['high']:.1%})")
    baseline = metrics["majority_baseline"]
    typer.echo(f"{'Majority guess':<18} {baseline['accuracy']:6.1%}   (always {baseline['label']!r})")
    typer.echo(f"{metrics['interval']}; {metrics['clips']} test clips.")
