"""From clips to batches: windows of waveform, drawn anew each epoch, or windows encoded once and kept.

Whatever is random about an example is drawn from (seed, epoch, clip), so that a resumed run repeats an uninterrupted
one, and the order of workers changes nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from earmark.data.waveforms import ClipWaveforms
from earmark.models.front_ends import Encoded
from earmark.sound.augment import change_speed, mix_loudness_aware
from earmark.sound.waveform_changes import build_changes
from earmark.training.augmentation import change_waveform
from earmark.training.sections import AugmentSection

Example = dict[str, Any]


class WaveformExamples(Dataset):
    """Clips as windows of waveform: in training a random one, augmented; otherwise the whole clip.

    Args:
        waveforms: The clips and their sound.
        rows: Which clips.
        window: Samples.
        augment: What happens to a clip; ``None`` outside training.
        seed: With epoch and clip, decides all that is random.
    """

    def __init__(
        self,
        waveforms: ClipWaveforms,
        rows: np.ndarray,
        *,
        window: int,
        augment: AugmentSection | None = None,
        seed: int = 0,
    ) -> None:
        self.waveforms = waveforms
        self.rows = rows
        self.window = window
        self.augment = augment
        self.seed = seed
        self.epoch = 0
        self.targets = waveforms.targets()[rows]
        self.changes = build_changes(augment.waveform) if augment is not None and augment.waveform else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, items: list[int]) -> Sequence[Example]:
        """What the data loader asks for a batch."""
        return _OneByOne(self, items)

    def __getitem__(self, item: int) -> Example:
        row = int(self.rows[item])
        if self.augment is None:
            return {"waveform": self.waveforms.read(row), "target": self.targets[item]}
        generator = np.random.default_rng((self.seed, self.epoch, row))
        waveform, target = self._draw_window(row, generator), self.targets[item]
        if generator.random() < self.augment.mix:
            other = self._draw_other(item, generator)
            ratio = float(generator.random())
            second = self._draw_window(int(self.rows[other]), generator)
            length = max(len(waveform), len(second))
            waveform = mix_loudness_aware(_pad(waveform, length), _pad(second, length), ratio=ratio)
            target = np.float32(ratio) * target + np.float32(1 - ratio) * self.targets[other]
        return {"waveform": waveform, "target": target}

    def _draw_window(self, row: int, generator: np.random.Generator) -> np.ndarray:
        assert self.augment is not None
        faster = (1 + self.augment.speed) ** generator.uniform(-1, 1) if self.augment.speed else 1.0
        stretch = int(self.window * faster)  # becomes a window, or less than one where the clip has no more
        spare = self.waveforms.places[row].length - stretch
        start = int(generator.integers(spare + 1)) if spare > 0 else 0
        waveform = self.waveforms.read(row, start, start + stretch)
        if faster != 1.0:
            waveform = change_speed(waveform, faster)
        return change_waveform(waveform, self.augment, self.changes, self.waveforms.store.sample_rate, generator)

    def _draw_other(self, item: int, generator: np.random.Generator) -> int:
        """A clip of another class; any other clip if a dozen draws find none."""
        other = item
        for _ in range(12):
            other = int(generator.integers(len(self)))
            if not np.array_equal(self.targets[other], self.targets[item]):
                break
        return other


class _OneByOne(Sequence[Example]):
    """Examples drawn when they are asked for, so that each is copied into its batch from the processor's cache."""

    def __init__(self, examples: WaveformExamples, items: list[int]) -> None:
        self.examples = examples
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: Any) -> Any:
        return self.examples[self.items[place]]


def _pad(waveform: np.ndarray, length: int) -> np.ndarray:
    return waveform if len(waveform) == length else np.pad(waveform, (0, length - len(waveform)))


def collate_waveforms(examples: Sequence[Example]) -> dict[str, Tensor]:
    """Pad to the longest; the mask is left out where nothing was padded. Each example is asked for once."""
    values = np.zeros((len(examples), 0), dtype=np.float32)
    lengths, targets = [], []
    for row, example in enumerate(examples):
        waveform = example["waveform"]
        if len(waveform) > values.shape[1]:
            values = _widen(values, len(waveform), filled=row)
        values[row, : len(waveform)] = waveform
        values[row, len(waveform) :] = 0.0
        lengths.append(len(waveform))
        targets.append(example["target"])
    batch = {"input_values": torch.from_numpy(values), "targets": torch.from_numpy(np.stack(targets))}
    if min(lengths) < values.shape[1]:
        batch["attention_mask"] = torch.from_numpy(np.arange(values.shape[1])[None, :] < np.array(lengths)[:, None])
    return batch


def _widen(values: np.ndarray, width: int, *, filled: int) -> np.ndarray:
    """The same rows with room for ``width`` samples; only those filled so far are carried over."""
    wider = np.empty((len(values), width), dtype=np.float32)
    wider[:filled, : values.shape[1]] = values[:filled]
    wider[:filled, values.shape[1] :] = 0.0
    return wider


class EncodedClips:
    """Every clip's windows, encoded once: what the front end gave, which window is whose, and how much sound it holds.

    Args:
        features: (windows, …).
        frames: (windows,): valid frames.
        first: (clips + 1,): clip ``i`` owns windows ``first[i]`` to ``first[i + 1]``.
        weights: (windows,): samples of sound in each.
    """

    def __init__(self, encoded: Encoded, first: np.ndarray, weights: Tensor) -> None:
        self.encoded = encoded
        self.first = first
        self.weights = weights

    def windows_of(self, rows: np.ndarray) -> np.ndarray:
        """All windows of these clips."""
        return np.concatenate([np.arange(self.first[row], self.first[row + 1]) for row in rows])


class EncodedExamples(Dataset):
    """Clips as encoded windows: in training one of the clip's windows, otherwise all of them, to be averaged.

    Args:
        waveforms: The clips.
        encoded: Their windows.
        rows: Which clips.
        training: Draw one window a clip, by (seed, epoch, clip).
        seed: See ``training``.
    """

    def __init__(
        self, waveforms: ClipWaveforms, encoded: EncodedClips, rows: np.ndarray, *, training: bool, seed: int = 0
    ) -> None:
        self.encoded = encoded
        self.rows = rows
        self.training = training
        self.seed = seed
        self.epoch = 0
        self.targets = waveforms.targets()[rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> int:
        return item  # a batch is looked up at once: `collate`

    def collate(self, items: list[int]) -> dict[str, Tensor]:
        """Windows (features, frames), whose they are (owners) and how much each counts (weights); and the targets."""
        rows = self.rows[items]
        first, counts = self.encoded.first[rows], self.encoded.first[rows + 1] - self.encoded.first[rows]
        owners = np.arange(len(rows))
        if self.training:
            for place in np.flatnonzero(counts > 1):
                first[place] = self._draw_window(int(rows[place]))
            windows = torch.from_numpy(first)
        else:
            windows, owners = torch.from_numpy(self.encoded.windows_of(rows)), owners.repeat(counts)
        features, frames = self.encoded.encoded
        return {
            "features": features[windows],
            "frames": frames[windows],
            "owners": torch.from_numpy(owners),
            "weights": self.encoded.weights[windows].float(),
            "targets": torch.from_numpy(self.targets[items]),
        }

    def _draw_window(self, row: int) -> int:
        windows = self.encoded.windows_of(np.array([row]))
        return int(np.random.default_rng((self.seed, self.epoch, row)).choice(windows))


class BalancedSampler(Sampler[int]):
    """Draw as many clips as there are, every class equally often, anew each epoch."""

    def __init__(self, targets: np.ndarray, seed: int) -> None:
        share = targets.sum(0)
        self.weights = (targets / np.maximum(share, 1.0)).sum(1)
        self.weights /= self.weights.sum()
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.weights)

    def __iter__(self):
        generator = np.random.default_rng((self.seed, self.epoch))
        yield from generator.choice(len(self), size=len(self), p=self.weights).tolist()


def class_weights(targets: np.ndarray) -> Tensor:
    """(classes,): inverse to how often a class occurs, with mean one over the clips.

    Example:
        >>> class_weights(np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32))
        tensor([0.6667, 2.0000])
    """
    counts = np.maximum(targets.sum(0), 1.0)
    return torch.from_numpy((targets.sum() / (len(counts) * counts)).astype(np.float32))
