"""The pages in docs/ do what they say: every python block and every `earmark` line runs, in order, on tiny data.

A page runs in a folder of its own with the archives of GTZAN (as published, and as Kaggle has it) and UrbanSound8K made
of synthetic sounds, and a stand-in for the Hub with tiny models; trainings keep their recipe, made small. A toml block
whose first line is ``# NAME.toml`` becomes that file. ``# needs the network`` behind a command, or on the line above it
or at the top of a python block, leaves it unrun: then only its options are checked. Chinese pages have the same code.
"""

import os
import re
import shlex
import shutil
import tarfile
import traceback
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from earmark.cli.main import app
from earmark.data import catalogue
from earmark.data.known import find_gtzan_split
from earmark.errors import EarmarkError
from earmark.sound.synthesis import synthesise
from earmark.training import recipe as recipes

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page.name for page in DOCS.glob("*.md"))
TWINS = sorted(page.name for page in (DOCS / "zh").glob("*.md"))
NETWORK = "needs the network"
TRACKERS = ("SWANLAB_", "WANDB_", "MLFLOW_", "TRACKIO_")

GENRES = {"blues": "voice", "classical": "bell", "metal": "engine", "reggae": "drums"}
TRACKS_KEPT = {"train": 4, "validation": 2, "test": 2}
KINDS = {"dog_bark": "footsteps", "siren": "siren", "jackhammer": "engine"}
CLASS_IDS = {"dog_bark": 3, "siren": 8, "jackhammer": 7}
FOLDS = (1, 5, 10)
HUB_MODELS = {
    "ntu-spml/distilhubert": "hubert",
    "facebook/hubert-base-ls960": "hubert",
    "facebook/wav2vec2-base": "wav2vec2",
    "microsoft/wavlm-base": "wavlm",
    "MIT/ast-finetuned-audioset-10-10-0.4593": "ast",
    "openai/whisper-base": "whisper",
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``line`` is where its first line of code stands."""

    page: Path
    language: str
    line: int
    code: str

    def commands(self) -> Iterator[tuple[int, str, bool]]:
        """Line, command and whether it needs the network, for each `earmark` line; ``\\`` continues one."""
        started, pending, network = 0, "", False
        for number, text in enumerate(self.code.splitlines(), start=self.line):
            started = started or number
            pending += text.removesuffix("\\")
            if text.endswith("\\"):
                continue
            network = network or NETWORK in pending
            if pending.startswith("earmark "):
                yield started, pending, network
            if not pending.startswith("#"):  # a comment's word holds for the line after it
                network = False
            started, pending = 0, ""


def read_blocks(page: Path) -> list[Block]:
    blocks, language, begun, lines = [], None, 0, []
    for number, text in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.startswith("```"):
            lines.append(text)
        elif language is None:
            language, begun, lines = text.removeprefix("```").strip(), number + 1, []
        else:
            blocks.append(Block(page, language, begun, "".join(f"{line}\n" for line in lines)))
            language = None
    assert language is None, f"{page}: the block that begins in line {begun - 1} does not end"
    return blocks


def check_options(line: str) -> None:
    """The verb exists and knows every option."""
    words = shlex.split(re.sub(r"[\[\]…]|\|\w+", " ", line), comments=True)[1:]
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands"), f"{line!r} names no verb"
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if re.match(r"--?[a-z]", word)} <= options | {"--help"}, line


def run_command(where: str, line: str) -> None:
    result = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
    if result.exit_code == 0:
        return
    reason = f"{result.output}\n{type(result.exception).__name__}: {result.exception}"
    if result.exc_info and not isinstance(result.exception, EarmarkError | SystemExit):
        reason = "".join(traceback.format_exception(*result.exc_info))
    pytest.fail(f"{where}: {line}\n{reason}", pytrace=False)


def run_page(page: Path) -> int:
    """Run all there is to run, in order; how many commands and blocks that was."""
    names: dict[str, Any] = {"__name__": "__main__"}
    done = 0
    for number, block in enumerate(read_blocks(page), start=1):
        where = f"{page.relative_to(ROOT)}, block {number}"
        if block.language == "sh":
            for line, command, network in block.commands():
                check_options(command)
                if not network:
                    run_command(f"{where}, line {line}", command)
                    done += 1
        elif block.language == "python":
            # As many empty lines before it as stand before it in the page: a traceback then names the page's line.
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            if NETWORK in block.code.splitlines()[0]:
                continue
            fault = ""
            try:
                exec(code, names)
            except Exception:
                fault = traceback.format_exc()
            if fault:
                pytest.fail(f"{where}, line {block.line}\n{fault}", pytrace=False)
            done += 1
        elif block.language == "toml" and (title := re.match(r"# ([\w-]+\.toml)\n", block.code)):
            Path(title[1]).write_text(block.code, encoding="utf-8")
    return done


def write_sound(path: Path, name: str, seed: int, *, sample_rate: int = 22_050) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, synthesise(name, seed=seed, duration_s=1.0, sample_rate=sample_rate), sample_rate)


def choose_tracks() -> list[str]:
    """Tracks of each genre from each part of the published split: ``blues.00000``."""
    chosen = []
    for genre in GENRES:
        left = dict(TRACKS_KEPT)
        for number in range(100):
            part = find_gtzan_split(f"{genre}.{number:05d}.wav")
            if left.get(part, 0):
                left[part] -= 1
                chosen.append(f"{genre}.{number:05d}")
    return chosen


def write_urbansound(home: Path) -> int:
    """UrbanSound8K's tree; the number of clips in it."""
    rows = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in FOLDS:
        for take, (kind, sound) in enumerate([*KINDS.items()] * 2):
            recording = 100_032 if (fold, take) == (5, 0) else 1000 * fold + take  # a clip that there is
            name = f"{recording}-{CLASS_IDS[kind]}-0-0.wav"
            write_sound(home / "audio" / f"fold{fold}" / name, sound, recording, sample_rate=16_000)
            rows.append(f"{name},{recording},0.0,1.0,1,{fold},{CLASS_IDS[kind]},{kind}")
    (home / "metadata").mkdir()
    (home / "metadata" / "UrbanSound8K.csv").write_text("\n".join(rows) + "\n")
    return len(rows) - 1


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Archives and new sounds, as a reader has them before he begins."""
    shelf, made = tmp_path_factory.mktemp("shelf"), tmp_path_factory.mktemp("made")
    for seed, track in enumerate(choose_tracks()):
        genre = track.split(".")[0]
        write_sound(made / "genres" / genre / f"{track}.wav", GENRES[genre], seed)
    write_urbansound(made / "UrbanSound8K")
    for name, folder in (("genres.tar.gz", "genres"), ("UrbanSound8K.tar.gz", "UrbanSound8K")):
        with tarfile.open(shelf / name, "w:gz", compresslevel=1) as archive:
            archive.add(made / folder, arcname=folder)
    with zipfile.ZipFile(shelf / "archive.zip", "w") as archive:  # GTZAN as Kaggle gives it
        for path in sorted((made / "genres").rglob("*.wav")):
            archive.write(path, Path("Data/genres_original") / path.relative_to(made / "genres"))
        archive.writestr("Data/features_30_sec.csv", "filename,length\n")
    for name, sound in (("song.mp3", "bell"), ("street.mp3", "siren"), ("new.wav", "drums")):
        write_sound(shelf / name, sound, 99, sample_rate=44_100)
    return shelf


def shrink(recipe: recipes.Recipe) -> recipes.Recipe:
    """The recipe for a training of two steps: a tiny network of timm, small pictures and batches, all else as it is."""
    import timm

    name = recipe.model.name
    if timm.is_model(name.split(".")[0]):
        name = "test_vit" if "vit" in name else "test_resnet"
    size_px, batch_size = min(recipe.model.size_px, 64), min(recipe.train.batch_size, 4)
    return replace(
        recipe,
        model=replace(recipe.model, name=name, size_px=size_px),
        train=replace(recipe.train, epochs=1, max_steps=2, batch_size=batch_size, accumulate=1),
    )


@pytest.fixture
def desk(page, shelf, hub, write_native, tmp_path, monkeypatch):
    """The folder that the page of this name runs in."""
    for path in shelf.iterdir():
        shutil.copy(path, tmp_path)
    small = {"gtzan": len(GENRES) * sum(TRACKS_KEPT.values()), "urbansound8k": 2 * len(KINDS) * len(FOLDS)}
    known = tuple(
        replace(dataset, clips=small[dataset.name], missing_clips=0) if dataset.name in small else dataset
        for dataset in catalogue.KNOWN_DATASETS
    )
    monkeypatch.setattr(catalogue, "KNOWN_DATASETS", known)
    build = recipes._build_recipe
    monkeypatch.setattr(recipes, "_build_recipe", lambda name, tables: shrink(build(name, tables)))
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, family in HUB_MODELS.items():
        if name.split("/")[1] in text:  # also where a recipe names it
            write_native(tmp_path / ".hub" / family, family)
            hub.add(name, {path.name: path.read_bytes() for path in (tmp_path / ".hub" / family).iterdir()})
    monkeypatch.setenv("HF_TOKEN", "hf_ours")
    for name in list(os.environ):
        if name.startswith(TRACKERS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # or it would look for all fonts again
    monkeypatch.setenv("HOME", str(tmp_path / ".home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


LONG_PAGES = (  # ten to twenty seconds each
    "000-gtzan-vit.md",
    "001-urbansound8k-mlp.md",
    "002-gtzan-hubert.md",
    "003-gtzan-resnet.md",
    "onnx.md",
)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page in LONG_PAGES)) for page in PAGES]
)
def test_page_runs(page, desk):
    assert run_page(DOCS / page) > 0


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_exist(page):
    text = re.sub(r"^```.*?^```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for command in re.findall(r"`(earmark [^`\n]+)`", text):
        check_options(command)


def test_every_page_is_there_in_both_languages():
    assert PAGES == TWINS


@pytest.mark.parametrize("page", sorted({*PAGES} & {*TWINS}))
def test_both_languages_have_the_same_code_and_figures(page):
    english, chinese = DOCS / page, DOCS / "zh" / page
    assert [without_comments(block) for block in read_blocks(english)] == [
        without_comments(block) for block in read_blocks(chinese)
    ]
    figures = [
        Counter(re.findall(r"\d+\.\d+|\d+(?= %)", path.read_text(encoding="utf-8"))) for path in (english, chinese)
    ]
    assert figures[0] == figures[1]


def without_comments(block: Block) -> tuple[str, list[str]]:
    if block.language not in ("sh", "python", "toml"):
        return block.language, []  # what a screen shows may be told in words
    lines = [re.sub(r"(^|\s+)#\s.*", "", line) for line in block.code.splitlines()]
    return block.language, [line for line in lines if line]


@pytest.mark.parametrize("page", [*PAGES, *(f"zh/{name}" for name in TWINS)])
def test_links_lead_somewhere(page):
    path = DOCS / page
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), f"{page} links to {target}"
