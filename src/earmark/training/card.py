"""The model card: what a stranger needs to know before trusting a model."""

from typing import Any

from earmark.training.recipe import Recipe


def write_card(recipe: Recipe, report: dict[str, Any]) -> str:
    """Markdown with the Hub's header: what it answers, how to use it, its figures with their protocol, its data."""
    labels = report["data"]["labels"]
    metrics = report.get("metrics")
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: audio-classification",
        "tags: [audio-classification, earmark]",
        "---",
        "",
        f"# {report['title']}",
        "",
        f"Tells {len(labels)} classes of sound apart: {', '.join(labels)}.",
        "",
        "## Use",
        "",
        "```python",
        "import earmark.models  # makes the model known to Transformers",
        "from transformers import pipeline",
        "",
        'classify = pipeline("audio-classification", model="path/to/this/directory")',
        f'classify("sound.wav")  # any format, any rate; or a waveform: float32, mono, {recipe.audio.sample_rate} Hz',
        "```",
        "",
        "Or, for files of any format: `earmark predict path/to/this/directory FILE…`",
        "",
        "## Figures",
        "",
    ]
    if metrics:
        accuracy, f1 = metrics["accuracy"], metrics["macro_f1"]
        lines += [
            f"On {metrics['clips']} test clips, read once: accuracy {accuracy['value']:.1%} "
            f"({accuracy['low']:.1%} to {accuracy['high']:.1%}), macro-F1 {f1['value']:.1%}; "
            f"always saying {metrics['majority_baseline']['label']!r} scores "
            f"{metrics['majority_baseline']['accuracy']:.1%}. {metrics['interval']}.",
            "",
        ]
    split = report["data"]["split"]
    parts = ", ".join(f"{split[part]} {part}" for part in split)
    lines += [report["protocol"], "", "## Data", "", f"{report['data']['clips']} clips ({parts}).", ""]
    lines += [f"- {note}" for note in report["notes"]]
    lines += ["", "## Recipe", "", f"`{recipe.name}`: {recipe.description}", ""]
    return "\n".join(lines)
