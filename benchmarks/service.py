"""Claims: with 32 clients at once no request fails or waits unanswered; answering what waits together is never slower
than one by one; memory stays flat over 5,000 requests.

    python benchmarks/service.py [MODEL] [--clients 32] [--rounds 40] [--requests 64] [--long 5000] [--record]

Without MODEL, a ``cnn`` with random weights is asked. Two services of the same model run side by side, one with
micro-batches and one without, and are asked in turns by a process of their own; the ratio is that of turns beside each
other. Sounds are synthetic, five seconds, as 16-bit FLAC.
"""

import argparse
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import soundfile

from models import write_model
from results import Result, add_record_option, publish

CLIP_S, RATE_HZ = 5.0, 32_000
WAITS_TOO_LONG_S = 60.0


def serve(model: str, batch_windows: int) -> None:
    """A service on a free port, which it prints; for a process of its own."""
    from earmark.inference.classifier import Classifier
    from earmark.serving.app import build_app
    from earmark.serving.server import name_url, open_socket, run_server
    from earmark.serving.service import Service

    service = Service(Classifier.from_pretrained(model), name="benchmark", batch_windows=batch_windows)
    listening = open_socket("127.0.0.1", 0)
    run_server(build_app(service), listening, lambda: print(name_url(listening), flush=True))


def ask(address: str, clients: int) -> None:
    """For each number of requests read from standard input, send as many and print what became of them."""
    from earmark.sound.synthesis import SOUND_NAMES, synthesise

    sounds = []
    for seed, name in enumerate([*SOUND_NAMES] * 2):
        file = io.BytesIO()
        soundfile.write(
            file, synthesise(name, seed=seed, duration_s=CLIP_S, sample_rate=RATE_HZ), RATE_HZ, format="FLAC"
        )
        sounds.append(file.getvalue())
    for line in sys.stdin:
        print(json.dumps(send(urlsplit(address).netloc, sounds, int(line), clients)), flush=True)


def send(place: str, sounds: list[bytes], requests: int, clients: int) -> dict[str, object]:
    """Send requests from ``clients`` threads, each over a connection that it keeps."""
    numbers, seconds, faults = iter(range(requests)), [], []
    lock = threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection(place, timeout=WAITS_TOO_LONG_S)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            began_s = time.perf_counter()
            try:
                connection.request("POST", "/v1/classify", sounds[number % len(sounds)], {"Content-Type": "audio/flac"})
                answer = connection.getresponse()
                answered = json.loads(answer.read())
                if answer.status != 200 or not answered["results"][0]["prediction"]:
                    faults.append(f"{answer.status} {answered}"[:200])
            except Exception as fault:
                faults.append(repr(fault)[:200])
                connection.close()
            seconds.append(time.perf_counter() - began_s)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken_s = time.perf_counter() - began_s
    return {"rate": requests / taken_s, "seconds": sorted(seconds), "faults": faults}


def read_count(address: str, name: str) -> float:
    """One of the service's own counts."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=WAITS_TOO_LONG_S)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


class Service:
    """A service and its clients, each a process."""

    def __init__(self, stack: ExitStack, model: str, batch_windows: int, clients: int) -> None:
        self.server = start(stack, "--serve", str(batch_windows), model)
        self.address = self.server.stdout.readline().strip()
        self.clients = start(stack, "--ask", self.address, "--clients", str(clients), model)
        stack.callback(self.server.terminate)
        stack.callback(self.clients.stdin.close)

    def send(self, requests: int) -> dict:
        self.clients.stdin.write(f"{requests}\n")
        self.clients.stdin.flush()
        return json.loads(self.clients.stdout.readline())

    def count(self, name: str) -> float:
        return read_count(self.address, name)


def start(stack: ExitStack, *arguments: str) -> subprocess.Popen:
    return stack.enter_context(
        subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
    )


def compare(batched: Service, single: Service, rounds: int, requests: int) -> Result:
    """Turn by turn; the first is for warming up."""
    rates: dict[str, list[float]] = {"with": [], "without": []}
    work_s: dict[str, list[float]] = {"with": [], "without": []}
    seconds, faults = [], []
    for number in range(rounds + 1):
        for name, service in {"with": batched, "without": single}.items():
            before_s = service.count("process_cpu_seconds_total")
            result = service.send(requests)
            used_s = service.count("process_cpu_seconds_total") - before_s
            faults += result["faults"]
            if number:
                rates[name].append(result["rate"])
                work_s[name].append(used_s / requests)
                seconds += result["seconds"] if name == "with" else []
    ratio = np.array(rates["with"]) / np.array(rates["without"])
    drawn = np.random.default_rng(0).choice(ratio, (2000, rounds))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    print(
        f"requests a second: {np.median(rates['with']):.0f} with micro-batches, {np.median(rates['without']):.0f} "
        f"without; ratio {np.median(ratio):.2f} (95 % of medians drawn anew: {low:.2f} to {high:.2f}), {rounds} rounds"
    )
    print(
        f"processor time a request: {1e3 * np.median(work_s['with']):.1f} ms with, "
        f"{1e3 * np.median(work_s['without']):.1f} ms without"
    )
    runs, windows = batched.count("earmark_batch_windows_count"), batched.count("earmark_batch_windows_sum")
    print(f"windows in a run of the model: {windows / runs:.1f}")
    print(
        f"seconds to the answer: {np.median(seconds):.2f} (median), {np.percentile(seconds, 95):.2f} (95 %), "
        f"{max(seconds):.2f} (longest); failed or unanswered: {len(faults)} of {2 * (rounds + 1) * requests}"
    )
    for fault in faults[:5]:
        print(fault)
    return Result(
        "requests a second, micro-batches or one by one",
        list(ratio),
        "the same service without micro-batches",
        at_least=1.0,
        figures=f"{np.median(rates['with']):.0f} and {np.median(rates['without']):.0f} a second; "
        f"{len(faults)} of {2 * (rounds + 1) * requests} failed",
    )


def watch_memory(service: Service, requests: int) -> Result:
    """Resident memory after a fifth of the requests, and after all."""
    faults, sizes = 0, []
    for _ in range(5):
        faults += len(service.send(requests // 5)["faults"])
        sizes.append(service.count("process_resident_memory_bytes") / 2**20)
    print(
        f"memory: {sizes[0]:.0f} MiB after {requests // 5:,} further requests, {sizes[-1]:.0f} MiB after {requests:,} "
        f"({', '.join(f'{size:.0f}' for size in sizes)}); failed: {faults}"
    )
    return Result(
        f"resident memory after {requests:,} requests, to that after a fifth of them",
        [sizes[-1] / sizes[0]],
        "itself",
        at_most=1.05,
        figures=f"{sizes[-1]:.0f} and {sizes[0]:.0f} MiB; {faults} failed",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--long", type=int, default=5000)
    add_record_option(parser)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.model, given.serve)
    elif given.ask:
        ask(given.ask, given.clients)
    else:
        from earmark.serving.shared_network import BATCH_WINDOWS

        with ExitStack() as stack:
            model = given.model or str(write_model("cnn", Path(stack.enter_context(tempfile.TemporaryDirectory()))))
            batched = Service(stack, model, BATCH_WINDOWS, given.clients)
            single = Service(stack, model, 1, given.clients)
            results = [compare(batched, single, given.rounds, given.requests), watch_memory(batched, given.long)]
        publish("service", results, record=given.record)


if __name__ == "__main__":
    main()
