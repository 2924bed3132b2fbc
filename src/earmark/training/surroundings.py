"""What a training sets in its process for as long as it lasts: threads, memory, garbage, attention."""

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from earmark.inference.device import use_threads
from earmark.training.choices import LONGEST_IN_FLOAT32, attends_in_float32, decide_threads
from earmark.training.recipe import Recipe

# What `mallopt` of the GNU C library calls them, and what they come to by themselves in a process with large tensors;
# once one of them was set, they no longer move, and from their beginnings all that follows would be slower.
TRIM_THRESHOLD, USUAL_TRIM_THRESHOLD = -1, 64 << 20
MMAP_THRESHOLD, USUAL_MMAP_THRESHOLD = -3, 32 << 20
MMAP_MAX, USUAL_MMAP_MAX = -4, 65_536


@contextmanager
def prepare_process(recipe: Recipe, model: nn.Module, *, encoded: bool) -> Iterator[None]:
    """For one training: as many threads as pay, memory kept from step to step, attention in the faster precision.

    Args:
        recipe: Settled.
        model: What is trained.
        encoded: Whether it learns from features that were computed before; steps are short then.

    Example:
        >>> with prepare_process(recipe, model, encoded=False):   # doctest: +SKIP
        ...     trainer.train()
    """
    with ExitStack() as stack:
        stack.enter_context(use_threads(int(decide_threads(encoded=encoded).value)))
        stack.enter_context(_freeze_garbage())
        if not encoded:
            stack.enter_context(_keep_memory())
        if attends_in_float32(recipe, model):
            stack.enter_context(AttentionInFloat32())
        yield


class AttentionInFloat32(TorchFunctionMode):
    """Attention over up to 640 positions is computed in float32, whatever autocast says.

    The backward pass of PyTorch's bf16 attention on CPUs takes twice as long there: of 32 rows of 101 positions with
    twelve heads, 71 ms, against 34 ms in float32.

    Example:
        >>> rows = torch.ones(1, 2, 5, 4, dtype=torch.bfloat16)
        >>> with AttentionInFloat32():
        ...     F.scaled_dot_product_attention(rows, rows, rows).dtype
        torch.bfloat16
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is not F.scaled_dot_product_attention or args[0].shape[-2] > LONGEST_IN_FLOAT32:
            return func(*args, **given)
        with torch.autocast("cpu", enabled=False):
            attended = func(*map(_widen, args), **{name: _widen(value) for name, value in given.items()})
        return attended.to(args[0].dtype)


def _widen(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


@contextmanager
def _freeze_garbage() -> Iterator[None]:
    """What is there before a training is passed over by the garbage collector.

    The Trainer collects in full before it starts: 0.35 s over the half million objects of the imports, for each of the
    fifty short trainings of a cross-validation.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _keep_memory() -> Iterator[None]:
    """What a step gives back waits for the next one, where the GNU C library manages memory.

    Otherwise every large tensor comes from the system anew, page by page: on virtual machines up to a fifth of a step
    of `cnn`. Afterwards all goes back at once.
    """
    library = _find_library()
    if library is None:
        yield
        return
    library.mallopt(MMAP_MAX, 0)
    library.mallopt(TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        library.mallopt(MMAP_MAX, USUAL_MMAP_MAX)
        library.mallopt(MMAP_THRESHOLD, USUAL_MMAP_THRESHOLD)
        library.mallopt(TRIM_THRESHOLD, USUAL_TRIM_THRESHOLD)
        library.malloc_trim(0)


@cache
def _find_library() -> Any:
    """The C library of this process, if it is GNU's."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
