"""NLL, Brier score, ECE and temperature: scikit-learn's figures, and some worked out by hand."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from earmark.evaluation.calibration import fit_temperature, measure_calibration


def draw_answers(n_clips=300, n_classes=4, *, sharpness=1.0, seed=0):
    """Logits whose softmax is the truth's own distribution, made ``sharpness`` times too sure."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n_clips, n_classes))
    truth = np.array([random.choice(n_classes, p=row) for row in softmax(logits, axis=1)])
    return np.eye(n_classes)[truth], sharpness * logits


def test_nll_and_brier_are_scikit_learns():
    truth, logits = draw_answers()
    probabilities = softmax(logits, axis=1)
    figures = measure_calibration(truth, probabilities)
    assert figures["nll"] == pytest.approx(log_loss(truth.argmax(1), probabilities), abs=1e-12)
    expected = brier_score_loss(truth.argmax(1), probabilities, scale_by_half=False, labels=[0, 1, 2, 3])
    assert figures["brier"] == pytest.approx(expected, abs=1e-12)


def test_each_label_is_a_yes_or_no_where_a_clip_may_have_several():
    random = np.random.default_rng(3)
    truth, probabilities = random.random((50, 3)) < 0.4, random.random((50, 3))
    figures = measure_calibration(truth, probabilities, multi_label=True)
    assert figures["nll"] == pytest.approx(log_loss(truth.ravel(), probabilities.ravel()), abs=1e-12)
    assert figures["brier"] == pytest.approx(brier_score_loss(truth.ravel(), probabilities.ravel()), abs=1e-12)
    assert sum(row["clips"] for row in figures["bins"]) == 150
    # A confident no that is a no is no error.
    certain = measure_calibration(np.array([[1, 0]]), np.array([[1.0, 0.0]]), multi_label=True)
    assert certain["ece"] == 0.0
    assert [row["accuracy"] for row in certain["bins"]] == [0.0, 1.0]


def test_ece_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.05, 0.95], [0.6, 0.4], [0.4, 0.6]])
    truth = np.eye(2)[[0, 1, 1, 0, 0]]
    figures = measure_calibration(truth, probabilities, n_bins=5)
    # Three answers at 95 %, two of them right; two at 60 %, one of them right: 3/5 * |0.95 - 2/3| + 2/5 * |0.6 - 1/2|.
    assert figures["ece"] == pytest.approx(0.6 * (0.95 - 2 / 3) + 0.4 * 0.1)
    assert [(round(row["low"], 1), row["clips"]) for row in figures["bins"]] == [(0.4, 2), (0.8, 3)]


def test_a_bin_takes_its_upper_edge_and_the_last_one_certainty():
    probabilities = np.array([[0.5, 0.5], [1.0, 0.0]])
    rows = measure_calibration(np.eye(2)[[0, 0]], probabilities, n_bins=4)["bins"]
    assert [(row["low"], row["high"]) for row in rows] == [(0.25, 0.5), (0.75, 1.0)]


def test_a_certain_mistake_costs_much_but_is_finite():
    figures = measure_calibration(np.eye(2)[[1]], np.array([[1.0, 0.0]]))
    assert figures["nll"] == pytest.approx(-np.log(np.finfo(np.float64).eps))


@pytest.mark.parametrize("sharpness", [3.0, 0.5])
def test_the_temperature_undoes_what_made_the_answers_too_sure_or_not_sure_enough(sharpness):
    truth, logits = draw_answers(4000, sharpness=sharpness)
    assert fit_temperature(truth, logits) == pytest.approx(sharpness, rel=0.06)


def test_no_other_temperature_has_a_lower_nll():
    truth, logits = draw_answers(200, sharpness=2.0, seed=4)
    best = fit_temperature(truth, logits)
    figures = {t: log_loss(truth.argmax(1), softmax(logits / t, axis=1)) for t in (0.99 * best, best, 1.01 * best)}
    assert min(figures, key=figures.__getitem__) == best


def test_the_temperature_is_fitted_on_the_mean_over_a_clips_windows():
    truth, logits = draw_answers(400, sharpness=2.0, seed=5)
    random = np.random.default_rng(6)
    windows = np.repeat(logits, 2, axis=0) + random.normal(0, 3, (800, 4))
    owners, lengths = np.repeat(np.arange(400), 2), np.tile([3, 1], 400)

    def nll(temperature):
        each = softmax(windows / temperature, axis=1).reshape(400, 2, 4)
        return log_loss(truth.argmax(1), 0.75 * each[:, 0] + 0.25 * each[:, 1])

    best = fit_temperature(truth, windows, owners=owners, lengths=lengths)
    assert nll(best) < min(nll(1.01 * best), nll(0.99 * best))
    # The order of the windows is of no consequence.
    shuffled = random.permutation(800)
    again = fit_temperature(truth, windows[shuffled], owners=owners[shuffled], lengths=lengths[shuffled])
    assert again == pytest.approx(best, rel=1e-4)


def test_several_labels_share_one_temperature():
    random = np.random.default_rng(7)
    logits = random.normal(0, 2, (1500, 3))
    truth = random.random((1500, 3)) < 1 / (1 + np.exp(-logits))
    assert fit_temperature(truth, 2.5 * logits, multi_label=True) == pytest.approx(2.5, rel=0.08)


def test_clips_that_are_all_right_do_not_ask_for_certainty():
    truth = np.eye(2)[[0, 1] * 20]
    unsure = np.where(truth > 0, 0.4, 0.0)
    temperature = fit_temperature(truth, unsure)
    sure = softmax(unsure / temperature, axis=1).max(1)
    assert sure.mean() == pytest.approx(41 / 42, abs=1e-6)


def test_answers_surer_than_their_number_allows_are_not_made_surer():
    truth = np.eye(2)[[0, 1] * 20]
    assert fit_temperature(truth, np.where(truth > 0, 20.0, 0.0)) == 1.0
