"""One training in several processes, on one machine or many, as `torchrun` and `accelerate launch` start them.

The launcher tells each process its number and theirs; the Trainer shares out the batches and averages the gradients.
What is here keeps them from getting into each other's way: one decodes for its machine, one writes, one speaks.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from earmark.errors import RecipeError, RunError
from earmark.progress import is_first_process

T = TypeVar("T")
LAUNCHED_BY = ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
LONGEST_WAIT = timedelta(days=2)  # the others wait while one decodes


def count_processes() -> int:
    """How many processes share this training; one unless a launcher says otherwise."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def share_batch(batch_size: int) -> int:
    """The part of a batch that each process takes: a recipe's batch is that of all of them together.

    Raises:
        RecipeError: it cannot be shared evenly.
    """
    processes = count_processes()
    if batch_size % processes:
        raise RecipeError(
            f"train.batch_size = {batch_size} cannot be shared evenly by {processes} processes; "
            f"give a multiple, such as --set train.batch_size={-(-batch_size // processes) * processes}."
        )
    return batch_size // processes


def refuse_several(verb: str) -> None:
    """For verbs that are one process's work.

    Raises:
        RunError: a launcher started several.
    """
    if count_processes() > 1:
        raise RunError(f"`earmark {verb}` is one process's work; start it without torchrun or accelerate launch.")


def join_processes() -> None:
    """Meet the others; nothing where there are none."""
    if count_processes() > 1:
        from accelerate import PartialState

        from earmark.inference.device import choose_device

        PartialState(cpu=choose_device().type == "cpu", timeout=LONGEST_WAIT)


@contextmanager
def take_turns() -> Iterator[None]:
    """The first process of each machine does the block, then the others, who find done what it did."""
    if count_processes() == 1:
        yield
        return
    from accelerate import PartialState

    with PartialState().local_main_process_first():
        yield


def agree(value: T) -> T:
    """The first process's value, for all; also waits for all."""
    if count_processes() == 1:
        return value
    import torch.distributed as dist

    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def sum_over_processes(values: Sequence[float]) -> list[float]:
    """Each value, summed over the processes."""
    if count_processes() == 1:
        return list(values)
    import torch
    import torch.distributed as dist
    from accelerate import PartialState

    # Apple's GPU and some others know no float64; the sums of an epoch need it hardly.
    total = torch.tensor(values, dtype=torch.float32, device=PartialState().device)
    dist.all_reduce(total)
    return total.tolist()


def leave_processes() -> None:
    """Part from the others, once nothing is shared any more; the first process is then the only one there is.

    With gloo, a process that ends without this sometimes aborts after all its work is done.
    """
    if count_processes() == 1:
        return
    import torch.distributed as dist
    from accelerate.state import AcceleratorState

    dist.barrier()
    dist.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)
    if is_first_process():
        for name in LAUNCHED_BY:
            os.environ.pop(name, None)
