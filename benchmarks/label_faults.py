"""Claim: of the first 40 clips in the worklist of wrong labels, three in four have one.

A tenth of the labels of ESC-10 are flipped at random, each to another class, and the audit's worklist is asked for. Its
precision is the share of flipped labels among its first 40 clips (as many as were flipped); clips whose published label
may itself be wrong count as mistakes. Beside it, on the same flips: the same ranking by means of MFCC, by support
vector machines, with weaker and stronger shrinkage, and with cleanlab's other ways to rank.

Usage: python benchmarks/label_faults.py SOUNDS [--seeds 0 1 2] [--alternatives]
"""

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from earmark.data.clips import Clips
from earmark.data.layouts import read_clips
from earmark.data.splits import name_groups
from earmark.evaluation.examination import examine
from earmark.evaluation.label_faults import find_label_faults
from earmark.progress import show_progress
from earmark.sound.decode import decode

FLIPPED = 0.1
FIRST = 40

Flipped = tuple[list[str], set[int]]


def flip_labels(clips: Clips, seed: int) -> Flipped:
    """The labels with a tenth of them flipped to another class, and the rows of those."""
    generator = np.random.default_rng(seed)
    labels = clips.table["label"].tolist()
    rows = generator.choice(len(labels), round(FLIPPED * len(labels)), replace=False)
    for row in rows:
        labels[row] = str(generator.choice([label for label in clips.labels if label != labels[row]]))
    return labels, set(rows.tolist())


def measure_mfcc_means(clips: Clips) -> np.ndarray:
    """(clips, 40), what the features of many tutorials are."""
    import torch

    from earmark.models.front_ends import build_front_end

    means = []
    for path in clips.table["path"]:
        waveform, sample_rate = decode(path, sample_rate=22_050)
        front_end = build_front_end({"kind": "mfcc_mean"}, sample_rate)
        with torch.no_grad():
            encoded = front_end(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
        means.append(encoded.features[0].numpy())
    return np.stack(means)


def predict(
    model: Callable[[], Any], features: np.ndarray, labels: list[str], groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The labels as numbers, and the probabilities from models that heard nothing of a clip's group."""
    truth = np.unique(labels, return_inverse=True)[1]
    probabilities = np.zeros((len(truth), truth.max() + 1))
    for heard, unheard in StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(features, truth, groups):
        fitted = make_pipeline(StandardScaler(), model()).fit(features[heard], truth[heard])
        probabilities[unheard] = fitted.predict_proba(features[unheard])
    return truth, probabilities


def rank_by_quality(method: str, truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """All clips by one of cleanlab's scores."""
    return np.argsort(get_label_quality_scores(truth, probabilities, method=method), kind="stable")


def rank_by_filter(method: str, truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The clips that one of cleanlab's filters takes for wrong, by self-confidence."""
    return find_label_issues(
        truth, probabilities, filter_by=method, return_indices_ranked_by="self_confidence", n_jobs=1
    )


def describe(name: str, precisions: list[float]) -> str:
    each = ", ".join(f"{precision:.3f}" for precision in precisions)
    return f"{name:58s} {np.mean(precisions):.3f}   ({each})"


def compare_alternatives(clips: Clips, features: np.ndarray, seeds: list[int]) -> None:
    """What else was tried, on the same flips."""
    groups = name_groups(clips.table)
    mfcc = measure_mfcc_means(clips)
    models: dict[str, tuple[Callable[[], Any], np.ndarray]] = {
        "logistic regression, C = 0.01": (lambda: LogisticRegression(C=0.01, max_iter=300), features),
        "logistic regression, C = 0.001": (lambda: LogisticRegression(C=0.001, max_iter=300), features),
        "logistic regression, C = 0.1": (lambda: LogisticRegression(C=0.1, max_iter=300), features),
        "SVM, RBF, C = 1, Platt": (lambda: SVC(C=1, probability=True, random_state=0), features),
        "SVM, RBF, C = 10, Platt": (lambda: SVC(C=10, probability=True, random_state=0), features),
        "MFCC means, logistic regression, C = 1": (lambda: LogisticRegression(C=1.0, max_iter=1000), mfcc),
        "MFCC means, SVM, RBF, C = 10, Platt": (lambda: SVC(C=10, probability=True, random_state=0), mfcc),
    }
    found: dict[str, list[float]] = {}
    for seed in seeds:
        labels, flipped = flip_labels(clips, seed)
        for name, (model, vectors) in models.items():
            truth, probabilities = predict(model, vectors, labels, groups, seed)
            rankings = {f"{name}; self-confidence": rank_by_quality("self_confidence", truth, probabilities)}
            if name.startswith("logistic regression, C = 0.01"):
                for method in ("normalized_margin", "confidence_weighted_entropy"):
                    rankings[f"{name}; {method}"] = rank_by_quality(method, truth, probabilities)
                for method in ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning"):
                    rankings[f"{name}; filter {method}"] = rank_by_filter(method, truth, probabilities)
            for title, ranked in rankings.items():
                found.setdefault(title, []).append(len(flipped & set(ranked[:FIRST].tolist())) / FIRST)
    for title, precisions in sorted(found.items(), key=lambda item: -np.mean(item[1])):
        print(describe(title, precisions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--alternatives", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)  # scikit-learn will drop Platt scaling from SVC
    clips = read_clips(arguments.sounds)
    with show_progress("Examining", "clips") as advance:
        features = [examination.features for examination in examine(clips, advance)]
    groups = clips.table["group"].tolist()
    precisions, lengths, recalls = [], [], []
    for seed in arguments.seeds:
        labels, flipped = flip_labels(clips, seed)
        ranked = [suspect.row for suspect in find_label_faults(features, labels, groups=groups).suspects]
        precisions.append(len(flipped & set(ranked[:FIRST])) / FIRST)
        recalls.append(len(flipped & set(ranked)) / len(flipped))
        lengths.append(len(ranked))
    print(describe(f"earmark's worklist: precision of the first {FIRST}", precisions))
    print(describe("                    flipped labels that it holds", recalls))
    print(f"                    clips in it: {', '.join(map(str, lengths))}")
    if arguments.alternatives:
        compare_alternatives(clips, np.stack(features), arguments.seeds)


if __name__ == "__main__":
    main()
