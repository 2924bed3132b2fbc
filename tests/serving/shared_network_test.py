"""One network for many: the same answers as alone, what waits together, and nobody pays for another's fault."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from earmark.errors import ModelError
from earmark.inference.classifier import Classifier
from earmark.serving.shared_network import SharedNetwork


def ask_all(shared, questions):
    with ThreadPoolExecutor(len(questions)) as pool:
        return [future.result(10) for future in [pool.submit(shared.run, question) for question in questions]]


def hold_until_all_wait(network, shared, questions):
    """Ask all while the network is busy with a first question; returns the answers to all but that."""
    network.gate.clear()
    with ThreadPoolExecutor(len(questions) + 1) as pool:
        first = pool.submit(shared.run, [np.ones(5, dtype=np.float32)])
        while not shared._waiting.empty():
            pass
        following = []
        for question in questions:  # one after the other, so that their order is known
            before = shared._waiting.qsize()
            following.append(pool.submit(shared.run, question))
            while shared._waiting.qsize() == before:
                pass
        network.gate.set()
        first.result(10)
        return [future.result(10) for future in following]


@pytest.fixture
def batches():
    return []


@pytest.fixture
def shared(network, batches):
    shared = SharedNetwork(network, max_windows=4, on_batch=lambda *counts: batches.append(counts))
    yield shared
    network.gate.set()
    shared.close()


def test_answers_are_those_of_the_network_itself(network, shared, tone):
    waveforms = [tone(200 + 300 * number, 0.2 + 0.1 * number) for number in range(8)]
    answers = ask_all(shared, [[waveform] for waveform in waveforms])
    np.testing.assert_array_equal(np.concatenate(answers), network.run(waveforms))


def test_what_waits_is_answered_in_one_run_up_to_the_limit(network, shared, batches, tone):
    questions = [[tone(500, 0.3)]] * 3 + [[tone(3000, 0.3)] * 2] + [[tone(500, 0.1)]]
    answers = hold_until_all_wait(network, shared, questions)
    assert batches == [(1, 1), (3, 3), (3, 2)]
    assert [len(answer) for answer in answers] == [1, 1, 1, 2, 1]
    for question, answer in zip(questions, answers, strict=True):
        np.testing.assert_array_equal(answer, network.run(question))


def test_windows_of_different_lengths_stay_apart_where_padding_counts(network, tone):
    network.ignores_padding = False
    shared = SharedNetwork(network, max_windows=8)
    hold_until_all_wait(network, shared, [[tone(500, length_s)] for length_s in (0.5, 0.25, 0.5, 0.25)])
    shared.close()
    assert all(len(set(lengths)) == 1 for lengths in network.runs)
    assert sorted(map(len, network.runs)) == [1, 2, 2]


def test_a_question_that_fails_costs_the_others_nothing(network, shared, batches, tone):
    sound = tone(500, 0.3)

    def fail_at_marked(waveforms, run=network.run):
        if any(waveform[0] == 7 for waveform in waveforms):
            raise RuntimeError("out of order")
        return run(waveforms)

    network.run = fail_at_marked
    marked = np.full(10, 7, dtype=np.float32)
    with pytest.raises(RuntimeError, match="out of order"):
        shared.run([marked])
    network.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(shared.run, [waveform]) for waveform in (sound, sound, marked)]
        network.gate.set()
        np.testing.assert_array_equal(futures[1].result(10), network.run([sound]))
        with pytest.raises(RuntimeError, match="out of order"):
            futures[2].result(10)
    assert shared.is_alive


def test_closing_answers_what_was_asked_and_nothing_more(network, tone):
    shared = SharedNetwork(network)
    network.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(shared.run, [tone(500, 0.1)])
        closing = threading.Thread(target=shared.close)
        closing.start()
        network.gate.set()
        closing.join(10)
        assert asked.exception(10) is None or "ends" in str(asked.exception())
    assert not shared.is_alive
    with pytest.raises(ModelError, match="ends and answers no more"):
        shared.run([tone(500, 0.1)])


def test_a_classifier_that_asks_it_answers_alike(network, shared, tone):
    sounds = [tone(300, 2.5), tone(2500, 0.7)]
    assert Classifier(shared).classify(sounds) == Classifier(network).classify(sounds)
