"""Claim: the four tutorials' jobs, as they are written, take at least twice as long as ours where pictures are learned.

    python benchmarks/tutorials.py [SOUNDS] [--rounds 3] [--cores 2] [--jobs resnet18 vit mlp distilhubert] [--record]

Each job goes from sound files to the end of its last epoch, on the same few clips, the same cores and for as many
epochs: theirs with the features, network, optimiser, batches and loading of the tutorial, written anew from its
settings; ours by the recipe ``tutorial-…`` of that tutorial, with an empty store, so that it decodes, too. Scaled down
alike: a few dozen clips, a few epochs, a picture of 160 pixels instead of 480 for the ViT, a small HuBERT with random
weights, no pretrained weights and no tracker. Four fifths of the clips train; where the tutorial asks about the others
after each epoch, theirs does so; ours asks once, at the end.

Two things stand in for what has no place here: torchaudio, which does not import beside this torch, is replaced by its
steps in soundfile and torch; the decoding of ``datasets``, which needs FFmpeg, by librosa's. Neither is slower.
"""

import argparse
import io
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bound import use_cores
from results import Result, add_record_option, publish

LEARNING, HELD_OUT = 4, 5  # of five clips of a class, four train


@dataclass(frozen=True)
class Job:
    """One tutorial, scaled down.

    Args:
        recipe: Ours.
        settings: How ours is scaled down.
        theirs: The tutorial's way: (training paths and classes, held-out ones, epochs) -> nothing.
        clips_per_class: Of ten classes.
        epochs: In both.
        at_least: How many times as fast ours is to be.
        asks: Whether the held-out clips are asked about.
    """

    recipe: str
    settings: list[str]
    theirs: Callable[..., None]
    clips_per_class: int
    epochs: int
    at_least: float
    asks: bool = True


Labelled = list[tuple[str, int]]


def fit_plainly(model: Any, batches: Any, optimizer: Any, epochs: int, after_epoch: Callable[[float], None]) -> None:
    """The loop that all three have: forward, cross-entropy, backward, step, and a count of what was right."""
    import torch

    criterion = torch.nn.CrossEntropyLoss()
    for _ in range(epochs):
        model.train()
        right, seen, total = 0, 0, 0.0
        for inputs, labels in batches:
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
            right += int((outputs.argmax(1) == labels).sum())
            seen += len(labels)
        after_epoch(right / seen)


def ask_plainly(model: Any, batches: Any) -> None:
    """Loss and accuracy on what was held out."""
    import torch

    model.eval()
    with torch.no_grad():
        for inputs, labels in batches:
            outputs = model(inputs)
            torch.nn.functional.cross_entropy(outputs, labels).item()
            (outputs.argmax(1) == labels).sum().item()


def run_resnet18(training: Labelled, held_out: Labelled, epochs: int) -> None:
    """Every file is read and made into a mel spectrogram again in every epoch; Adam, batches of 16, float32."""
    import soundfile
    import torch
    import torchvision
    from torch.utils.data import DataLoader, Dataset
    from transformers.audio_utils import mel_filter_bank

    square = torch.nn.AdaptiveAvgPool2d((224, 224))

    class Spectrograms(Dataset):
        def __init__(self, clips: Labelled) -> None:
            self.clips = clips

        def __len__(self) -> int:
            return len(self.clips)

        def __getitem__(self, item: int) -> Any:
            path, label = self.clips[item]
            waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
            # The tutorial builds window and filters anew for every clip.
            filters = mel_filter_bank(1025, 128, 0.0, rate / 2, rate)
            spectrum = torch.stft(
                torch.from_numpy(waveform.T[0].copy()), 2048, 640, window=torch.hann_window(2048), return_complex=True
            )
            mel = torch.from_numpy(filters.T).float() @ spectrum.abs().square()
            return square(mel.clamp(min=0).repeat(3, 1, 1)), label

    model = torchvision.models.resnet18(weights=None)
    model.fc = torch.nn.Linear(512, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    asked = DataLoader(Spectrograms(held_out), batch_size=1)
    batches = DataLoader(Spectrograms(training), batch_size=16, shuffle=True)
    fit_plainly(model, batches, optimizer, epochs, lambda _: ask_plainly(model, asked))


def draw_pictures(clips: Labelled, folder: Path) -> Labelled:
    """Each clip's mel spectrogram as matplotlib draws it, as a PNG."""
    import librosa
    import matplotlib
    from PIL import Image

    matplotlib.use("agg")
    from matplotlib import pyplot

    drawn = []
    for number, (path, label) in enumerate(clips):
        waveform, rate = librosa.load(path)
        level_db = librosa.amplitude_to_db(librosa.feature.melspectrogram(y=waveform, sr=rate, n_mels=128), ref=np.max)
        librosa.display.specshow(level_db, sr=rate, x_axis="time", y_axis="mel")
        figure = pyplot.gcf()
        figure.gca().set_axis_off()
        figure.subplots_adjust(top=1, bottom=0, right=1, left=0, hspace=0, wspace=0)
        figure.canvas.draw()
        target = folder / f"{number}.png"
        Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]).save(target)
        pyplot.close(figure)
        drawn.append((str(target), label))
    return drawn


def run_vit(training: Labelled, held_out: Labelled, epochs: int) -> None:
    """Pictures drawn once and opened, scaled and normalised in every epoch; ViT-B/16, Adam, batches of 32, float32."""
    import timm
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    change = transforms.Compose(
        [transforms.Resize((VIT_PX, VIT_PX)), transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
    )

    class Pictures(Dataset):
        def __init__(self, clips: Labelled) -> None:
            self.clips = clips

        def __len__(self) -> int:
            return len(self.clips)

        def __getitem__(self, item: int) -> Any:
            path, label = self.clips[item]
            return change(Image.open(path)), label

    with tempfile.TemporaryDirectory() as folder:
        drawn = Pictures(draw_pictures(training, Path(folder)))
        model = timm.create_model("vit_base_patch16_224", img_size=VIT_PX, num_classes=10)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=0.3, patience=3)
        fit_plainly(model, DataLoader(drawn, batch_size=32, shuffle=True), optimizer, epochs, schedule.step)


def run_mlp(training: Labelled, held_out: Labelled, epochs: int) -> None:
    """librosa's 40 MFCC, averaged over time, computed once; an MLP of 128 and 64 with a sigmoid at its end, Adam."""
    import librosa
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    def extract(clips: Labelled) -> Any:
        rows = []
        for path, _ in clips:
            waveform, rate = librosa.load(path)
            rows.append(librosa.feature.mfcc(y=waveform, sr=rate, n_mfcc=40).mean(1))
        return TensorDataset(torch.tensor(np.array(rows)), torch.tensor([label for _, label in clips]))

    layers = [torch.nn.Linear(40, 128), torch.nn.ReLU(), torch.nn.Linear(128, 64), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(64, 10), torch.nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches, asked = DataLoader(extract(training), 32, shuffle=True), DataLoader(extract(held_out), 32)
    fit_plainly(model, batches, optimizer, epochs, lambda _: ask_plainly(model, asked))


def run_distilhubert(training: Labelled, held_out: Labelled, epochs: int) -> None:
    """Transformers' Trainer: batches of two, four a step, asked and saved after every epoch, the best kept."""
    import librosa
    import transformers as hf
    from transformers.trainer_callback import PrinterCallback

    extractor = hf.AutoFeatureExtractor.from_pretrained(HUBERT, do_normalize=True, return_attention_mask=True)

    def prepare(clips: Labelled) -> list[dict[str, Any]]:
        sounds = [librosa.load(path, sr=16_000)[0] for path, _ in clips]
        made = extractor(sounds, sampling_rate=16_000, max_length=480_000, truncation=True, return_attention_mask=True)
        inputs, masks = made["input_values"], made["attention_mask"]
        return [
            {"input_values": inputs[row], "attention_mask": masks[row], "label": label}
            for row, (_, label) in enumerate(clips)
        ]

    model = hf.AutoModelForAudioClassification.from_pretrained(HUBERT, num_labels=10)
    with tempfile.TemporaryDirectory() as folder:
        settings = hf.TrainingArguments(
            folder,
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            metric_for_best_model="accuracy",
            learning_rate=5e-5,
            seed=42,
            per_device_train_batch_size=2,
            per_device_eval_batch_size=2,
            gradient_accumulation_steps=4,
            num_train_epochs=epochs,
            warmup_steps=0.1,
            save_total_limit=2,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = hf.Trainer(
            model,
            settings,
            train_dataset=prepare(training),
            eval_dataset=prepare(held_out),
            processing_class=extractor,
            compute_metrics=lambda found: {"accuracy": (found.predictions.argmax(1) == found.label_ids).mean()},
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


HUBERT = os.path.join(tempfile.gettempdir(), f"earmark-bench-hubert-{os.getpid()}")
TINY_HUBERT = [f'model.name="{HUBERT}"', "train.max_steps=0"]
VIT_PX = 160
JOBS = {
    "resnet18": Job("tutorial-resnet18", ["model.pretrained=false"], run_resnet18, 10, 2, 2.0),
    "vit": Job("tutorial-vit", [f"model.size_px={VIT_PX}"], run_vit, 4, 2, 2.0, asks=False),
    "mlp": Job("tutorial-mlp-128-64", [], run_mlp, 20, 50, 1.0),
    "distilhubert": Job("tutorial-distilhubert", TINY_HUBERT, run_distilhubert, 5, 2, 1.0),
}


def write_hubert() -> None:
    """DistilHuBERT's form with narrow layers and random weights, and its feature extractor."""
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    narrow = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 2, "num_attention_heads": 4}
    HubertModel(HubertConfig(conv_dim=(64,) * 7, **narrow)).save_pretrained(HUBERT)
    Wav2Vec2FeatureExtractor(return_attention_mask=False, do_normalize=True).save_pretrained(HUBERT)


def deal(sounds: Path) -> tuple[Labelled, Labelled]:
    """Training clips and held-out ones, each with the number of its class."""
    classes = sorted(folder.name for folder in sounds.iterdir())
    every = [
        (str(path), label, place)
        for label, name in enumerate(classes)
        for place, path in enumerate(sorted((sounds / name).iterdir()))
    ]
    training = [(path, label) for path, label, place in every if place % HELD_OUT < LEARNING]
    return training, [(path, label) for path, label, place in every if place % HELD_OUT >= LEARNING]


def run_ours(job: Job, sounds: Path) -> None:
    """The same by the recipe, from an empty store."""
    import torch

    from earmark.data.layouts import read_clips
    from earmark.data.waveforms import load_waveforms
    from earmark.training.build import fit_window, settle_rate
    from earmark.training.fit import fit_model
    from earmark.training.learners import build_learner
    from earmark.training.recipe import load_recipe
    from earmark.training.run import encode_once

    training = {path for path, _ in deal(sounds)[0]}
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        os.environ["EARMARK_CACHE"] = folder
        clips = read_clips(str(sounds))
        recipe = settle_rate(load_recipe(job.recipe, [*job.settings, f"train.epochs={job.epochs}"]), clips)
        waveforms = load_waveforms(clips, sample_rate=int(recipe.audio.sample_rate))
        recipe = fit_window(recipe, waveforms)
        learns = waveforms.clips.table["path"].isin(training).to_numpy()
        learner = build_learner(recipe, waveforms.clips.labels, multi_label=False)
        encoded = encode_once(learner, waveforms)
        rows, held_out = np.flatnonzero(learns), np.flatnonzero(~learns)
        out, nobody = Path(folder) / "run", np.array([], dtype=int)
        fit_model(
            learner, waveforms, recipe, train_rows=rows, validation_rows=nobody, seed=0, encoded=encoded, folder=out
        )
        if job.asks:
            asked = learner.trained().eval()
            for rows in np.array_split(held_out, -(-len(held_out) // 32)):
                batch = learner.collate([{"waveform": waveforms.read(int(row)), "target": np.zeros(1)} for row in rows])
                del batch["targets"]
                with torch.inference_mode():
                    asked(**batch)


def pick_clips(sounds: str | None, scratch: Path, per_class: int) -> Path:
    """A folder of ten class folders with so many clips each."""
    from earmark.data.layouts import read_clips
    from earmark.sound.synthesis import write_sounds

    if sounds is None:
        return write_sounds(scratch / "sounds", clips_per_class=per_class, duration_s=5.0, sample_rate=32_000)
    table = read_clips(sounds).table
    for label, part in table.groupby("label"):
        for path in part["path"].head(per_class):
            target = scratch / "sounds" / str(label) / Path(path).name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return scratch / "sounds"


def compare(name: str, sounds: str | None, rounds: int) -> Result:
    """How many times as long theirs takes."""
    job = JOBS[name]
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as scratch:
        folder = pick_clips(sounds, Path(scratch), job.clips_per_class)
        training, held_out = deal(folder)
        sides = {"theirs": lambda: job.theirs(training, held_out, job.epochs), "ours": lambda: run_ours(job, folder)}
        for _ in range(rounds):
            for side, run in sides.items():
                began = time.perf_counter()
                with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    run()
                seconds[side].append(time.perf_counter() - began)
    theirs, ours = (np.median(values) for values in seconds.values())
    return Result(
        f"`{job.recipe}`, files to the end of {job.epochs} epochs",
        [t / o for t, o in zip(*seconds.values(), strict=True)],
        "the tutorial's loop as written",
        at_least=job.at_least,
        figures=f"{theirs:.1f} and {ours:.1f} s, {len(training)} clips",
    )


def warm_up() -> None:
    """What is imported and compiled once a process, so that neither side's first round pays for it."""
    import librosa
    import librosa.display
    import timm  # noqa: F401
    import torchvision  # noqa: F401

    from earmark.training import run  # noqa: F401

    librosa.feature.mfcc(y=librosa.resample(np.zeros(8_000, np.float32), orig_sr=8_000, target_sr=22_050), sr=22_050)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="?", help="Ten classes of five-second clips; synthetic ones if not given.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=list(JOBS))
    add_record_option(parser)
    given = parser.parse_args()
    use_cores(given.cores)
    warm_up()
    try:
        if "distilhubert" in given.jobs:
            write_hubert()
        found = [compare(name, given.sounds, given.rounds) for name in given.jobs]
    finally:
        shutil.rmtree(HUBERT, ignore_errors=True)
    publish("tutorials", found, record=given.record)


if __name__ == "__main__":
    main()
