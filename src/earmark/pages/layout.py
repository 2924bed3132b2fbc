"""What every HTML page shares: one self-contained file, its colours and type, and how numbers are written in it."""

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

NARROW_SPACE = "\u202f"


def render_page(template: str, **content: Any) -> str:
    """A whole HTML page from a template of this folder that extends ``page.html.j2``.

    Everything put in is escaped, unless it is ``Markup``: file names and labels are other people's text.

    Args:
        template: File name, such as ``"report.html.j2"``.
        content: What the template names; a name that is missing is an error, not a gap in the page.

    Returns:
        HTML that asks nothing of any network.

    Example:
        >>> page = render_page("page.html.j2", title="Dogs & rain", version="1.0")
        >>> "<title>Dogs &amp; rain</title>" in page
        True
    """
    return _environment().get_template(template).render(**content)


def render_fragment(template: str, macro: str, **content: Any) -> str:
    """What a macro of a template makes, for a page that is not ours; escaped as in `render_page`.

    Args:
        template: File name, such as ``"notebook.html.j2"``.
        macro: A macro in it.
        content: The macro's arguments.

    Example:
        >>> render_fragment("parts.html.j2", "percentage", share=0.5)
        '50.0\u202f%'
    """
    return str(getattr(_environment().get_template(template).module, macro)(**content))


def percent(share: float, digits: int = 1) -> str:
    """A share as percent, without the sign, so that columns of them line up.

    Example:
        >>> percent(0.8925), percent(1.0), percent(0.5, 0)
        ('89.2', '100.0', '50')
    """
    return f"{100 * share:.{digits}f}"


def span(seconds: float) -> str:
    """A duration as a person would say it.

    Example:
        >>> span(0.4), span(12.3), span(119.7), span(7300)
        ('0.4 s', '12 s', '2 min 0 s', '2 h 1 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("earmark", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, span=span, thousands=lambda number: f"{number:,}")
    environment.globals["nnbsp"] = NARROW_SPACE
    return environment
