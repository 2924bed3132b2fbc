"""The command line: verbs, their options, and the one place where errors become sentences.

Nothing heavy is imported before a verb runs, so that ``earmark --help`` answers in a blink.
"""

import atexit
import gc
import os
import sys

import typer

from earmark.cli import (
    cache,
    compare,
    data,
    demo,
    doctor,
    exporting,
    listen,
    predicting,
    publishing,
    recipes,
    serve,
    show,
    timeline,
    training,
    tuning,
)

# What an installation for exported files alone may go without; see docs/onnx.md.
LEFT_OUT = (
    "accelerate",
    "av",
    "filelock",
    "huggingface_hub",
    "jinja2",
    "matplotlib",
    "pandas",
    "platformdirs",
    "pooch",
    "safetensors",
    "sklearn",
    "threadpoolctl",
    "timm",
    "torch",
    "transformers",
)

BROKEN_OFF = 130  # after Ctrl-C, as shells have it

app = typer.Typer(
    name="earmark",
    help="From a folder of labelled sounds to a classifier that people can trust, share and run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(training.train)
app.command("crossval")(training.crossval)
app.command("tune")(tuning.tune)
app.command("evaluate")(training.evaluate)
app.command("compare")(compare.compare)
app.command("predict")(predicting.predict)
app.command("timeline")(timeline.timeline)
app.command("listen")(listen.listen)
app.command("serve")(serve.serve)
app.command("verify")(predicting.verify)
app.command("export")(exporting.export)
app.command("push")(publishing.push)
app.command("recipes")(recipes.recipes)
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")
app.command("show")(show.show)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)


def _show_version(asked: bool) -> None:
    if asked:
        from earmark import __version__

        typer.echo(f"earmark {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Say which version."),
) -> None:
    """Train, measure and use sound classifiers."""


def _leave() -> None:
    """Skip the search for garbage among all that the imports left: at the end it would take a second and a half."""
    gc.freeze()
    if sys.stderr is not None:
        # Nothing speaks any more but soxr's binding, of each of its types that was not collected.
        sys.stderr.flush()
        _silence(2)


def _silence(descriptor: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def run() -> None:
    """Run a command; an error that is the user's to mend is one sentence on standard error and exit code 2."""
    from earmark.errors import EarmarkError

    # Libraries that talk of themselves while one waits for an answer are asked not to.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    atexit.register(_leave)
    try:
        app()
    except EarmarkError as error:
        typer.secho(f"earmark: {error}", fg="red" if sys.stderr.isatty() else None, err=True)
        sys.exit(2)
    except SystemExit as leaving:
        # Typer's way to end after Ctrl-C, without a word.
        if leaving.code == BROKEN_OFF:
            typer.echo("earmark: broken off.", err=True)
        raise
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in LEFT_OUT:
            raise
        typer.echo(
            f"earmark: this needs {error.name}, which is not installed; install Earmark with all it depends on.",
            err=True,
        )
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        where = f"{error.filename} cannot be used ({error.strerror})"
        typer.echo(f"earmark: {where}; check the path, its permissions and the room left.", err=True)
        sys.exit(2)
