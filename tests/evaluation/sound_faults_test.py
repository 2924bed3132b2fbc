"""What is wrong with recordings, named with its figure."""

from dataclasses import replace

import numpy as np
import pytest

from earmark.evaluation.sound_faults import WHOLE_SET, Fault, find_sound_faults
from earmark.sound.traits import measure_traits

RATE = 44_100
SOUND = measure_traits(np.random.default_rng(0).standard_normal(RATE) / 20, RATE, codec="pcm_16")


def only(faults: list[Fault]) -> Fault:
    assert len(faults) == 1, faults
    return faults[0]


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"level_db": -140.0, "constant": True, "peak": 0.0}, "silent", "digital silence"),
        ({"level_db": -95.0}, "silent", "silent (-95 dBFS)"),
        ({"level_db": -65.0}, "nearly silent", "-65 dBFS"),
        ({"clipped_share": 0.021, "peak": 1.0}, "clipped", "2.1%"),
        ({"dc_offset": -0.05}, "dc offset", "-0.050"),
        ({"duration_s": 0.05}, "too short", "0.05 s"),
        ({"constant": True, "peak": 0.3, "dc_offset": 0.3}, "constant", "Every sample is 0.3"),
        ({"broken_samples": 12}, "not finite", "12 samples"),
        ({"bandwidth_hz": 3900.0}, "band-limited", "above 3.9 kHz"),
    ],
)
def test_each_fault_is_named_for_its_clip_alone(change: dict, kind: str, said: str) -> None:
    fault = only(find_sound_faults([SOUND, None, replace(SOUND, **change)]))
    assert (fault.kind, fault.row) == (kind, 2)
    assert said in fault.sentence


def test_a_sound_clip_has_no_fault() -> None:
    assert find_sound_faults([SOUND] * 20, [["dog"], ["rain"]] * 10) == []


def test_a_clip_far_shorter_than_the_others_is_named() -> None:
    minutes = [replace(SOUND, duration_s=60.0)] * 5
    assert only(find_sound_faults([*minutes, SOUND])).kind == "too short"


def test_telephone_quality_is_called_that() -> None:
    fault = only(find_sound_faults([replace(SOUND, bandwidth_hz=3900.0)]))
    assert "telephone quality" in fault.sentence
    assert fault.figure == 3900.0


def test_what_encoders_cut_is_one_mild_remark_for_the_set() -> None:
    cut = replace(SOUND, bandwidth_hz=16_000.0)
    fault = only(find_sound_faults([cut, SOUND, cut]))
    assert (fault.kind, fault.row, fault.mild, fault.figure) == ("encoder cut", WHOLE_SET, True, 2.0)
    assert "MP3" in fault.sentence


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"sample_rate": 48_000, "bandwidth_hz": 24_000.0}, "sample rates", "44,100 Hz (2), 48,000 Hz (1)"),
        ({"channels": 2}, "channels", "1 (2), 2 (1)"),
        ({"bit_depth": 24}, "bit depths", "16 bits (2), 24 bits (1)"),
    ],
)
def test_what_does_not_agree_within_the_set(change: dict, kind: str, said: str) -> None:
    fault = only(find_sound_faults([SOUND, SOUND, replace(SOUND, **change)]))
    assert (fault.kind, fault.row) == (kind, WHOLE_SET)
    assert said in fault.sentence


def test_small_and_unequal_classes_are_named() -> None:
    labels = [["dog"]] * 50 + [["rain", "wind"]] * 9 + [["wind"]] * 20
    few, imbalance = find_sound_faults([SOUND] * 79, labels)
    assert (few.kind, imbalance.kind) == ("few clips", "imbalance")
    assert "rain (9)" in few.sentence
    assert "wind" not in few.sentence
    assert "dog has 50 clips and rain 9" in imbalance.sentence


def test_clips_that_cannot_be_decoded_do_not_count_towards_their_class() -> None:
    traits = [SOUND] * 21 + [None]
    few = find_sound_faults(traits, [["dog"]] * 12 + [["rain"]] * 10)[0]
    assert "rain (9)" in few.sentence
