"""What a run writes down about itself: versions, commit, device, and the skeleton of its report."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import earmark
from earmark.data.clips import Clips
from earmark.data.fingerprint import hash_clips
from earmark.data.splits import Split
from earmark.data.waveforms import ClipWaveforms
from earmark.inference.device import choose_device
from earmark.training.choices import choose_precision
from earmark.training.learners import Learner
from earmark.training.recipe import Recipe, to_tables

PACKAGES = ("torch", "transformers", "timm", "numpy", "soundfile", "av", "soxr")


def describe_run(
    kind: str, recipe: Recipe, waveforms: ClipWaveforms, split: Split | None, protocol: str, *, seed: int
) -> dict[str, Any]:
    """The report before there are figures: what was asked, of which clips, with which software."""
    clips = waveforms.clips
    parts: dict[str, int] = {}
    if split is not None:
        counts = {part: len(split.rows(part)) for part in ("train", "validation", "test")}
        parts = {part: count for part, count in counts.items() if count}
    source = clips.source.rstrip("/").rsplit("/", 1)[-1] or clips.source
    return {
        "title": f"{recipe.name} on {source.removesuffix('.csv')}",
        "kind": kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "earmark": earmark.__version__,
        "protocol": protocol,
        "notes": describe_clips_honestly(waveforms, kept_apart=_keeps_artists_apart(clips, recipe, split)),
        "data": describe_data(waveforms, parts),
        "recipe": to_tables(recipe),
        "seed": seed,
        "timing": {"decode_s": round(waveforms.decode_s, 2)},
        "history": [],
        **describe_software(),
    }


def describe_data(waveforms: ClipWaveforms, parts: dict[str, int]) -> dict[str, Any]:
    """The clips of a report: how many of what, which part they played, and what was left out."""
    clips = waveforms.clips
    return {
        "source": clips.source,
        "layout": clips.layout,
        "clips": len(waveforms),
        "classes": len(clips.labels),
        "labels": list(clips.labels),
        "multi_label": clips.multi_label,
        "class_counts": dict(zip(clips.labels, map(int, waveforms.targets().sum(0)), strict=True)),
        "hash": hash_clips(clips),
        "split": parts,
        "left_out": waveforms.left_out,
    }


def describe_model(learner: Learner, recipe: Recipe) -> dict[str, Any]:
    """The model of a report: its size, what it hears, and where it was trained."""
    device = choose_device()
    rate = learner.extractor.sampling_rate
    return {
        "parameters": sum(parameter.numel() for parameter in learner.model.parameters()),
        "sample_rate": rate,
        "window_s": learner.window / rate,
        "device": device.type,
        "precision": choose_precision(recipe, device),
    }


def describe_software() -> dict[str, Any]:
    """Versions of what computes, and the commit one works in."""
    versions = {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}
    return {"versions": versions, "commit": find_commit()}


def _keeps_artists_apart(clips: Clips, recipe: Recipe, split: Split | None) -> bool:
    """GTZAN's published split does, though nothing in its files names an artist."""
    return clips.layout == "GTZAN" and split is not None and recipe.train.split == "official"


def describe_clips_honestly(waveforms: ClipWaveforms, *, kept_apart: bool = False) -> list[str]:
    """What a reader should know of the clips before believing a figure.

    Args:
        waveforms: The clips and their sound.
        kept_apart: What belongs together is known to lie on one side, though no group says so.
    """
    notes = []
    if waveforms.left_out:
        notes.append(f"{len(waveforms.left_out)} clip(s) could not be heard and were left out; they are named below.")
    if waveforms.remarks:
        more = f" (and {len(waveforms.remarks) - 1} more)" if len(waveforms.remarks) > 1 else ""
        notes.append(f"Decoded only in part: {waveforms.remarks[0]}{more}")
    if waveforms.clips.grouping:
        notes.append(waveforms.clips.grouping)
    if "group" not in waveforms.clips.table and not kept_apart:
        notes.append(
            "Nothing says which clips share a recording, a speaker or a track. If some do, they may stand on both "
            "sides of the split, and the figures are too good; a `group` column in the CSV prevents it."
        )
    return notes


def find_commit() -> str | None:
    """The commit of the git repository one works in, if any."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=5, encoding="utf-8"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
