"""The page in a browser: upload, wrong file, recording, timeline, languages, keyboard, and nothing from outside."""

import re
import shutil

import numpy as np
import pytest

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
FAKE_MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *FAKE_MICROPHONE])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, service):
    """Opens the page; at the end, checks that it asked nobody else and threw nothing."""
    opened, foreign, faults = [], [], []

    def note(request):
        if not request.url.startswith((service.url, "blob:", "data:")):
            foreign.append(request.url)

    def start(running=service, **context):
        visitor = browser.new_context(**{"locale": "en-US", "viewport": {"width": 1280, "height": 900}, **context})
        visitor.set_default_timeout(PATIENCE_MS)
        opened.append(visitor)
        page = visitor.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        if running is service:
            page.on("request", note)
        page.goto(running.url)
        return page

    yield start
    for visitor in opened:
        visitor.close()
    assert foreign == []
    assert faults == []


def give(page, *files: tuple[str, bytes]) -> None:
    page.set_input_files("#files", [{"name": name, "mimeType": "audio/wav", "buffer": data} for name, data in files])


def wait_for_answers(page, count: int) -> None:
    expect(page.locator("article[aria-busy=false]")).to_have_count(count, timeout=PATIENCE_MS)


def count_colours(page) -> int:
    """How many colours the picture has: a blank canvas has one."""
    return page.locator("canvas").first.evaluate(
        "canvas => { const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
        " return new Set(new Uint32Array(data.buffer)).size }"
    )


def test_a_file_is_answered_with_bars_picture_and_player(visit, tone, encoded):
    page = visit()
    expect(page.locator("h1")).to_have_text("tones")
    give(page, ("beep.wav", encoded(tone(3_000, 1.2))))
    wait_for_answers(page, 1)
    expect(page.locator(".headline strong")).to_have_text("high")
    expect(page.locator(".bars tbody tr")).to_have_count(3)
    expect(page.locator(".bars tbody tr").first).to_contain_text(re.compile(r"high\s*\d+\.\d%"))
    expect(page.locator("#status")).to_have_text(re.compile(r"^beep\.wav: high, \d+\.\d%\.$"))
    expect(page.locator("canvas")).to_have_attribute("aria-label", "Waveform and mel spectrogram, 1.2 s, up to 4 kHz.")
    expect(page.locator("audio")).to_be_visible()
    assert count_colours(page) > 50


def test_a_wrong_file_is_explained_beside_one_that_is_right(visit, tone, encoded):
    page = visit()
    give(page, ("<b>letter</b>.txt", b"Dear Sir or Madam"), ("hum.wav", encoded(tone(300, 1))))
    wait_for_answers(page, 2)
    expect(page.locator(".fault:visible")).to_have_text(re.compile("is text, not sound .* give an audio file"))
    expect(page.locator("article .name").last).to_have_text("<b>letter</b>.txt")
    expect(page.locator(".headline strong:visible")).to_have_text("low")


def test_a_long_file_has_a_timeline_to_click(visit, tone, encoded):
    page = visit()
    sound = np.concatenate([tone(300, 4), tone(3_000, 4), tone(300, 4)])
    give(page, ("yard.wav", encoded(sound)))
    wait_for_answers(page, 1)
    expect(page.locator(".lane")).to_have_count(2)
    high = page.get_by_role("button", name=re.compile(r"^Play high, 0:0[34]\.\d to 0:08\.\d, \d+\.\d%$"))
    high.press("Enter")
    expect(page.locator(".playing")).to_have_count(1)
    assert page.locator("audio").evaluate("audio => audio.currentTime") >= 3.5
    page.get_by_text("3 events in a table").click()
    expect(page.locator(".events tbody tr")).to_have_count(3)
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as CSV").click()
    assert download.value.suggested_filename == "yard-events.csv"
    assert download.value.path().read_text().startswith("start_s,end_s,label,score\n0,")


def test_a_recording_is_answered(visit):
    page = visit(permissions=["microphone"])
    page.click("#record")
    expect(page.locator("#record")).to_have_text(re.compile(r"Stop · 0:01"), timeout=PATIENCE_MS)
    page.click("#record")
    wait_for_answers(page, 1)
    expect(page.locator("article .name")).to_have_text(re.compile(r"^Recording \d\d:\d\d:\d\d$"))
    expect(page.locator(".headline strong")).to_be_visible()
    expect(page.locator("#record")).to_have_text("Record")
    assert count_colours(page) > 50


def test_the_page_speaks_the_browsers_language_and_the_one_chosen(visit, tone, encoded):
    page = visit(locale="zh-CN")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("button", name="选择文件")).to_be_visible()
    give(page, ("信.txt", b"Dear Sir or Madam"), ("hum.wav", encoded(tone(300, 1))))
    wait_for_answers(page, 2)
    expect(page.locator(".fault:visible")).to_contain_text("这个声音读不了")
    expect(page.locator(".fault:visible [lang=en]")).to_contain_text("is text, not sound")
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()
    expect(page.locator(".length:visible")).to_have_text(["1 s"])
    page.reload()
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()


def test_both_languages_have_the_same_words(service):
    words = service.client.get("/page/words.js").text
    english, chinese = words.split("const chinese = ")
    names = [re.findall(r"^  (\w+):", part.partition("\n};")[0], re.MULTILINE) for part in (english, chinese)]
    assert names[0] == names[1]
    assert len(names[0]) > 40


def test_everything_is_reached_by_keyboard_in_order(visit, tone, encoded):
    page = visit()
    expect(page.locator("#choose")).to_be_visible()
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert reached == ["Skip to the content", "English", "中文", "choose", "record", "reject", "The 3 classes"]
    with page.expect_file_chooser() as chooser:
        page.locator("#choose").press("Enter")
    chooser.value.set_files({"name": "hum.wav", "mimeType": "audio/wav", "buffer": encoded(tone(300, 1))})
    wait_for_answers(page, 1)
    page.get_by_role("button", name="Remove this sound: hum.wav").press("Enter")
    expect(page.locator("article")).to_have_count(0)
    expect(page.locator("#choose")).to_be_focused()


def test_every_control_has_a_name(visit, tone, encoded):
    page = visit()
    give(page, ("yard.wav", encoded(np.concatenate([tone(300, 4), tone(3_000, 4)]))))
    wait_for_answers(page, 1)
    for control in page.locator("button:visible, a:visible, summary:visible, input[type=checkbox]:visible").all():
        name = control.get_attribute("aria-label") or control.inner_text().strip() or control.locator("..").inner_text()
        assert name, control.evaluate("element => element.outerHTML")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(visit, tone, encoded, scheme):
    page = visit(viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, is_mobile=True)
    give(page, ("a-name-that-goes-on-for-ever-" * 4 + ".wav", encoded(np.concatenate([tone(300, 3), tone(3_000, 3)]))))
    wait_for_answers(page, 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_unknown_is_said_where_asked(visit, encoded):
    page = visit()
    page.check("#reject")
    give(page, ("silence.wav", encoded(np.zeros(8_000, dtype=np.float32))))
    wait_for_answers(page, 1)
    expect(page.locator(".headline strong")).to_have_text("Unknown")
    expect(page.locator(".bars tbody tr")).to_have_count(3)


def test_with_a_token_the_page_asks_for_it(visit, serve, tone, encoded):
    with serve(token="sesame") as closed:
        page = visit(closed)
        page.get_by_label("This service asks for a token.").fill("open")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_text("That is not the token.")).to_be_visible()
        page.get_by_label("This service asks for a token.").fill("sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#choose")).to_be_focused()
        give(page, ("hum.wav", encoded(tone(300, 1))))
        wait_for_answers(page, 1)
        expect(page.locator(".headline strong")).to_have_text("low")


def test_a_service_that_has_gone_is_said_to_be_gone(visit, serve, tone, encoded):
    with serve() as leaving:
        page = visit(leaving)
        expect(page.locator("#choose")).to_be_visible()
    give(page, ("hum.wav", encoded(tone(300, 1))))
    wait_for_answers(page, 1)
    expect(page.locator(".fault:visible")).to_have_text("The service does not answer. Is it still running?")


def test_the_documentation_lists_addresses_and_problems(visit, service):
    page = visit()
    page.get_by_role("link", name="the service’s addresses").click()
    expect(page.get_by_role("heading", name="POST/v1/timeline")).to_be_visible()
    expect(page.locator("#too-long")).to_contain_text("413")
