"""The verb `demo`: the whole job on sounds that are made here."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

CLIPS_PER_CLASS = 40


def demo(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Where the sounds and the run go.")] = Path("demo"),
) -> None:
    """Make ten kinds of sound, train, evaluate, write the report, label a file."""
    from earmark.cli.training import tell_run
    from earmark.progress import show_progress
    from earmark.sound.synthesis import SOUND_NAMES, synthesise, write_sounds

    sounds = folder / "sounds"
    typer.echo(f"1. Ten kinds of synthetic sound, {CLIPS_PER_CLASS} clips each: {sounds}")
    with show_progress("Making sounds") as advance:
        write_sounds(sounds, clips_per_class=CLIPS_PER_CLASS, on_progress=advance)
    from earmark.training.run import train

    typer.echo(f"2. earmark train {sounds} --recipe quick")
    shutil.rmtree(folder / "run", ignore_errors=True)
    run = train(str(sounds), "quick", out=folder / "run")
    tell_run(run)

    import soundfile

    stranger = folder / "a new sound.wav"
    name = SOUND_NAMES[0]
    soundfile.write(stranger, synthesise(name, seed=1_000_003, duration_s=3.0, sample_rate=44_100), 44_100)
    typer.echo(f"3. earmark predict {run.model_folder} '{stranger}'   (made as: {name})")
    for entry in run.load_classifier().classify(stranger, top_k=3):
        typer.echo(f"   {entry['label']:<12} {entry['score']:6.1%}")
    typer.echo(f"Look at and listen to the report: {(run.folder / 'report.html').resolve()}")
    typer.echo("Next, with sounds of your own:    earmark train FOLDER")
