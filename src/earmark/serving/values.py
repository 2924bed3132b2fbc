"""Values that a request may not have, in one sentence."""

from collections.abc import Sequence
from typing import Any

from earmark.serving.uploads import clean_text


def explain_values(faults: Sequence[Any]) -> str:
    """What pydantic found, as a sentence.

    Args:
        faults: Its ``errors()``.

    Example:
        >>> explain_values([{"loc": ("query", "top_k"), "msg": "Input should be greater than 0", "input": "-1"}])
        'top_k is -1; input should be greater than 0.'
    """
    parts = []
    for fault in faults:
        place = ".".join(str(part) for part in fault["loc"] if part not in ("query", "body"))
        reason = f"{fault['msg'][:1].lower()}{fault['msg'][1:]}"
        given = fault.get("input")
        shown = f"{place} is {clean_text(str(given))}; " if place and not isinstance(given, dict | list) else ""
        parts.append(f"{shown or place + ': ' * bool(place)}{reason}")
    return ". ".join(f"{part[:1]}{part[1:]}" for part in parts) + "."
