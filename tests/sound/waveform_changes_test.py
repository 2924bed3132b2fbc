"""Changes by name: as strong as asked for, as long as before, decided by the generator, refused in one sentence."""

import importlib.util
import multiprocessing
import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.errors import RecipeError
from earmark.sound.waveform_changes import CHANGES, build_changes

RATE = 32_000
OWN_PACKAGE = {"Limiter": "numpy_audio_limiter", "RoomSimulator": "pyroomacoustics"}


def make_tone(frequency_hz: float, *, rate: int = RATE, duration_s: float = 1.0) -> np.ndarray:
    times_s = np.arange(round(duration_s * rate)) / rate
    return (0.1 * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32)


def make_noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=samples).astype(np.float32)


def level_db(waveform: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(waveform.astype(np.float64) ** 2)))


def find_pitch_hz(waveform: np.ndarray, rate: int = RATE) -> float:
    return float(np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)))).argmax() * rate / len(waveform))


def change(waveform: np.ndarray, name: str, *, rate: int = RATE, seed: int = 0, **arguments: object) -> np.ndarray:
    changes = build_changes([{"name": name, "p": 1.0, **arguments}])
    return changes(waveform, rate, np.random.default_rng(seed))


@pytest.fixture
def noises(tmp_path: Path) -> Path:
    """A folder of background sound: stereo, at a rate of its own."""
    soundfile.write(tmp_path / "hall.wav", np.stack([make_noise(22_050, 5), make_noise(22_050, 6)], axis=1), 11_025)
    return tmp_path


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 25.0])
@pytest.mark.parametrize("name", ["AddGaussianSNR", "AddColorNoise"])
def test_noise_lies_as_far_below_the_sound_as_asked_for(name, snr_db):
    tone = make_tone(440.0)
    noise = change(tone, name, min_snr_db=snr_db, max_snr_db=snr_db) - tone
    assert level_db(tone) - level_db(noise) == pytest.approx(snr_db, abs=0.5)


def test_background_sound_of_any_rate_is_mixed_in_at_the_level_asked_for(noises):
    tone = make_tone(440.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed = change(tone, "AddBackgroundNoise", sounds_path=str(noises), min_snr_db=6.0, max_snr_db=6.0)
    assert level_db(tone) - level_db(mixed - tone) == pytest.approx(6.0, abs=0.1)


def test_an_impulse_as_room_leaves_the_sound_but_for_its_level(tmp_path):
    impulse = np.zeros(800, dtype=np.float32)
    impulse[0] = 1.0
    soundfile.write(tmp_path / "room.wav", impulse, RATE)
    tone = make_tone(440.0)
    heard = change(tone, "ApplyImpulseResponse", ir_path=str(tmp_path / "room.wav"))
    np.testing.assert_allclose(heard / np.abs(heard).max(), tone / np.abs(tone).max(), atol=1e-3)


def test_gain_is_exact():
    tone = make_tone(440.0)
    louder = change(tone, "Gain", min_gain_db=6.0, max_gain_db=6.0)
    np.testing.assert_allclose(louder, tone * 10 ** (6 / 20), rtol=1e-5)


def test_pitch_rises_by_an_octave_and_keeps_time():
    shifted = change(make_tone(440.0), "PitchShift", min_semitones=12.0, max_semitones=12.0)
    assert find_pitch_hz(shifted[8_000:24_000]) == pytest.approx(880.0, rel=0.01)


def test_what_gets_shorter_is_filled_up_with_silence_at_its_end():
    quicker = change(make_tone(440.0), "TimeStretch", min_rate=2.0, max_rate=2.0)
    assert find_pitch_hz(quicker[2_000:12_000]) == pytest.approx(440.0, rel=0.01)
    assert len(quicker) == RATE
    assert not quicker[20_000:].any()


def test_resampling_plays_a_clip_faster():
    faster = change(make_tone(440.0), "Resample", min_sample_rate=16_000, max_sample_rate=16_000)
    assert find_pitch_hz(faster[: RATE // 2]) == pytest.approx(880.0, rel=0.01)
    assert not faster[RATE // 2 :].any()


def test_a_low_pass_takes_what_lies_above():
    arguments = {"min_cutoff_freq": 1_000.0, "max_cutoff_freq": 1_000.0, "min_rolloff": 24, "max_rolloff": 24}
    below, above = make_tone(200.0), make_tone(8_000.0)
    assert level_db(change(below, "LowPassFilter", **arguments)) == pytest.approx(level_db(below), abs=0.5)
    assert level_db(change(above, "LowPassFilter", **arguments)) < level_db(above) - 50


def test_changes_are_made_in_their_order():
    quiet_then_clipped = [
        {"name": "Gain", "p": 1.0, "min_gain_db": -40.0, "max_gain_db": -40.0},
        {"name": "AddGaussianNoise", "p": 1.0, "min_amplitude": 0.1, "max_amplitude": 0.1},
    ]
    tone = make_tone(440.0)
    one = build_changes(quiet_then_clipped)(tone, RATE, np.random.default_rng(0))
    other = build_changes(quiet_then_clipped[::-1])(tone, RATE, np.random.default_rng(0))
    assert level_db(one) == pytest.approx(-20.0, abs=0.5)
    assert level_db(other) < -55


def test_the_probability_is_the_share_of_clips_that_are_changed():
    changes = build_changes([{"name": "PolarityInversion", "p": 0.25}])
    tone = make_tone(440.0, duration_s=0.2)
    turned = [changes(tone, RATE, np.random.default_rng((0, epoch)))[10] < 0 for epoch in range(400)]
    assert np.mean(turned) == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_keeps_length_and_sense_and_follows_the_generator(name, noises):
    if name in OWN_PACKAGE:
        pytest.importorskip(OWN_PACKAGE[name])
    arguments = {"AddBackgroundNoise": {"sounds_path": str(noises)}, "ApplyImpulseResponse": {"ir_path": str(noises)}}
    changes = build_changes([{"name": name, "p": 1.0, **arguments.get(name, {})}])
    differs = False
    for rate in (8_000, 44_100):
        for clip in (make_noise(rate), 30 * make_noise(rate), np.zeros(rate, np.float32), make_noise(100), np.ones(1)):
            clip = clip.astype(np.float32)
            clip.flags.writeable = False
            changed = changes(clip, rate, np.random.default_rng((1, 2, 3)))
            assert changed.shape == clip.shape
            assert changed.dtype == np.float32
            assert np.isfinite(changed).all()
            again = changes(clip, rate, np.random.default_rng((1, 2, 3)))
            assert changed.tobytes() == again.tobytes()
            others = (changes(clip, rate, np.random.default_rng((1, epoch, 3))) for epoch in (3, 4, 5))
            differs |= any(not np.array_equal(changed, other) for other in others)
    assert differs or name in ("ApplyImpulseResponse", "PolarityInversion", "Reverse"), "these have nothing to draw"
    assert len(changes(np.zeros(0, np.float32), RATE, np.random.default_rng(0))) == 0


def test_seed_epoch_and_clip_decide_and_the_global_generators_stay_as_they_were():
    changes = build_changes([{"name": "AddGaussianSNR", "p": 1.0}, {"name": "Shift", "p": 0.5}])
    tone = make_tone(440.0)
    random.seed(11)
    np.random.seed(11)
    expected = random.random(), np.random.random()
    random.seed(11)
    np.random.seed(11)
    first = changes(tone, RATE, np.random.default_rng((0, 1, 2)))
    assert (random.random(), np.random.random()) == expected
    assert first.tobytes() == changes(tone, RATE, np.random.default_rng((0, 1, 2))).tobytes()
    for place in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert first.tobytes() != changes(tone, RATE, np.random.default_rng(place)).tobytes()


def test_one_number_is_drawn_whatever_the_changes_are():
    ends = []
    for tables in ([], [{"name": "Gain"}], [{"name": "AddColorNoise", "p": 1.0}, {"name": "PitchShift"}]):
        generator = np.random.default_rng(4)
        build_changes(tables)(make_tone(440.0, duration_s=0.2), RATE, generator)
        ends.append(generator.random())
    assert len(set(ends)) == 1


def test_threads_do_not_disturb_each_other():
    changes = build_changes([{"name": "AddGaussianNoise", "p": 1.0}, {"name": "TimeMask", "p": 0.5}])
    tone = make_tone(440.0, duration_s=0.2)

    def make(clip: int) -> bytes:
        return changes(tone, RATE, np.random.default_rng(clip)).tobytes()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(make, range(64))) == [make(clip) for clip in range(64)]


def test_a_spawned_worker_makes_the_same_changes():
    changes = build_changes([{"name": "AddGaussianSNR", "p": 1.0}, {"name": "PitchShift", "p": 1.0}])
    arguments = make_tone(440.0, duration_s=0.3), RATE, np.random.default_rng(9)
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        there = workers.apply(changes, arguments)
    assert there.tobytes() == changes(arguments[0], RATE, np.random.default_rng(9)).tobytes()


def test_a_change_whose_result_is_not_finite_is_left_out():
    deafening = [{"name": "Gain", "p": 1.0, "min_gain_db": 4_000.0, "max_gain_db": 4_000.0}]
    tone = make_tone(440.0)
    assert np.array_equal(build_changes(deafening)(tone, RATE, np.random.default_rng(0)), tone)


def test_the_library_is_loaded_when_a_change_is_built_and_not_before():
    script = (
        "import sys; import earmark.sound.waveform_changes; "
        "sys.exit(bool({'audiomentations', 'librosa', 'scipy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"name": "AddGausianSNR"}, "There is no waveform change 'AddGausianSNR'. Did you mean AddGaussianSNR?"),
        ({"name": "pitchshift"}, "There is no waveform change 'pitchshift'. Did you mean PitchShift?"),
        ({"name": "audiomentations.Gain"}, "There is no waveform change 'audiomentations.Gain'. Did you mean Gain?"),
        ({"name": "Lambda"}, "There is no waveform change 'Lambda'. There are: AddBackgroundNoise, AddColorNoise,"),
        ({"p": 0.5}, "augment.waveform holds {'p': 0.5}, which names no change; write a table such as"),
        ("Gain", "augment.waveform holds 'Gain', which names no change"),
        (
            {"name": "Gain", "min_gain": 1},
            "'min_gain'. Did you mean min_gain_db? It takes min_gain_db, max_gain_db, p.",
        ),
        ({"name": "Mp3Compression", "backend": "pydub"}, "Mp3Compression has no argument 'backend'."),
        ({"name": "Gain", "p": 2}, "Gain cannot be made with p = 2: it wants 0 <= p <= 1."),
        (
            {"name": "AddGaussianSNR", "min_snr_db": 30, "max_snr_db": 10},
            "with min_snr_db = 30, max_snr_db = 10: min_snr_db must not be greater than max_snr_db.",
        ),
        ({"name": "TimeStretch", "min_rate": "slow"}, "TimeStretch cannot be made with min_rate = 'slow': "),
        ({"name": "BitCrush", "max_bit_depth": 9.5}, "BitCrush cannot be made on a clip at 32000 Hz ("),
        ({"name": "AddBackgroundNoise"}, 'needs sounds_path: a folder of sounds, such as sounds_path = "noises".'),
        ({"name": "ApplyImpulseResponse", "ir_path": "no such"}, "there is no sound in ir_path = 'no such'; name a"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_reason(table, sentence):
    with pytest.raises(RecipeError) as refusal:
        build_changes([table])
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_background_that_is_no_sound_is_refused_by_name(tmp_path):
    (tmp_path / "noise.wav").write_text("not a sound")
    with pytest.raises(RecipeError, match=r"AddBackgroundNoise cannot be made on a clip at 32000 Hz \(.*noise\.wav: "):
        build_changes([{"name": "AddBackgroundNoise", "sounds_path": str(tmp_path)}])


@pytest.mark.parametrize(
    ("missing", "name", "remedy"),
    [
        ("audiomentations", "Gain", 'pip install "earmark[augment]"'),
        ("fast_mp3_augment", "Mp3Compression", "pip install fast-mp3-augment"),
        ("pyroomacoustics", "RoomSimulator", "pip install pyroomacoustics"),
    ],
)
def test_a_missing_package_is_named_with_the_way_to_get_it(missing, name, remedy, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == missing else find(module))
    with pytest.raises(RecipeError, match=f"The waveform change {name} needs") as refusal:
        build_changes([{"name": name}])
    assert remedy in str(refusal.value)
