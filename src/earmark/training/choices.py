"""What a training takes of the machine it runs on, and why: decided here, and told by ``earmark train --explain``."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import nn

from earmark.inference.device import choose_device, count_threads
from earmark.training.learners import Learner
from earmark.training.processes import count_processes, share_batch
from earmark.training.recipe import Recipe

# Measured on mfcc-mlp and cnn: epochs of the one become a third longer; those of the other a twelfth shorter, and over
# 100 epochs of 320 clips that is half of what the compilation costs.
COMPILATION = "compiling takes about 40 s of a core, and small networks gain less than that or become slower"
LONGEST_IN_FLOAT32 = 640  # positions; from some 700 on attention in bf16 is the faster


@dataclass(frozen=True)
class Choice:
    """What was chosen, in a word, and why, in a few."""

    value: str
    reason: str


def choose_precision(recipe: Recipe, device: torch.device) -> str:
    """``"bf16"`` where the recipe allows it and the hardware computes in it, else ``"fp32"``.

    ``"fp16"`` is used where the recipe asks for it, on a CUDA GPU.
    """
    return decide_precision(recipe, device).value


def decide_precision(recipe: Recipe, device: torch.device) -> Choice:
    """`choose_precision` with its reason.

    Example:
        >>> from earmark.training.recipe import load_recipe
        >>> decide_precision(load_recipe("quick"), torch.device("cpu"))
        Choice(value='fp32', reason='as the recipe says')
    """
    asked = recipe.train.precision
    if asked == "fp16" and device.type != "cuda":
        return Choice("fp32", "fp16 needs a CUDA GPU, and there is none")
    if asked != "auto":
        return Choice(asked, "as the recipe says")
    if device.type == "cuda":
        able, what = torch.cuda.is_bf16_supported(including_emulation=False), "this GPU"
    else:
        # Without such instructions bf16 is emulated, and slower than fp32.
        able, what = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported(), f"this {device.type.upper()}"
    how = " (AVX512-BF16)" if device.type == "cpu" else ""
    return Choice("bf16", f"{what} computes in it{how}") if able else Choice("fp32", f"{what} has no bf16{how}")


def leaves_one_out(batch_size: int, clips: int) -> bool:
    """Whether an epoch goes without its last batch: one clip, which batch norm cannot normalise by itself.

    Several processes fill the last batch up with the first clips.
    """
    return count_processes() == 1 and clips > batch_size > 1 and clips % batch_size == 1


def decide_threads(*, encoded: bool) -> Choice:
    """How many of the CPU's threads a step uses: one where it takes a fraction of a millisecond.

    Two gain nothing there, and wait for each other on a busy machine. Measured: five folds of ``mfcc-mlp`` take 11 s
    either way on two idle cores, but 266 s with two threads while another process keeps one of them busy.
    """
    if encoded:
        return Choice("1", "steps of a fraction of a millisecond gain nothing from more")
    threads, found = count_threads(), torch.get_num_threads()
    if threads < found:
        return Choice(str(threads), f"this process may use no more cores, though PyTorch finds {found}")
    return Choice(str(threads), "as many as PyTorch finds, or OMP_NUM_THREADS says")


def attends_in_float32(recipe: Recipe, model: nn.Module) -> bool:
    """Whether attention is better computed in float32 than in the bf16 of the rest: on CPUs, where there is any.

    Example:
        >>> from earmark.training.recipe import load_recipe
        >>> attends_in_float32(load_recipe("cnn"), nn.Linear(2, 2))
        False
    """
    device = choose_device()
    attentive = any("attention" in type(module).__name__.lower() for module in model.modules())
    return attentive and device.type == "cpu" and choose_precision(recipe, device) == "bf16"


def explain_choices(recipe: Recipe, learner: Learner, clips: int) -> list[str]:
    """What was chosen for a training on this machine and why, a line each.

    Args:
        recipe: Settled.
        learner: Built for it.
        clips: How many it learns from.

    Example:
        >>> explain_choices(recipe, learner, 320)[0]   # doctest: +SKIP
        'Precision: bf16; this CPU computes in it (AVX512-BF16).'
    """
    device = choose_device()
    chosen = {"Device": Choice(device.type.upper(), _tell_device(device))}
    chosen["Precision"] = decide_precision(recipe, device)
    if attends_in_float32(recipe, learner.model):
        chosen["Attention"] = Choice(
            "fp32", f"up to {LONGEST_IN_FLOAT32} positions its bf16 gradients take twice as long on CPUs"
        )
    chosen["Memory layout"] = _tell_layout(learner)
    if device.type == "cpu":
        chosen["Threads"] = decide_threads(encoded=learner.encodes_once)
    chosen["Features"] = _tell_features(recipe, learner)
    chosen["Batches"] = _tell_batches(recipe, clips)
    chosen["torch.compile"] = Choice("not used", COMPILATION)
    return [f"{what}: {choice.value}; {choice.reason}." for what, choice in chosen.items()]


def _tell_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return "Apple's GPU" if device.type == "mps" else "there is no GPU that PyTorch can use"


def _tell_layout(learner: Learner) -> Choice:
    if learner.channels_last:
        return Choice("channels-last", "convolutions over pictures take half the time")
    return Choice("contiguous", "this network sees no pictures, for which another would be faster")


def _tell_features(recipe: Recipe, learner: Learner) -> Choice:
    if learner.encodes_once:
        return Choice("computed once, before the first epoch", "nothing of them changes in training")
    if recipe.augments:
        changes = ", ".join(name for name, value in asdict(recipe.augment).items() if value)
        return Choice("computed in every step", f"the sound changes in each ({changes})")
    if recipe.brings_features:
        return Choice("computed in every step", "the layers that make them learn too")
    return Choice("computed in every step", "each epoch hears another part of a clip longer than the window")


def _tell_batches(recipe: Recipe, clips: int) -> Choice:
    train, processes = recipe.train, count_processes()
    batches = math.ceil((clips - leaves_one_out(train.batch_size, clips)) / train.batch_size)
    value = f"{train.batch_size} clips, {math.ceil(batches / train.accumulate)} steps an epoch"
    gathered = f", {train.accumulate} batches a step" if train.accumulate > 1 else ""
    shared = f", {share_batch(train.batch_size)} for each of {processes} processes" if processes > 1 else ""
    return Choice(value, f"as the recipe says{gathered}{shared}")
