"""How a run shows itself in a notebook: a fragment of HTML that needs nothing around it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from earmark.evaluation.metrics import SCORE_NAMES
from earmark.pages.layout import render_fragment


def show_run(report: dict[str, Any], page: Path | None = None) -> str:
    """A run as HTML: its scores with their intervals, what a reader must know, and where it errs.

    Args:
        report: What stands in ``report.json``.
        page: Where ``report.html`` lies, to link to it. A notebook opens what lies below its own folder.

    Example:
        >>> import numpy as np
        >>> from earmark.evaluation.metrics import score_predictions
        >>> metrics = score_predictions(["dog", "rain"], np.array([0, 1]), np.eye(2))
        >>> "Confusion matrix" in show_run({"title": "cnn on <sounds>", "metrics": metrics})
        True
    """
    from markupsafe import Markup

    from earmark.evaluation.report_figures import draw_answers

    metrics = report["metrics"]
    picture = draw_answers(metrics)
    # A picture takes all the width it is given; a notebook would blow it up.
    width = re.search(r'viewBox="0 0 ([\d.]+) ', picture)
    return render_fragment(
        "notebook.html.j2",
        "run",
        title=report["title"],
        metrics=metrics,
        scores=SCORE_NAMES[metrics["primary"]],
        notes=report.get("notes") or [],
        protocol=report.get("protocol") or "",
        address=None if page is None else _address(page),
        picture=Markup(picture),
        picture_width_px=width.group(1) if width else "560",
    )


def _address(page: Path) -> str:
    """The page from the folder one works in, as a link that a browser understands."""
    whole, here = page.absolute(), Path.cwd()
    return quote(whole.relative_to(here).as_posix()) if whole.is_relative_to(here) else whole.as_uri()
