"""The verbs that measure: train, crossval, evaluate."""

import time
from collections.abc import Collection
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earmark.cli.console import console, waiting
from earmark.progress import is_first_process

if TYPE_CHECKING:
    from earmark.training.run import Run

LOADING = "Loading torch and transformers"


class Split(StrEnum):
    """Who deals the clips into parts."""

    OFFICIAL = "official"
    RANDOM = "random"


class Tracker(StrEnum):
    """What follows a training."""

    SWANLAB = "swanlab"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    MLFLOW = "mlflow"
    TRACKIO = "trackio"


Sounds = Annotated[
    str, typer.Argument(help="A folder of class folders, a CSV with path,label, a known dataset, or the Hub id of one.")
]
RecipeName = Annotated[str, typer.Option("--recipe", "-r", help="A recipe's name, or a TOML file.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="The run directory; runs/<time>-<recipe> if not given.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Override one setting: section.key=value.", metavar="KEY=VALUE")
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Decides all that is random.", show_default="the recipe's, 0")
]
ModelName = Annotated[
    str | None, typer.Option("--model", "-m", help="A network timm knows, or an audio model's Hub id or directory.")
]
Track = Annotated[
    list[Tracker] | None, typer.Option("--track", help="Follow the training in this tracker; may be given often.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse clips that cannot be heard instead of leaving them out.")
]
AllowLeak = Annotated[
    bool,
    typer.Option("--allow-leak", help="Go on where a group or a sound is on two sides; the report says so in red."),
]


def train(
    context: typer.Context,
    sounds: Annotated[
        str | None,
        typer.Argument(help="A folder of class folders, a CSV with path,label, a known dataset, or the Hub id of one."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", help="A recipe's name, or a TOML file.", show_default="cnn, or what fits"),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="Be done in this time: 90s, 10m, 1h30m. Chooses what fits.", metavar="TIME"),
    ] = None,
    out: Out = None,
    overrides: Set = None,
    model: ModelName = None,
    seed: Seed = None,
    split: Annotated[
        Split | None,
        typer.Option(
            "--split", help="official: published splits, folds and groups; random: four fifths of everything."
        ),
    ] = None,
    test_fold: Annotated[int | None, typer.Option("--test-fold", help="The published fold to test on.")] = None,
    track: Track = None,
    strict: Strict = False,
    allow_leak: AllowLeak = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say first what was chosen for this machine, and why.")
    ] = False,
    resume: Annotated[Path | None, typer.Option("--resume", help="Continue this killed run.")] = None,
) -> None:
    """Train a classifier, measure it on clips it never heard, and write the report."""
    began = time.perf_counter()
    check_start(context, "give the sounds to train on, or --resume RUN", beside=("explain",))
    given = [*(overrides or ()), *name_model(model), *([f"train.split={split.value}"] if split else [])]
    with waiting(LOADING):
        from earmark.training import run as training
        from earmark.training.budget import parse_budget
    tell = partial(typer.echo, err=True) if explain else None
    if resume is not None:
        run = training.resume(resume, explain=tell)
    else:
        run = training.train(
            str(sounds),
            recipe,
            out=out,
            overrides=given,
            seed=seed,
            test_fold=test_fold,
            strict=strict,
            track=[tracker.value for tracker in track or ()],
            allow_leak=allow_leak,
            budget_s=None if budget is None else parse_budget(budget),
            began=began,
            explain=tell,
        )
    if not is_first_process():
        return
    tell_run(run)
    typer.echo(f"Label a file: earmark predict {run.model_folder} FILE")


def crossval(
    context: typer.Context,
    sounds: Annotated[
        str | None,
        typer.Argument(help="A folder of class folders, a CSV with path,label, a known dataset, or the Hub id of one."),
    ] = None,
    recipe: RecipeName = "cnn",
    out: Out = None,
    overrides: Set = None,
    model: ModelName = None,
    seed: Seed = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="How many, where none are published.")] = 5,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Do it so many times, each with the next seed.")] = 1,
    refit: Annotated[bool, typer.Option("--refit", help="Then train the model to ship, on all clips.")] = False,
    track: Track = None,
    strict: Strict = False,
    allow_leak: AllowLeak = False,
    resume: Annotated[Path | None, typer.Option("--resume", help="Continue this killed run.")] = None,
) -> None:
    """Test every clip once, on a model that never heard it: fold after fold, answers pooled."""
    check_start(context, "give the sounds to train on, or --resume RUN")
    with waiting(LOADING):
        from earmark.training import crossval as verb
    given = [*(overrides or ()), *name_model(model)]
    if resume is not None:
        run = verb.resume_crossval(resume)
    else:
        run = verb.crossval(
            str(sounds),
            recipe,
            out=out,
            overrides=given,
            seed=seed,
            folds=folds,
            seeds=seeds,
            refit=refit,
            strict=strict,
            track=[tracker.value for tracker in track or ()],
            allow_leak=allow_leak,
        )
    tell_folds(run)
    tell_run(run)
    if run.report.get("refit"):
        typer.echo(f"Label a file: earmark predict {run.model_folder} FILE")


def check_start(context: typer.Context, remedy: str, *, beside: Collection[str] = ()) -> None:
    """Sounds to begin with, or a run to continue, which keeps the settings it began with.

    Args:
        context: Of a verb with ``sounds`` and ``resume``.
        remedy: Said where there are both or neither.
        beside: What may be given beside ``resume``.
    """
    given = {
        parameter.name: max(parameter.opts, key=len)
        for parameter in context.command.params
        if parameter.name and (source := context.get_parameter_source(parameter.name)) and source.name == "COMMANDLINE"
    }
    if ("sounds" in given) == ("resume" in given):
        raise typer.BadParameter(remedy)
    dropped = [option for name, option in given.items() if name not in ("resume", *beside)]
    if "resume" in given and dropped:
        raise typer.BadParameter(f"a run that is continued keeps what it began with; leave {', '.join(dropped)} out")


def tell_folds(run: "Run") -> None:
    """The table of a cross-validation, with its mean and its spread."""
    from rich.table import Table

    from earmark.evaluation.fold_table import tabulate_folds

    primary = run.report["metrics"]["primary"]
    found = tabulate_folds(run.report["folds"], primary, run.report.get("seeds"))
    table = Table("fold", "clips", *found["columns"], box=None, pad_edge=False)
    for row in found["rows"]:
        table.add_row(str(row["fold"]), str(row["clips"]), *(f"{value:.1%}" for value in row["values"]))
    console().print(table)
    mean = run.report["fold_mean"]
    spread = f"standard deviation {mean['deviation']:.1%}"
    if "seed_deviation" in mean:
        spread = f"standard deviation over folds {mean['deviation']:.1%}, over seeds {mean['seed_deviation']:.1%}"
    typer.echo(f"Mean of the folds: {mean[primary]:.1%}, {spread}")


def evaluate(
    model: Annotated[str, typer.Argument(help="A model directory, a run, or a Hub id.")],
    sounds: Sounds,
    out: Out = None,
    split: Annotated[str | None, typer.Option("--split", help="Only clips of this part of the split column.")] = None,
    strict: Strict = False,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Ask again under bad conditions: telephone, MP3, noise, rooms.")
    ] = False,
    allow_leak: AllowLeak = False,
) -> None:
    """Measure a model on labelled clips and write the report."""
    with waiting(LOADING):
        from earmark.training.assess import evaluate as run_evaluate
    run = run_evaluate(model, sounds, out=out, split=split, strict=strict, robustness=robustness, allow_leak=allow_leak)
    tell_run(run)


def name_model(model: str | None) -> list[str]:
    """``--model`` as the override it stands for."""
    return [] if model is None else [f'model.name="{model}"']


def tell_leaks(report: dict[str, Any]) -> None:
    """What stands on two sides, in red, before any figure."""
    from earmark.training.gate import tell_found

    leaks = report["leaks"]
    if leaks["found"] and not leaks["published"]:
        typer.secho(f"LEAK: {leaks['consequence']}", fg="red", bold=True)
        for entry in leaks["found"]:
            typer.secho(f"  {tell_found(entry)}", fg="red")


def tell_run(run: "Run") -> None:
    """The figures, a line each, and what a reader must know."""
    from earmark.evaluation.metrics import SCORE_NAMES

    report = run.report
    metrics = report["metrics"]
    tell_leaks(report)
    for note in report["notes"]:
        typer.secho(f"Note: {note}", fg="yellow")
    for entry in report["data"]["left_out"]:
        typer.secho(f"Left out: {entry['reason']}", fg="yellow")
    typer.echo(f"{report['protocol']}")
    names = SCORE_NAMES[metrics["primary"]]
    width = max(map(len, names.values())) + 1
    for key, name in names.items():
        figure = metrics[key]
        typer.echo(f"{name:<{width}} {figure['value']:6.1%}   ({figure['low']:.1%} to {figure['high']:.1%})")
    if metrics["primary"] == "map":
        typer.echo(
            f"{'Class shares':<{width}} {metrics['prior_baseline']:6.1%}   (always answered, whatever the sound)"
        )
        if metrics["without_positives"]:
            missing = ", ".join(metrics["without_positives"])
            typer.secho(f"No test clip has {missing}: left out of the means over classes.", fg="yellow")
    else:
        baseline = metrics["majority_baseline"]
        typer.echo(f"{'Majority guess':<{width}} {baseline['accuracy']:6.1%}   (always {baseline['label']!r})")
    typer.echo(f"{metrics['interval']}; {metrics['clips']} test clips.")
    typer.echo(report["ledger"]["sentence"])
    for hint in report.get("trackers", []):
        typer.echo(hint)
    typer.echo(f"Report: {run.folder / 'report.html'}")
