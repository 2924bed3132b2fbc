"""Backbones: any that a recipe can name runs on any front end it fits, and padding counts nowhere."""

import pytest
import torch
from huggingface_hub import constants

from earmark.errors import RecipeError
from earmark.models.backbones import Mlp, SmallCnn, TimmNetwork, build_backbone
from earmark.models.front_ends import Encoded

MLP = {"name": "mlp", "hidden": [8], "dropout": 0.1, "batch_norm": True, "activation": "relu"}
CNN = {"name": "cnn", "widths": [4, 8, 8], "dropout": 0.1}


def make_pictures(rows: int = 2, bands: int = 64, frames: int = 70) -> Encoded:
    generator = torch.Generator().manual_seed(0)
    return Encoded(torch.randn(rows, bands, frames, generator=generator), torch.full((rows,), frames))


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_mlp_shapes(activation, batch_norm):
    network = build_backbone(
        {**MLP, "hidden": [16, 8], "activation": activation, "batch_norm": batch_norm}, 40, 1, 5, over_time=False
    )
    assert isinstance(network, Mlp)
    logits = network(Encoded(torch.randn(3, 40), torch.ones(3)))
    assert logits.shape == (3, 5)
    widths = [(layer.in_features, layer.out_features) for layer in network.layers if isinstance(layer, torch.nn.Linear)]
    assert widths == [(40, 16), (16, 8), (8, 5)]
    assert any(isinstance(layer, torch.nn.BatchNorm1d) for layer in network.layers) == batch_norm


@pytest.mark.parametrize(("bands", "frames"), [(64, 70), (64, 71), (40, 1), (13, 9), (1, 1)])
def test_the_cnn_takes_any_number_of_bands_and_frames(bands, frames):
    network = build_backbone(CNN, bands, frames, 3, over_time=True).eval()
    assert isinstance(network, SmallCnn)
    logits = network(make_pictures(2, bands, frames))
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("settings", [CNN, {"name": "resnet18", "dropout": 0.0}])
def test_features_after_the_last_frame_of_sound_are_not_pooled(settings):
    # Beyond the reach of the last frames' neighbourhood nothing may matter: 40 frames of sound, noise from 640 on.
    torch.manual_seed(0)
    network = build_backbone(settings, 64, 800, 3, over_time=True).eval()
    quiet = torch.zeros(1, 64, 800)
    quiet[:, :, :40] = make_pictures(1, 64, 40).features
    noisy = quiet.clone()
    noisy[:, :, 640:] = 5.0
    with torch.inference_mode():
        torch.testing.assert_close(
            network(Encoded(noisy, torch.tensor([40]))), network(Encoded(quiet, torch.tensor([40])))
        )
        # The same noise, said to be sound, is heard.
        assert not torch.allclose(
            network(Encoded(noisy, torch.tensor([800]))), network(Encoded(quiet, torch.tensor([800])))
        )


def test_a_residual_networks_pooling_is_timms_own_where_nothing_is_padded():
    torch.manual_seed(0)
    network = TimmNetwork("resnet18", 64, 96, 4, dropout=0.0).eval()
    pictures = make_pictures(2, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(network(pictures), network.network(pictures.features.unsqueeze(1)))


# One of each kind of head: pooling alone, pooling then a wider layer, pooling then a norm, none of these, tokens.
@pytest.mark.parametrize(
    "name",
    ["resnet10t", "mobilenetv3_small_050", "ghostnet_050", "convnext_atto", "regnetx_002", "vit_tiny_patch16_224"],
)
def test_image_networks_with_any_kind_of_head_run_on_spectrograms(name):
    torch.manual_seed(0)
    network = build_backbone({"name": name, "dropout": 0.3}, 64, 96, 3, over_time=True).eval()
    pictures = make_pictures(2, 64, 96)
    with torch.inference_mode():
        logits = network(pictures)
        torch.testing.assert_close(logits, network.network(pictures.features.unsqueeze(1)), rtol=1e-4, atol=1e-5)
    assert logits.shape == (2, 3)


def test_a_vision_transformer_takes_a_window_its_patches_do_not_divide():
    network = build_backbone({"name": "vit_tiny_patch16_224", "dropout": 0.0}, 40, 70, 3, over_time=True).eval()
    with torch.inference_mode():
        assert network(make_pictures(2, 40, 70)).shape == (2, 3)


@pytest.mark.parametrize(
    ("settings", "over_time", "needed"),
    [
        (MLP, True, "a network over time such as cnn or resnet18"),
        (CNN, False, "mlp"),
        ({"name": "resnet18"}, False, "mlp"),
    ],
)
def test_a_backbone_that_does_not_fit_says_what_does(settings, over_time, needed):
    with pytest.raises(RecipeError) as caught:
        build_backbone(settings, 40, 70, 3, over_time=over_time)
    assert str(caught.value) == f"model.name = {settings['name']!r} does not fit this front end; it needs {needed}."


def test_a_misspelt_network_names_its_neighbours():
    with pytest.raises(
        RecipeError, match=r"'resnet81' is neither mlp, cnn nor a network timm knows. Did you mean .*resnet"
    ):
        build_backbone({"name": "resnet81", "dropout": 0.0}, 40, 70, 3, over_time=True)


def test_pretrained_weights_that_cannot_be_had_are_said_in_a_sentence_and_leave_the_network_as_it_was(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))  # whatever this machine has cached
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    network = TimmNetwork("resnet10t", 64, 70, 3, dropout=0.0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    said = network.load_pretrained()
    assert said == (
        "Pretrained weights of resnet10t were not loaded: the Hugging Face Hub cannot be reached and they are not "
        "cached. Training starts from random ones."
    )
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_picture_of_a_few_frames_is_never_a_single_column_before_it_is_halved():
    # The bf16 gradient of such a convolution is not a number now and then; see `earmark.models.pictures`.
    network = build_backbone({"name": "resnet10t", "dropout": 0.0}, 20, 8, 3, over_time=True)
    sides = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.stride[0] > 1:
            layer.register_forward_pre_hook(lambda _, inputs: sides.append(min(inputs[0].shape[-2:])))
    network(make_pictures(2, 20, 8))
    assert len(sides) == 4
    assert min(sides) > 1
