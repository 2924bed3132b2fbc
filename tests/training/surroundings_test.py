"""What a training sets in its process, that it changes no figure, and that all is put back."""

import os
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from earmark.models.backbones import TimmNetwork
from earmark.training import choices, surroundings
from earmark.training.choices import LONGEST_IN_FLOAT32, attends_in_float32
from earmark.training.recipe import Recipe, load_recipe
from earmark.training.surroundings import AttentionInFloat32, prepare_process


@pytest.fixture
def computes_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "choose_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)


def attend(positions: int, **settings: object) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, positions, 8, generator=generator).bfloat16()
    return F.scaled_dot_product_attention(query, key, value, **settings)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_that_of_float32_rounded_once(masked: bool):
    mask = torch.randn(9, 9).bfloat16() if masked else None
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 9, 8, generator=generator).bfloat16().float()
    exact = F.scaled_dot_product_attention(query, key, value, attn_mask=None if mask is None else mask.float())
    with AttentionInFloat32(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(attend(9, attn_mask=mask), exact.bfloat16())


def test_long_attention_is_left_as_it_is():
    plain = attend(LONGEST_IN_FLOAT32 + 1)
    with AttentionInFloat32():
        assert torch.equal(attend(LONGEST_IN_FLOAT32 + 1), plain)


@pytest.mark.usefixtures("computes_in_bf16")
def test_only_networks_that_attend_and_compute_in_bf16_are_asked_for_it():
    vit = TimmNetwork("vit_tiny_patch16_224", 64, 50, 3, dropout=0.0, picture="repeated", size_px=32)
    assert attends_in_float32(load_recipe("vit"), vit)
    assert not attends_in_float32(load_recipe("vit", ["train.precision=fp32"]), vit)
    assert not attends_in_float32(load_recipe("cnn"), nn.Conv2d(1, 1, 3))


@pytest.mark.usefixtures("computes_in_bf16")
def test_gradients_reach_the_network_through_it(tiny_cnn: Recipe):
    network = nn.MultiheadAttention(8, 2, batch_first=True)
    with prepare_process(tiny_cnn, network, encoded=False), torch.autocast("cpu", dtype=torch.bfloat16):
        rows = torch.ones(2, 5, 8)
        network(rows, rows, rows, need_weights=False)[0].float().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_goes_back_after_a_training(tiny_cnn: Recipe):
    def count_resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if surroundings._find_library() is None:
        pytest.skip("the C library is not GNU's")
    before = count_resident()
    with prepare_process(tiny_cnn, nn.Linear(1, 1), encoded=False):
        held = torch.ones(64 << 20, dtype=torch.uint8)
        del held
        assert count_resident() - before > 48 << 20  # kept for the next step
    assert count_resident() - before < 16 << 20
