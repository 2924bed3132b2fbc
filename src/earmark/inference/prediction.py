"""What a model says of a sound: a list as `transformers.pipeline` gives it, which also shows itself in a notebook."""

from typing import Any

BARS = 10


class Prediction(list[dict[str, Any]]):
    """``[{"label": str, "score": float}, …]``, highest first; before them ``unknown`` where it is ``rejected``.

    Example:
        >>> prediction = Prediction([{"label": "dog & cat", "score": 0.75}])
        >>> prediction == [{"label": "dog & cat", "score": 0.75}], "dog &amp; cat" in prediction._repr_html_()
        (True, True)
    """

    rejected = False
    """Whether the sound is of no class, as `Classifier.classify` says with ``reject``."""

    def _repr_html_(self) -> str:
        """A bar for each label, ten at most."""
        from earmark.pages.layout import render_fragment

        return render_fragment("notebook.html.j2", "prediction", entries=self[:BARS], n_more=max(0, len(self) - BARS))
