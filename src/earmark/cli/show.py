"""The verb `show`: one sound on one sheet."""

from pathlib import Path
from typing import Annotated

import typer


def show(
    file: Annotated[Path, typer.Argument(help="A sound file.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A page (.html), or the bare sheet (.svg, .png); <stem>.html if not given."),
    ] = None,
    start_s: Annotated[float, typer.Option("--start-s", min=0, help="Where to begin, seconds.")] = 0.0,
    duration_s: Annotated[
        float | None, typer.Option("--duration-s", max=120, help="How much to show, seconds; a minute if not given.")
    ] = None,
    spectrum_at_s: Annotated[
        float | None,
        typer.Option("--spectrum-at-s", min=0, help="Where the spectrum is taken; where it is loudest if not given."),
    ] = None,
    spectrum_length: Annotated[
        int, typer.Option("--spectrum-length", min=16, max=1 << 20, help="Length of the spectrum's window, samples.")
    ] = 4096,
    n_fft: Annotated[
        int | None, typer.Option("--n-fft", min=16, max=1 << 16, help="Window, samples; about 46 ms if not given.")
    ] = None,
    hop_length: Annotated[
        int | None, typer.Option("--hop-length", min=1, help="Step, samples; a quarter of the window if not given.")
    ] = None,
    n_mels: Annotated[int, typer.Option("--n-mels", min=1, max=1024, help="Mel bands.")] = 128,
    n_mfcc: Annotated[int, typer.Option("--n-mfcc", min=1, max=1024, help="Cepstral coefficients.")] = 40,
    log_frequency: Annotated[
        bool, typer.Option("--log-frequency", help="A logarithmic frequency axis for the spectrogram.")
    ] = False,
    resynthesise: Annotated[
        bool,
        typer.Option("--resynthesise", help="Make the sound anew from its mel spectrogram: what do features keep?"),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the phases that it is made from.")] = 0,
) -> None:
    """Draw a sound: waveform, spectrum, spectrogram, mel spectrogram and MFCC on one sheet, with a player."""
    from earmark.cli.console import waiting
    from earmark.progress import show_progress

    with waiting("Loading torch"):
        from earmark.sound.analysis import AnalysisSettings
        from earmark.sound.sheet_files import write_sheet
    settings = AnalysisSettings(n_fft, hop_length, n_mels, n_mfcc, spectrum_at_s, spectrum_length)
    long_step = show_progress("Making the sound anew", "rounds") if resynthesise else waiting("Drawing")
    with long_step as advance:
        written = write_sheet(
            file,
            out,
            settings,
            start_s=start_s,
            duration_s=duration_s,
            log_frequency=log_frequency,
            resynthesise=resynthesise,
            seed=seed,
            on_progress=advance,
        )
    for note in written.notes:
        typer.secho(f"Note: {note}", fg="yellow")
    if written.resynthesised is not None:
        typer.echo(f"What the mel spectrogram keeps: {written.resynthesised}")
    typer.echo(f"Look{' and listen' if written.sheet.suffix.lower() == '.html' else ''}: {written.sheet}")
