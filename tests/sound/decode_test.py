"""Every format, every part, every broken file: what `decode`, `stream` and `probe` give, to the sample."""

import io
import math
import os
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from earmark.errors import SoundError
from earmark.sound.channels import mix_to_mono
from earmark.sound.decode import AUDIO_SUFFIXES, SoundInfo, SoundWarning, decode, decode_channels, probe, stream

TONE_HZ = 440.0
LEVEL = 0.5
DURATION_S = 1.5

# suffix, soundfile format, subtype, rate, codec that probe names
SOUNDFILE_FORMATS = [
    (".wav", "WAV", "PCM_U8", 16_000, "pcm_u8"),
    (".wav", "WAV", "PCM_16", 44_100, "pcm_16"),
    (".wav", "WAV", "PCM_24", 44_100, "pcm_24"),
    (".wav", "WAV", "PCM_32", 48_000, "pcm_32"),
    (".wav", "WAV", "FLOAT", 44_100, "float"),
    (".wav", "WAV", "DOUBLE", 22_050, "double"),
    (".wav", "WAV", "ALAW", 8_000, "alaw"),
    (".wav", "WAV", "ULAW", 8_000, "ulaw"),
    (".wav", "WAV", "MS_ADPCM", 22_050, "ms_adpcm"),
    (".wav", "WAV", "IMA_ADPCM", 22_050, "ima_adpcm"),
    (".wav", "WAVEX", "PCM_16", 44_100, "pcm_16"),
    (".w64", "W64", "PCM_16", 44_100, "pcm_16"),
    (".flac", "FLAC", "PCM_16", 44_100, "flac"),
    (".flac", "FLAC", "PCM_24", 96_000, "flac"),
    (".ogg", "OGG", "VORBIS", 44_100, "vorbis"),
    (".opus", "OGG", "OPUS", 48_000, "opus"),
    (".mp3", "MP3", "MPEG_LAYER_III", 44_100, "mp3"),
    (".aiff", "AIFF", "PCM_16", 44_100, "pcm_16"),
    (".au", "AU", "ULAW", 8_000, "ulaw"),
    (".caf", "CAF", "PCM_16", 44_100, "pcm_16"),
]

# name, codec, rate, with a picture, options of the muxer, codec and container that probe names
AV_FORMATS = [
    ("a.m4a", "aac", 44_100, False, {}, "aac", "m4a"),
    ("index-first.m4a", "aac", 44_100, False, {"movflags": "faststart"}, "aac", "m4a"),
    ("lossless.m4a", "alac", 44_100, False, {}, "alac", "m4a"),
    ("a.aac", "aac", 44_100, False, {}, "aac", "aac"),
    ("a.webm", "libopus", 48_000, False, {}, "opus", "webm"),
    ("recorder.webm", "libopus", 48_000, False, {"live": "1"}, "opus", "webm"),
    ("recorder.mp4", "libopus", 48_000, False, {"movflags": "frag_keyframe+empty_moov"}, "opus", "mp4"),
    ("video.mp4", "aac", 44_100, True, {}, "aac", "mp4"),
    ("video.mov", "aac", 44_100, True, {}, "aac", "mov"),
    ("video.mkv", "libopus", 48_000, True, {}, "opus", "mkv"),
    ("pcm.mkv", "pcm_s16le", 44_100, False, {}, "pcm_16", "mkv"),
    ("video.avi", "mp2", 44_100, True, {}, "mp2", "avi"),
]


def tone(rate: int, duration_s: float = DURATION_S, frequency_hz: float = TONE_HZ, level: float = LEVEL) -> np.ndarray:
    times_s = np.arange(round(duration_s * rate)) / rate
    return (level * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32)


def noise(rate: int, duration_s: float, seed: int = 0) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(round(duration_s * rate))).astype(np.float32)


def level_of(waveform: np.ndarray, rate: int, frequency_hz: float = TONE_HZ) -> float:
    """Amplitude of one frequency, away from the edges."""
    edge = len(waveform) // 8
    times_s = np.arange(len(waveform)) / rate
    window = np.hanning(len(waveform) - 2 * edge)
    wave = waveform * np.exp(-2j * np.pi * frequency_hz * times_s)
    return float(2 * abs(np.sum(wave[edge : edge + len(window)] * window)) / window.sum())


def encode(
    path: Path,
    waveform: np.ndarray,
    rate: int,
    codec: str,
    *,
    picture: bool = False,
    sound: bool = True,
    options: dict[str, str] | None = None,
) -> Path:
    """Write (samples,) or (channels, samples) with FFmpeg, in frames of 960 samples as a recorder would."""
    channels = np.atleast_2d(waveform)
    layout = "mono" if len(channels) == 1 else "stereo"
    with av.open(str(path), "w", options=options or {}) as container:
        if picture:
            video = container.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        if sound:
            audio = container.add_stream(codec, rate=rate, layout=layout)
        if picture:
            for index in range(20):
                image = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
                image.pts = index
                container.mux(video.encode(image))
            container.mux(video.encode(None))
        if sound:
            resampler = av.AudioResampler(
                audio.codec_context.format, layout, rate, audio.codec_context.frame_size or 960
            )
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return path


def as_bytes(waveform: np.ndarray, rate: int, kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, format=kind, subtype=subtype)
    return file.getvalue()


class Pipe(io.RawIOBase):
    """A file object that cannot seek."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer) -> int:
        return self._file.readinto(buffer)


def wave_file(path: Path) -> Path:
    soundfile.write(path, tone(16_000), 16_000)
    return path


# --- every format -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "kind", "subtype", "rate", "codec"), SOUNDFILE_FORMATS)
def test_libsndfile_formats_give_the_tone_back(tmp_path, suffix, kind, subtype, rate, codec):
    path = tmp_path / f"tone{suffix}"
    soundfile.write(path, tone(rate), rate, format=kind, subtype=subtype)
    waveform, decoded_rate = decode(path)
    assert decoded_rate == rate
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    # IMA ADPCM is stored in whole blocks, and its header does not say how much of the last one is sound.
    assert len(waveform) == round(DURATION_S * rate) or (subtype == "IMA_ADPCM" and len(waveform) - 33_075 < 2048)
    assert level_of(waveform, rate) == pytest.approx(LEVEL, rel=0.02)
    info = probe(path)
    assert info.codec == codec
    assert info.channels == 1
    assert info.sample_rate == rate
    assert round(info.duration_s * rate) == len(waveform)


@pytest.mark.parametrize(("name", "encoder", "rate", "picture", "options", "codec", "container"), AV_FORMATS)
def test_ffmpeg_formats_give_the_tone_back(tmp_path, name, encoder, rate, picture, options, codec, container):
    path = encode(tmp_path / name, tone(rate), rate, encoder, picture=picture, options=options)
    waveform, decoded_rate = decode(path)
    assert decoded_rate == rate
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert level_of(waveform, rate) == pytest.approx(LEVEL, rel=0.02)
    # A stream without a container's index (AAC) keeps the encoder's delay; AVI does not state MP3's.
    exact = path.suffix in (".m4a", ".mov") or name in ("video.mp4", "pcm.mkv")
    assert abs(len(waveform) - DURATION_S * rate) <= (0 if exact else 3 * 1152)
    info = probe(path)
    assert (info.codec, info.container, info.sample_rate, info.channels) == (codec, container, rate, 1)
    assert info.duration_s == pytest.approx(len(waveform) / rate, abs=0.07)


def test_lossless_formats_are_exact(tmp_path):
    samples = np.round(noise(44_100, 0.5).clip(-1, 1) * 32_767).astype(np.int16)
    expected = samples.astype(np.float32) / 32_768
    for kind in ("WAV", "FLAC", "AIFF", "CAF", "W64"):
        assert np.array_equal(decode(as_bytes(samples, 44_100, kind, "PCM_16"))[0], expected), kind
    path = encode(tmp_path / "a.mkv", expected, 44_100, "pcm_s16le")
    assert np.abs(decode(path)[0] - expected).max() <= 1 / 32_768


def test_every_written_suffix_is_announced():
    written = {suffix for suffix, *_ in SOUNDFILE_FORMATS} | {Path(name).suffix for name, *_ in AV_FORMATS}
    assert written <= AUDIO_SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in AUDIO_SUFFIXES)


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_channels_are_mixed_by_their_mean(channels):
    stored = np.stack([noise(8_000, 0.5, seed) for seed in range(channels)], axis=1)
    waveform, _ = decode(as_bytes(stored, 8_000, subtype="FLOAT"))
    assert np.allclose(waveform, stored.mean(axis=1), atol=1e-7)


def test_stereo_through_ffmpeg_is_mixed_by_its_mean(tmp_path):
    left, right = tone(48_000), tone(48_000, frequency_hz=1_000)
    path = encode(tmp_path / "a.m4a", np.stack([left, right]), 48_000, "aac")
    waveform, rate = decode(path)
    assert level_of(waveform, rate) == pytest.approx(LEVEL / 2, rel=0.02)
    assert level_of(waveform, rate, 1_000) == pytest.approx(LEVEL / 2, rel=0.02)
    assert probe(path).channels == 2


def test_mp3_without_a_length_tag_is_read_to_its_end():
    whole = as_bytes(np.concatenate([np.zeros(40_000, np.float32), noise(44_100, 3.0)]), 44_100, "MP3")
    untagged = whole[whole.index(b"\xff\xfb", 4) :]
    waveform, rate = decode(untagged)
    assert len(waveform) / rate == pytest.approx(3.9, abs=0.1)
    assert probe(untagged).duration_s == pytest.approx(3.9, abs=0.1)


def test_tags_behind_an_mp3_are_no_sound():
    tagged = as_bytes(tone(44_100), 44_100, "MP3")
    untagged = tagged[tagged.index(b"\xff\xfb", 4) :]
    for content in (tagged, untagged):
        assert len(decode(content + b"TAG" + b"title" * 25)[0]) == len(decode(content)[0])
        # FFmpeg finds the padding's beginning by the last packet, and keeps it where something else comes last.
        assert len(decode(content + bytes(500))[0]) - len(decode(content)[0]) < 1152


def test_flac_without_a_length_is_read_to_its_end():
    stored = bytearray(as_bytes(tone(44_100), 44_100, "FLAC"))
    stored[21] &= 0xF0
    stored[22:26] = bytes(4)
    assert np.array_equal(decode(bytes(stored))[0], decode(as_bytes(tone(44_100), 44_100, "FLAC"))[0])


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_FFFF])
def test_wav_recorded_into_a_pipe_is_whole(size):
    stored = bytearray(as_bytes(tone(16_000), 16_000, subtype="PCM_16"))
    stored[40:44] = size.to_bytes(4, "little")
    waveform, _ = decode(bytes(stored))
    assert np.array_equal(waveform, decode(as_bytes(tone(16_000), 16_000, subtype="PCM_16"))[0])


def test_the_content_counts_and_not_the_suffix(tmp_path):
    for name in ("a.mp3", "a.raw", "a.vox", "no suffix", "a.txt"):
        (tmp_path / name).write_bytes(as_bytes(tone(16_000), 16_000))
        assert len(decode(tmp_path / name)[0]) == 24_000


# --- every kind of source ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.wav", "a.ogg", "a.mp3", "a.m4a"])
def test_path_bytes_and_file_objects_agree_bit_for_bit(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".m4a":
        encode(path, tone(44_100), 44_100, "aac")
    else:
        soundfile.write(path, tone(44_100), 44_100)
    expected, rate = decode(path, sample_rate=16_000)
    content = path.read_bytes()
    ahead = io.BytesIO(b"eleven byte" + content)
    ahead.seek(11)
    with path.open("rb") as file:
        for source in (str(path), content, io.BytesIO(content), file, ahead, Pipe(content)):
            waveform, source_rate = decode(source, sample_rate=16_000)
            assert source_rate == rate == 16_000
            assert np.array_equal(waveform, expected), type(source)
    assert probe(content) == probe(Pipe(content)) == probe(path)
    streamed = np.concatenate(list(stream(path)))
    for source in (content, Pipe(content)):
        assert np.array_equal(np.concatenate(list(stream(source))), streamed)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a matter of POSIX")
def test_named_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = as_bytes(tone(16_000), 16_000)
    program = f"import sys; open({str(pipe)!r}, 'wb').write(sys.stdin.buffer.read())"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        writer.stdin.write(content)
        writer.stdin.close()
        assert np.array_equal(decode(pipe)[0], decode(content)[0])


@pytest.mark.parametrize("name", ["with space.wav", "犬の声.wav", "🐕.wav", "file:a.wav", "a%20b.wav", "-x.wav"])
def test_any_file_name(tmp_path, name):
    assert len(decode(wave_file(tmp_path / name))[0]) == 24_000
    video = encode(tmp_path / "v.mp4", tone(44_100), 44_100, "aac").rename((tmp_path / name).with_suffix(".mp4"))
    assert len(decode(video)[0]) == round(DURATION_S * 44_100)


def test_text_file_object_and_wrong_types_are_named(tmp_path):
    with pytest.raises(SoundError, match="open it in binary mode"):
        decode(io.StringIO("RIFF"))
    with pytest.raises(TypeError, match="not int"):
        decode(3)
    with pytest.raises(ValueError, match="at least 1 Hz"):
        decode(b"", sample_rate=0)
    with pytest.raises(ValueError, match="more than 0 seconds"):
        list(stream(b"", block_s=0.0))


# --- parts and blocks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_24"), ("WAV", "MS_ADPCM"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)],
)
def test_part_is_a_slice_of_the_whole(kind, subtype, rate, capfd):
    content = as_bytes(noise(rate, 5.0), rate, kind, subtype)
    whole, _ = decode(content)
    for start_s in (0.0, 0.3, 1.1, 2.5, 4.0, 4.6, 4.8, 4.95):
        start = round(start_s * rate)
        for duration_s in (0.04, 0.7, None):
            part, _ = decode(content, start_s=start_s, duration_s=duration_s)
            expected = whole[start : None if duration_s is None else start + round(duration_s * rate)]
            assert len(part) == len(expected)
            # FFmpeg decodes the parts of an MP3, and rounds otherwise than libmpg123.
            assert np.abs(part - expected).max() < (1e-5 if kind == "MP3" else 1e-6)
    assert capfd.readouterr() == ("", "")


def test_part_late_in_a_long_vorbis_file():
    content = as_bytes(noise(16_000, 100.0), 16_000, "OGG", "VORBIS")
    whole, _ = decode(content)
    for start_s in (1.0, 30.0, 36.0, 60.0, 99.0, 99.9):
        part, _ = decode(content, start_s=start_s, duration_s=5.0)
        start = round(start_s * 16_000)
        assert np.array_equal(part, whole[start : start + 80_000])


def test_part_through_ffmpeg_is_a_slice_of_the_whole(tmp_path):
    path = encode(tmp_path / "a.webm", noise(48_000, 2.0), 48_000, "libopus")
    whole, rate = decode(path)
    for start_s, duration_s in ((0.0, 0.5), (0.73, 0.5), (1.9, 9.0)):
        part, _ = decode(path, start_s=start_s, duration_s=duration_s)
        start = round(start_s * rate)
        assert np.array_equal(part, whole[start : start + round(duration_s * rate)])


@pytest.mark.parametrize(
    ("stored_hz", "wanted_hz"),
    [(44_100, 16_000), (44_100, 32_000), (48_000, 16_000), (96_000, 8_000), (8_000, 48_000), (32_000, 44_100)],
)
def test_resampled_part_is_a_slice_of_the_resampled_whole(stored_hz, wanted_hz):
    content = as_bytes(noise(stored_hz, 4.0), stored_hz, subtype="FLOAT")
    whole, _ = decode(content, sample_rate=wanted_hz)
    assert abs(len(whole) - 4 * wanted_hz) <= 1
    for start_s, duration_s in ((0.0, 1.0), (0.01, 0.3), (1.2345, 1.0), (3.5, 5.0)):
        part, rate = decode(content, sample_rate=wanted_hz, start_s=start_s, duration_s=duration_s)
        begin = round(start_s * wanted_hz)
        expected = whole[begin : begin + round(duration_s * wanted_hz)]
        assert rate == wanted_hz
        assert len(part) == len(expected)
        assert np.abs(part - expected).max() < 1e-5


@pytest.mark.parametrize("block_s", [0.1, 0.7, 10.0])
@pytest.mark.parametrize("sample_rate", [None, 16_000, 48_000])
def test_stream_equals_decode(tmp_path, block_s, sample_rate, capfd):
    sounds = [as_bytes(noise(44_100, 8.0), 44_100, kind) for kind in ("WAV", "OGG", "MP3")]
    sounds.append(as_bytes(noise(16_000, 18.0), 16_000, "MP3"))
    m4a = encode(tmp_path / "a.m4a", noise(44_100, 2.0), 44_100, "aac").read_bytes()
    for content in [*sounds, m4a]:
        whole, rate = decode(content, sample_rate=sample_rate)
        blocks = list(stream(content, sample_rate=sample_rate, block_s=block_s))
        assert {len(block) for block in blocks[:-1]} <= {round(block_s * rate)}
        assert 0 < len(blocks[-1]) <= round(block_s * rate)
        assert all(block.dtype == np.float32 for block in blocks)
        streamed = np.concatenate(blocks)
        assert len(streamed) == len(whole)
        assert np.abs(streamed - whole).max() < 1e-5
    assert capfd.readouterr() == ("", "")


def test_stream_needs_memory_for_a_block_and_not_for_the_file(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros((40 * 44_100 * 10, 1), np.float32), 44_100, subtype="PCM_16")
    tracemalloc.start()
    count = sum(len(block) for block in stream(path, sample_rate=16_000, block_s=5.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400 * 16_000
    assert peak < 12e6  # the whole is 70 MB of float32


# --- resampling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted_hz", [8_000, 16_000, 22_050, 32_000, 48_000])
def test_resampling_keeps_level_and_length(wanted_hz):
    waveform, rate = decode(as_bytes(tone(44_100), 44_100, subtype="FLOAT"), sample_rate=wanted_hz)
    assert rate == wanted_hz
    assert abs(len(waveform) - DURATION_S * wanted_hz) <= 1
    assert level_of(waveform, rate) == pytest.approx(LEVEL, rel=1e-4)


def test_what_the_new_rate_cannot_hold_does_not_come_back_as_an_alias():
    content = as_bytes(tone(44_100, frequency_hz=15_000.0), 44_100, subtype="FLOAT")
    waveform, _ = decode(content, sample_rate=16_000)
    middle = waveform[2_000:-2_000]
    assert 20 * math.log10(np.abs(middle).max() / LEVEL) < -100
    assert np.abs(np.concatenate(list(stream(content, sample_rate=16_000)))[2_000:-2_000]).max() < 1e-5 * LEVEL


# --- what cannot be read ----------------------------------------------------------------------------------------------


def refusal(source, **part) -> str:
    """The one sentence that decode, stream and probe all refuse a sound with."""
    with pytest.raises(SoundError) as refused:
        decode(source, **part)
    message = str(refused.value)
    assert "\n" not in message
    if not part:
        with pytest.raises(SoundError) as streamed:
            list(stream(source))
        assert str(streamed.value) == message
    return message


def test_missing_file(tmp_path):
    message = refusal(tmp_path / "none.wav")
    assert message.startswith(f"{tmp_path / 'none.wav'} does not exist; check the name and the folder")


def test_folder(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path} is a folder; give a sound file, or each file in it."


def test_empty(tmp_path):
    path = tmp_path / "empty.wav"
    path.touch()
    assert refusal(path) == f"{path} is empty (0 bytes); copy, download or record it again."
    assert refusal(b"") == "<bytes> is empty (0 bytes); copy, download or record it again."


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_forbidden_file(tmp_path):
    path = wave_file(tmp_path / "a.wav")
    path.chmod(0)
    assert "may not be read" in refusal(path)


def test_forbidden_file_as_the_system_tells_it(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = wave_file(tmp_path / "a.wav")
    monkeypatch.setattr("builtins.open", forbidden)
    with pytest.raises(SoundError, match="may not be read by you; change its permissions"):
        decode(path)


def test_name_that_no_file_can_have():
    assert "cannot be read" in refusal("a\0b.wav")


@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.au", "a.flac", "a.raw", "a.ogg", "a.m4a", "a.vox", "a.txt"])
@pytest.mark.parametrize("text", ["these are words, not a sound\n" * 300, "声ではない" * 600, "#EXTM3U\nother.mp3\n"])
def test_text_under_any_name(tmp_path, name, text, capfd):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    message = refusal(path)
    assert message.startswith(f"{path} is text, not sound (it begins with {text[0]!r:.2}")
    assert message.endswith("give an audio file.")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.m4a", "a.webm"])
def test_noise_in_the_file_itself(tmp_path, name, capfd):
    path = tmp_path / name
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + np.random.default_rng(0).bytes(5_000))
    assert "is not in a sound format that Earmark reads" in refusal(path)
    assert capfd.readouterr() == ("", "")


def test_zero_channels(tmp_path):
    path = wave_file(tmp_path / "a.wav")
    stored = bytearray(path.read_bytes())
    stored[22:24] = b"\0\0"
    path.write_bytes(stored)
    assert refusal(path) == f"{path} says in its header that it has zero channels; record or export it again."


def test_no_samples():
    stored = as_bytes(np.zeros(0, np.float32), 16_000)
    assert refusal(stored) == "<bytes> holds no samples; record or export it again."
    with pytest.raises(SoundError, match="holds no samples"):
        probe(stored)


def test_video_without_sound(tmp_path):
    path = encode(tmp_path / "silent.mp4", np.zeros(1), 1, "aac", picture=True, sound=False)
    assert refusal(path) == f"{path} is a video without an audio track; give one that has sound."


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_nan_and_infinity_are_refused(value, subtype):
    samples = tone(16_000)
    samples[[5, 7, 20_000]] = value
    message = refusal(as_bytes(samples, 16_000, subtype=subtype))
    assert message.startswith("<bytes> holds NaN or infinite values (3 of 24000 samples read); mend the program")
    assert len(decode(as_bytes(samples, 16_000, subtype=subtype), start_s=0.5, duration_s=0.5)[0]) == 8_000


def test_part_that_is_not_there():
    content = as_bytes(tone(16_000), 16_000)
    assert refusal(content, start_s=1.5) == "<bytes> ends before 1.5 s; ask for an earlier part."
    assert "ends before 99.0 s" in refusal(content, start_s=99.0, sample_rate=8_000)
    assert "cannot start at -1.0 s" in refusal(content, start_s=-1.0)
    assert "cannot start at nan s" in refusal(content, start_s=math.nan)
    assert "cannot last 0.0 s" in refusal(content, duration_s=0.0)
    assert "holds no sample within its first 1e-06 s" in refusal(content, duration_s=1e-6)


def test_part_that_is_not_there_through_ffmpeg(tmp_path):
    path = encode(tmp_path / "a.m4a", tone(44_100), 44_100, "aac")
    assert refusal(path, start_s=2.0) == f"{path} ends before 2.0 s; ask for an earlier part."


# --- what is not whole ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "kind", "subtype"),
    [
        (".wav", "WAV", "PCM_16"),
        (".wav", "WAV", "PCM_24"),
        (".wav", "WAV", "FLOAT"),
        (".wav", "WAV", "ULAW"),
        (".wav", "WAV", "IMA_ADPCM"),
        (".wav", "WAV", "MS_ADPCM"),
        (".w64", "W64", "PCM_16"),
        (".aiff", "AIFF", "PCM_16"),
        (".au", "AU", "PCM_16"),
        (".flac", "FLAC", "PCM_16"),
        (".ogg", "OGG", "VORBIS"),
        (".opus", "OGG", "OPUS"),
        (".mp3", "MP3", "MPEG_LAYER_III"),
    ],
)
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.997])
def test_cut_file_gives_what_is_there_and_warns(tmp_path, suffix, kind, subtype, kept, capfd):
    rate = 48_000
    content = as_bytes(noise(rate, 6.0), rate, kind, subtype)
    whole, _ = decode(content)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.warns(SoundWarning, match="cut") as caught:
        there, _ = decode(path)
    assert str(path) in str(caught[0].message)
    assert "is not whole" in str(caught[0].message)
    assert 0.3 * kept * len(whole) < len(there) < len(whole)
    # Nothing is made up: sample for sample what the whole file has there (FFmpeg's MP3 decoder rounds otherwise).
    assert np.abs(there - whole[: len(there)]).max() < (1e-5 if kind == "MP3" else 1e-6)
    with pytest.warns(SoundWarning):
        streamed = np.concatenate(list(stream(path, block_s=1.0)))
    assert np.array_equal(streamed, there)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("a.m4a", "aac", {"movflags": "faststart"}), ("a.webm", "libopus", {}), ("a.mkv", "libopus", {})],
)
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_cut_file_through_ffmpeg_gives_what_is_there_and_warns(tmp_path, name, codec, options, kept, capfd):
    path = encode(tmp_path / name, noise(48_000, 4.0), 48_000, codec, options=options)
    whole, _ = decode(path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.warns(SoundWarning, match="is not whole"):
        there, _ = decode(path)
    assert 0.8 * kept * len(whole) < len(there) < len(whole)
    assert np.abs(there - whole[: len(there)]).max() < 1e-6
    assert capfd.readouterr() == ("", "")


def test_cut_before_the_first_sound_is_an_error_that_says_so():
    content = as_bytes(noise(44_100, 1.0), 44_100, "OGG", "VORBIS")
    message = refusal(content[: len(content) // 3])
    assert message.startswith("<bytes> holds no sound that can be read: its last page is not whole; copy, download")


def test_mp4_without_its_index_says_that_it_was_cut(tmp_path):
    path = encode(tmp_path / "a.m4a", tone(44_100), 44_100, "aac")
    path.write_bytes(path.read_bytes()[:-200])
    assert "has no index (moov), which is written last, so it was cut off" in refusal(path)


def test_damage_in_the_middle_leaves_out_what_is_damaged(tmp_path):
    content = bytearray(as_bytes(noise(44_100, 6.0), 44_100, "FLAC"))
    middle = len(content) // 2
    content[middle : middle + 50] = bytes(50)
    whole, _ = decode(as_bytes(noise(44_100, 6.0), 44_100, "FLAC"))
    with pytest.warns(SoundWarning, match="is not whole"):
        there, _ = decode(bytes(content))
    assert len(whole) // 3 < len(there) < len(whole)
    assert np.abs(there[:100_000] - whole[:100_000]).max() < 1e-6
    assert np.abs(there[-50_000:] - whole[-50_000:]).max() < 1e-6


def test_whole_files_do_not_warn(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _, kind, subtype, rate, _ in SOUNDFILE_FORMATS:
            decode(as_bytes(tone(rate), rate, kind, subtype))
        # Bytes behind the sound, and a size that counts chunks which are no longer there, cost no sample.
        decode(as_bytes(tone(16_000), 16_000) + b"something behind the sound")


# --- what probe and the import cost -----------------------------------------------------------------------------------


def test_probe_of_a_wave_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((8_000, 2)), 16_000)
    assert probe(tmp_path / "a.wav") == SoundInfo(0.5, 16_000, 2, "pcm_16", "wav")


def test_import_loads_neither_ffmpeg_nor_torch():
    program = "import sys, earmark.sound.decode; print([m for m in ('av', 'torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- as stored -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "subtype", "bit_depth"),
    [
        ("WAV", "PCM_U8", 8),
        ("WAV", "PCM_24", 24),
        ("WAV", "FLOAT", 32),
        ("FLAC", "PCM_16", 16),
        ("OGG", "VORBIS", None),
    ],
)
def test_the_channels_as_stored_mix_to_what_decode_gives(kind, subtype, bit_depth):
    left_and_right = np.stack([noise(16_000, 0.5), 0.3 * tone(16_000)[:8_000]], axis=1)
    content = as_bytes(left_and_right, 16_000, kind, subtype)
    recording = decode_channels(content)
    assert (recording.sample_rate, recording.bit_depth, recording.fault) == (16_000, bit_depth, "")
    assert recording.samples.shape == (8_000, 2)
    assert np.array_equal(recording.samples.mean(axis=1, dtype=np.float32), decode(content)[0])


def test_one_channel_as_stored_is_what_decode_gives():
    content = as_bytes(noise(16_000, 0.5), 16_000)
    assert np.array_equal(decode_channels(content, start_s=0.1, duration_s=0.2).samples, decode(content)[0][1600:4800])


@pytest.mark.parametrize(
    ("suffix", "codec", "encoder", "bit_depth"),
    [(".m4a", "aac", "aac", None), (".webm", "opus", "libopus", None), (".mkv", "pcm_16", "pcm_s16le", 16)],
)
def test_what_ffmpeg_reads_keeps_its_channels(tmp_path, suffix, codec, encoder, bit_depth):
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as media:
        stream_ = media.add_stream(encoder, rate=48_000, layout="stereo")
        samples = np.stack([0.4 * tone(48_000), np.zeros_like(tone(48_000))]).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = 48_000
        for packet in (*stream_.encode(frame), *stream_.encode(None)):
            media.mux(packet)
    recording = decode_channels(path)
    assert (recording.codec, recording.bit_depth, recording.sample_rate) == (codec, bit_depth, 48_000)
    assert np.array_equal(mix_to_mono(recording.samples.T), decode(path)[0])
    assert np.abs(recording.samples[:, 0]).max() > 0.15
    assert np.abs(recording.samples[:, 1]).max() < 0.01


def test_broken_values_and_a_cut_file_are_told_and_kept():
    samples = noise(16_000, 0.5).astype(np.float32)
    samples[100] = np.nan
    recording = decode_channels(as_bytes(samples, 16_000, "WAV", "FLOAT"))
    assert np.flatnonzero(np.isnan(recording.samples)).tolist() == [100]
    cut = decode_channels(as_bytes(noise(16_000, 0.5), 16_000)[:-2_000])
    assert "promises" in cut.fault
    assert len(cut.samples) == 7_000


def test_a_part_beyond_the_end_is_refused_as_stored():
    with pytest.raises(SoundError, match=r"ends before 3"):
        decode_channels(as_bytes(noise(16_000, 0.5), 16_000), start_s=3.0)
