"""Backbones: standardised features -> logits. An MLP, our small CNN, and any timm image network by name."""

from typing import Any

import torch
from torch import Tensor, nn

from earmark.errors import RecipeError
from earmark.models.front_ends import Encoded, mark_frames
from earmark.models.pictures import MelPicture, build_picture
from earmark.reach import offline_if_unreachable

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}
OUTPUT_ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


class Mlp(nn.Module):
    """Fully connected layers over a summary of the clip, (rows, size) -> (rows, classes).

    Args:
        size: Number of features.
        classes: Number of classes.
        hidden: Width of each hidden layer.
        dropout: Share of hidden units left out in training, 0 to 1.
        batch_norm: Normalise each hidden layer over the batch.
        activation: ``"relu"``, ``"gelu"`` or ``"silu"``.
        output_activation: ``"none"``; ``"sigmoid"`` or ``"tanh"`` bound the logits, which the softmax then cannot tell
            far apart: a slip of much-read tutorials, kept to be measured.
    """

    over_time = False

    def __init__(
        self,
        size: int,
        classes: int,
        *,
        hidden: list[int],
        dropout: float,
        batch_norm: bool,
        activation: str,
        output_activation: str = "none",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers.append(nn.Linear(size, width))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers += [ACTIVATIONS[activation](), nn.Dropout(dropout)]
            size = width
        layers.append(nn.Linear(size, classes))
        if output_activation != "none":
            layers.append(OUTPUT_ACTIVATIONS[output_activation]())
        self.layers = nn.Sequential(*layers)

    def forward(self, encoded: Encoded) -> Tensor:
        return self.layers(encoded.features)


def _convolve(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU()
    )


class SmallCnn(nn.Module):
    """A 3x3 convolution, then blocks of two, a 2x2 mean pool before each; mean and maximum over time, band by band.

    One convolution alone works at full resolution: a second one there would cost as much as two whole blocks. The
    frequency axis is flattened, not averaged: which band a pattern lies in tells sounds apart. Frames of padding count
    in neither the mean nor the maximum.

    Args:
        n_mels: Number of mel bands.
        classes: Number of classes.
        widths: Channels of the first convolution and of each block.
        dropout: Share of pooled features left out in training, 0 to 1.

    Source:
        Blocks as in Kong et al., "PANNs" (2020), CNN10, made narrow; pooling by band after Koutini et al. (2019).
    """

    over_time = True

    def __init__(self, n_mels: int, classes: int, *, widths: list[int], dropout: float) -> None:
        super().__init__()
        self.stem = _convolve(1, widths[0])
        blocks: list[nn.Module] = []
        channels, bands = widths[0], n_mels
        for width in widths[1:]:
            blocks.append(nn.Sequential(_convolve(channels, width), _convolve(width, width)))
            channels, bands = width, -(-bands // 2)
        self.blocks = nn.ModuleList(blocks)
        self.pool = nn.AvgPool2d(2, ceil_mode=True)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(2 * channels * bands, classes)

    def forward(self, encoded: Encoded) -> Tensor:
        return self.classify_map(self.map_features(self.picture(encoded), encoded.frames))

    def picture(self, encoded: Encoded) -> Tensor:
        """What the convolutions see: (rows, 1, n_mels, frames)."""
        return encoded.features.unsqueeze(1)

    def map_features(self, picture: Tensor, frames: Tensor) -> Encoded:
        """The last feature map, (rows, channels, bands, columns), and how many of each row's columns are sound."""
        x = self.stem(picture.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(self.pool(x))
            frames = torch.div(frames + 1, 2, rounding_mode="floor")
        return Encoded(x, frames)

    def classify_map(self, encoded: Encoded) -> Tensor:
        """A feature map of `map_features` -> logits (rows, classes)."""
        x = encoded.features.flatten(1, 2)  # (rows, channels * bands, columns)
        valid = mark_frames(encoded.frames, x.shape[-1]).unsqueeze(1)
        mean = (x * valid).sum(-1) / valid.sum(-1)
        loudest = x.masked_fill(~valid, -torch.inf).amax(-1)
        return self.classify(self.dropout(torch.cat([mean, loudest], dim=1)))


class TimmNetwork(nn.Module):
    """Any timm image network on a picture of the spectrogram.

    Where the network ends in a feature map and the picture is the spectrogram itself, frames of padding are left out
    of the pooling.

    Args:
        name: A name timm knows, such as ``resnet18`` or ``vit_tiny_patch16_224``.
        n_mels: Mel bands.
        frames: Frames of a window.
        classes: Number of classes.
        dropout: Share of pooled features left out in training, 0 to 1.
        picture: ``"mel"``, ``"repeated"`` or ``"coloured"``; see `earmark.models.pictures`.
        size_px: Side of the square of the latter two, pixels.
    """

    over_time = True

    def __init__(
        self,
        name: str,
        n_mels: int,
        frames: int,
        classes: int,
        *,
        dropout: float,
        picture: str = "mel",
        size_px: int = 224,
    ) -> None:
        super().__init__()
        self.name = name
        self.picture = build_picture(picture, size_px, n_mels, frames)
        self.settings: dict[str, Any] = {"in_chans": self.picture.channels, "num_classes": classes}
        # Transformers of pictures are built for one size; it must divide into their patches.
        as_it_is = isinstance(self.picture, MelPicture)
        size = self.picture.fill_patches() if isinstance(self.picture, MelPicture) else (size_px, size_px)
        try:
            self.network = _create_timm(name, pretrained=False, img_size=size, drop_rate=dropout, **self.settings)
            self.settings["img_size"] = size
        except TypeError:  # convolutions take any size, and timm does not let them be told one
            self.picture = build_picture(picture, size_px, n_mels, frames)
            self.network = _create_timm(name, pretrained=False, drop_rate=dropout, **self.settings)
        # Only where pooling leads straight to the classifier can padding be left out of it; other heads normalise or
        # widen on the way.
        self.pools_apart = as_it_is and isinstance(getattr(self.network, "global_pool", None), nn.Module)
        self.dropout = nn.Dropout(dropout)

    def forward(self, encoded: Encoded) -> Tensor:
        return self.classify_map(self.map_features(self.picture(encoded), encoded.frames))

    def map_features(self, picture: Tensor, frames: Tensor) -> Encoded:
        """What the network ends in, and of a feature map how many of each row's columns are sound."""
        features: Any = self.network.forward_features(picture.contiguous(memory_format=torch.channels_last))
        if features.ndim != 4:
            return Encoded(features, frames)
        width = features.shape[-1]
        return Encoded(features, torch.ceil(frames / (picture.shape[-1] / width)).long().clamp(1, width))

    def classify_map(self, encoded: Encoded) -> Tensor:
        """What `map_features` gives -> logits (rows, classes)."""
        features = encoded.features
        classify = self.network.get_classifier()
        flat = features.ndim != 4 or getattr(classify, "in_features", None) != features.shape[1]
        if flat or not self.pools_apart:
            return self.network.forward_head(features)
        valid = mark_frames(encoded.frames, features.shape[-1])[:, None, None, :]
        pooled = (features * valid).sum((-2, -1)) / (valid.sum((-2, -1)) * features.shape[-2])
        return classify(self.dropout(pooled))

    def load_pretrained(self) -> str | None:
        """Take timm's pretrained weights for all but the classifier; return why not, if they cannot be had.

        The first convolution's three colour channels are summed to the one a spectrogram has.
        """
        with offline_if_unreachable() as reachable:
            try:
                donor = _create_timm(self.name, pretrained=True, **self.settings)
            except Exception as error:  # the Hub's client raises many kinds: no such weights, broken transfer, no disk
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                reason = reason if reachable else "the Hugging Face Hub cannot be reached and they are not cached"
                return f"Pretrained weights of {self.name} were not loaded: {reason}. Training starts from random ones."
        self.network.load_state_dict(donor.state_dict())
        return None


def _create_timm(name: str, **settings: Any) -> Any:
    import timm

    return timm.create_model(name, **settings)


def build_backbone(settings: dict[str, Any], size: int, frames: int, classes: int, *, over_time: bool) -> nn.Module:
    """A backbone from ``{"name": "cnn", …}``: ``mlp``, ``cnn``, or the name of a timm network.

    Args:
        settings: The ``[model]`` section of a recipe.
        size: Features (or mel bands) the front end gives.
        frames: Frames of a window, where the front end keeps the time axis.
        classes: Number of classes.
        over_time: Whether the front end keeps the time axis.

    Raises:
        RecipeError: an unknown name, or a backbone that does not fit the front end.
    """
    name = settings["name"]
    if (name == "mlp") == over_time:
        fitting = "a network over time such as cnn or resnet18" if over_time else "mlp"
        raise RecipeError(f"model.name = {name!r} does not fit this front end; it needs {fitting}.")
    if name == "mlp":
        return Mlp(
            size,
            classes,
            hidden=settings["hidden"],
            dropout=settings["dropout"],
            batch_norm=settings["batch_norm"],
            activation=settings["activation"],
            output_activation=settings.get("output_activation", "none"),
        )
    if name == "cnn":
        return SmallCnn(size, classes, widths=settings["widths"], dropout=settings["dropout"])
    _check_timm_name(name)
    return TimmNetwork(
        name,
        size,
        frames,
        classes,
        dropout=settings["dropout"],
        picture=settings.get("picture", "mel"),
        size_px=settings.get("size_px", 224),
    )


def _check_timm_name(name: str) -> None:
    import difflib

    import timm

    known = timm.list_models()
    if name.split(".")[0] not in known:
        near = difflib.get_close_matches(name, ["mlp", "cnn", *known], n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise RecipeError(f"model.name = {name!r} is neither mlp, cnn nor a network timm knows.{hint}")
