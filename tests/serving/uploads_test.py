"""Names from outside, as messages show them."""

import pytest

from earmark.serving.uploads import NAMELESS, clean_name, clean_text


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("rain.ogg", "rain.ogg"),
        ("../../etc/passwd", "passwd"),
        ("/etc/cron.d/x", "x"),
        ("C:\\Windows\\system32\\a.wav", "a.wav"),
        ("..", NAMELESS),
        ("../", NAMELESS),
        ("", NAMELESS),
        ("a\x00b\r\nc.wav", "abc.wav"),
        ("\x1b[31mred.wav", "[31mred.wav"),
        ("evil\u202egpj.wav", "evilgpj.wav"),  # it would turn what follows round
        ("雨 声.ogg", "雨 声.ogg"),
        ("<script>alert(1)</script>.wav", "script>.wav"),
    ],
)
def test_a_name_loses_its_folders_and_what_moves_the_cursor(sent, shown):
    assert clean_name(sent) == shown


def test_a_long_name_is_shortened_in_the_middle():
    shown = clean_text("x" * 10_000 + "the-end.wav")
    assert len(shown) == 100
    assert shown.endswith("…he-end.wav")
