"""The verb `doctor`: what is installed, which device and codecs are found, and what is known to clash."""

import os
import platform
from importlib import import_module, metadata
from importlib.util import find_spec

import typer

PACKAGES = ("torch", "torchvision", "transformers", "timm", "accelerate", "soundfile", "av", "soxr", "scikit-learn")


def doctor() -> None:
    """Say what is installed, which device and codecs are found, and name known conflicts."""
    from earmark import __version__
    from earmark.data.store import find_cache_folder

    typer.echo(f"earmark {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    for name in PACKAGES:
        typer.echo(f"  {name:<14} {_find_version(name)}")
    typer.echo(f"Device: {_describe_device()}")
    typer.echo(f"Codecs: {_describe_codecs()}")
    typer.echo(f"Cache: {find_cache_folder()}")
    typer.echo(f"Hub: {os.environ.get('HF_ENDPOINT', 'the default endpoint')}")
    conflicts = find_conflicts()
    for conflict in conflicts:
        typer.secho(f"Conflict: {conflict}", fg="red")
    if conflicts:
        raise typer.Exit(1)
    typer.echo("No known conflicts.")


def find_conflicts() -> list[str]:
    """What is installed and known to break something, each with its remedy."""
    conflicts = []
    if find_spec("torchaudio") is not None:
        try:
            import_module("torchaudio")
        except Exception as error:  # a binary of another torch fails as OSError, ImportError, RuntimeError…
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            conflicts.append(
                f"torchaudio {_find_version('torchaudio')} cannot be imported beside torch {_find_version('torch')} "
                f"({reason}), and Transformers' audio models then fail too. Earmark does not need it: "
                "pip uninstall torchaudio"
            )
    for name in ("torchvision", "timm", "transformers"):
        try:
            import_module(name)
        except Exception as error:  # as above
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            conflicts.append(f"{name} cannot be imported ({reason}); install Earmark anew in a fresh environment.")
    return conflicts


def _find_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _describe_device() -> str:
    import torch

    from earmark.inference.device import count_threads

    if torch.cuda.is_available():
        precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
        return f"{torch.cuda.get_device_name()} (CUDA {torch.version.cuda}), {precision}"
    if torch.backends.mps.is_available():
        return "Apple GPU (MPS)"
    precision = "bf16 and fp32" if torch.cpu._is_avx512_bf16_supported() else "fp32"
    return f"CPU with {count_threads()} threads, {precision}"


def _describe_codecs() -> str:
    import av
    import soundfile

    formats = sorted(soundfile.available_formats())
    extra = [name for name in ("aac", "alac", "opus", "amrnb", "wmav2") if name in av.codecs_available]
    return (
        f"libsndfile {soundfile.__libsndfile_version__} ({', '.join(formats)}); "
        f"PyAV {av.__version__} (also {', '.join(extra)})"
    )
