"""The page of a search: how it went, which settings mattered, every trial with what it tried."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earmark.evaluation.search_figures import draw_importance, draw_search
from earmark.files import write_text_whole


def write_search_page(path: str | os.PathLike[str], figures: Mapping[str, Any]) -> Path:
    """Write the page, whole or not at all.

    Args:
        path: The page; one file that opens from disk and asks nothing of any network.
        figures: What `earmark.tune` knows: ``title``, ``created``, ``earmark``, ``recipe``, ``seed``, ``figure``,
            ``protocol``, ``notes``, ``space``, ``factors``, ``trials``, ``best``, ``best_recipe``, ``importance``,
            ``next``.

    Returns:
        The path.
    """
    return write_text_whole(path, render_search_page(figures))


def render_search_page(figures: Mapping[str, Any]) -> str:
    """The page of `write_search_page` as a string."""
    from markupsafe import Markup

    from earmark.pages.layout import render_page

    trials = figures["trials"]
    best = trials[figures["best"] - 1]
    settings = list(trials[0]["values"])
    ranked = sorted(trials, key=lambda trial: (trial["pruned"], -trial["figure"], trial["number"]))
    return render_page(
        "search.html.j2",
        title=figures["title"],
        version=figures["earmark"],
        search=figures,
        best=best,
        first=trials[0],
        settings=settings,
        ranked=ranked,
        write_value=lambda setting, value: write_value(value, factor=setting in figures["factors"]),
        history=Markup(draw_search(trials, figures["figure"])),
        importance=Markup(draw_importance(figures["importance"])) if figures["importance"] else "",
    )


def write_value(value: float | int | bool, *, factor: bool = False) -> str:
    """What a trial tried, short.

    Example:
        >>> write_value(0.0012345), write_value(0.5, factor=True), write_value(True)
        ('0.00123', '× 0.5', 'true')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return f"{'× ' if factor else ''}{value:.3g}"
