"""The pages do what they say: their code runs, their commands exist, their tree is the tree."""

import re
import shlex
from pathlib import Path

import pytest
import soundfile
import typer

from earmark.cli.main import app
from earmark.sound.synthesis import synthesise

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "README.zh-CN.md")


def find_blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder as the README's reader has it: labelled sounds and a new file."""
    for name in ("rain", "bell"):
        for number in range(6):
            path = tmp_path / "sounds" / name / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, synthesise(name, seed=number, duration_s=0.5, sample_rate=16_000), 16_000)
    soundfile.write(tmp_path / "new.mp3", synthesise("rain", seed=99, duration_s=0.5, sample_rate=16_000), 16_000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page, desk):
    names: dict[str, object] = {}
    for block in find_blocks(page, "python"):
        code = block.replace("runs/<run>/model", str(names["run"].model_folder)) if "run" in names else block
        exec(compile(code, page, "exec"), names)
    assert names["classifier"].labels == ("bell", "rain")


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist_with_their_options(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    commands = re.findall(r"(?:^|`)(earmark [^`#\n]+)", text, flags=re.MULTILINE)
    group = typer.main.get_command(app)
    checked = set()
    for line in commands:
        words = shlex.split(re.sub(r"[\[\]…\\]|\|\w+", " ", line))[1:]
        if words == ["--help"]:
            continue
        command = group
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands"), f"{line!r} names no verb"
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
        checked.add(command.name)
    assert {"train", "crossval", "evaluate", "predict", "verify", "recipes", "show", "doctor"} <= checked


def test_both_languages_show_the_same_code_and_figures():
    english, chinese = ((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    for pattern in (r"^\| `([^`]+)`", r"\d+\.\d+", r"^import [\w.]+"):
        assert re.findall(pattern, english, re.MULTILINE) == re.findall(pattern, chinese, re.MULTILINE)


# The rows of RESULTS.md that the README quotes, in its order: the beginning of the claim, and of the peer.
QUOTED = [
    ("first pass over ogg, `quick`, one core, to its floor", ""),
    ("first pass over ogg, `mfcc-mlp`, one core, to its floor", ""),
    ("first pass over mp3, `quick`, one core, to its floor", ""),
    ("first pass over mp3, `mfcc-mlp`, one core, to its floor", ""),
    ("first pass over ogg, `quick`, one core, times as fast as librosa", ""),
    ("first pass over mp3, `quick`, one core, times as fast as librosa", ""),
    ("a training epoch of `cnn`", "the bare loop, waveforms"),
    ("a training epoch of `resnet18`", "the bare loop, waveforms"),
    ("a training epoch of `quick`", "the bare loop, features"),
    ("a training epoch of `mfcc-mlp`", "the bare loop, features"),
    ("`tutorial-resnet18`", ""),
    ("`tutorial-vit`", ""),
    ("`tutorial-mlp-128-64`", ""),
    ("`tutorial-distilhubert`", ""),
    ("files a second, `cnn`", ""),
    ("files a second, `resnet18`", ""),
    ("first answer of `earmark predict`, `cnn`", ""),
    ("`earmark --help`", ""),
]


@pytest.mark.parametrize("page", PAGES)
def test_every_ratio_of_speed_is_that_of_its_row_in_the_results(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    speed = text[text.index("benchmarks/features.py SOUNDS") : text.index("benchmarks/RESULTS.md")]
    lines = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")] for line in lines if line.count("|") == 9]
    medians = [
        next(row[3].split()[0] for row in rows if row[2].startswith(claim) and row[6].startswith(peer))
        for claim, peer in QUOTED
    ]
    assert re.findall(r"\d+\.\d\d", speed) == medians


@pytest.mark.parametrize("page", PAGES)
def test_tree_names_every_source_file(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    tree = text[text.index("src/earmark/") :]
    listed = set(re.findall(r"([\w.-]+\.(?:py|toml|j2|css))", tree))
    present = {
        path.name
        for path in (ROOT / "src/earmark").rglob("*")
        if path.suffix in {".py", ".toml", ".j2", ".css"} and path.name != "__init__.py"
    }
    assert present - listed == set()
    anywhere = {path.name for place in ("src", "tests", "benchmarks") for path in (ROOT / place).rglob("*.py")}
    assert {name for name in listed if name.endswith(".py")} <= anywhere
    assert {name for name in listed - present if name.endswith((".toml", ".j2", ".css"))} == set()
