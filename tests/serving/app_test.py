"""The service over HTTP: what it answers, what it refuses and how, and that it stands afterwards."""

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from earmark.cli.main import app as command_line
from earmark.errors import SoundError

SERVER_WORDS = "Traceback", "/src/earmark", "site-packages"


def read_problem(response: httpx.Response, status: int, kind: str) -> str:
    """The sentence of a problem, once its form is checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() >= {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert problem["type"] == f"/docs#{kind}"
    assert not any(word in response.text for word in SERVER_WORDS)
    return problem["detail"]


def talk(port: int, request: bytes, *, more: bytes = b"", then_s: float = 0.0) -> bytes:
    """Send bytes as they are, and all that comes back until the other side closes or has answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        if more:
            time.sleep(then_s)
            connection.sendall(more)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
            head, _, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            if length and len(body) >= int(length[1]):
                break
        return answer


def head(path: str, length: int, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", f"Content-Length: {length}", *lines, "", ""]).encode()


# What it answers


def test_files_of_a_form_are_answered_in_order(service, tone, encoded):
    files = [
        ("file", ("low.wav", encoded(tone(300, 1)))),
        ("anything", ("high.flac", encoded(tone(3_000, 2), form="FLAC"))),
    ]
    response = service.client.post("/v1/classify", files=files, params={"top_k": 1})
    assert response.headers["content-type"] == "application/json"
    low, high = response.json()["results"]
    assert (low["file"], low["prediction"][0]["label"], low["duration_s"]) == ("low.wav", "low", 1.0)
    assert (high["file"], high["prediction"][0]["label"], high["duration_s"]) == ("high.flac", "high", 2.0)
    assert len(high["prediction"]) == 1


@pytest.mark.parametrize("kind", ["audio/wav", "video/mp4", "application/octet-stream", "Audio/X-Wav; codecs=1", None])
def test_the_body_itself_may_be_the_sound(service, tone, encoded, kind):
    headers = {"content-type": kind} if kind else {}
    response = service.client.post("/v1/classify", content=encoded(tone(3_000, 1)), headers=headers)
    assert response.json()["results"][0]["prediction"][0]["label"] == "high"


def test_a_body_in_chunks_without_a_length_is_taken(service, tone, encoded):
    content = encoded(tone(300, 1))
    response = service.client.post(
        "/v1/classify", content=(content[i : i + 1000] for i in range(0, len(content), 1000))
    )
    assert response.json()["results"][0]["prediction"][0]["label"] == "low"


def test_a_timeline_has_events(service, tone, encoded):
    content = encoded(np.concatenate([tone(300, 5), tone(3_000, 5)]), form="OGG", subtype="OPUS", sample_rate=8_000)
    response = service.client.post("/v1/timeline", files={"file": content}, params={"hop_s": 0.5})
    [result] = response.json()["results"]
    assert [event["label"] for event in result["events"]] == ["low", "high"]
    assert result["events"][0]["end_s"] == pytest.approx(5, abs=0.5)


def test_the_model_and_the_limits_are_told(service):
    told = service.client.get("/v1/model").json()
    assert told["labels"] == ["low", "high", "铃 🔔"]
    assert told["sample_rate"] == 8_000
    assert told["limits"]["duration_s"] == 3600
    assert service.client.get("/healthz").json() == {"status": "ok", "asks_token": False}


def test_requests_runs_and_sound_are_counted(serve, tone, encoded):
    with serve() as fresh:
        fresh.classify(encoded(tone(300, 2.5)))
        fresh.client.get("/no/such/place")
        fresh.client.get("/another")
        counts = fresh.client.get("/metrics").text
    assert 'earmark_requests_total{route="/v1/classify",status="200"} 1.0' in counts
    assert 'earmark_requests_total{route="other",status="404"} 2.0' in counts  # no label for each address tried
    assert "earmark_sound_seconds_total 2.5" in counts
    assert "earmark_batch_windows_sum 3.0" in counts
    assert "earmark_requests_working 0.0" in counts


def test_the_documents_ask_for_nothing_from_elsewhere(service):
    document = service.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert {"/v1/classify", "/v1/timeline", "/v1/model", "/healthz", "/metrics"} <= document["paths"].keys()
    names = re.findall(r'(?:src|href)="(/[^"#]*)"', service.client.get("/").text + service.client.get("/docs").text)
    scripts = {
        "/page/card.js",
        "/page/picture.js",
        "/page/magma.js",
        "/page/recorder.js",
        "/page/service.js",
        "/page/words.js",
    }
    for name in {*names, *scripts}:
        response = service.client.get(name)
        assert response.status_code == 200, name
        assert "default-src 'self'" in response.headers["content-security-policy"]
        assert not re.search(r"https?://(?!localhost)", re.sub(r"https://(swagger|github)\S*", "", response.text)), name


# What it refuses: the values


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("top_k=0", "top_k is 0; input should be greater than or equal to 1"),
        ("top_k=many", "top_k is many; input should be a valid integer"),
        ("reject=perhaps", "reject is perhaps; input should be a valid boolean"),
    ],
)
def test_values_out_of_range_are_named(service, tone, encoded, query, sentence):
    response = service.client.post(f"/v1/classify?{query}", content=encoded(tone(300, 1)))
    assert sentence in read_problem(response, 422, "wrong-value")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("threshold=7", "The threshold is 7; it is a probability"),
        ("window_s=99", "This model cannot hear windows of 99 s"),
        ("hop_s=nan", "Windows cannot begin every nan s"),
        ("smooth=2", "give an odd number"),
        ("smooth=100001", "less than or equal to 999"),
        ("min_duration_s=inf", "cannot last inf s"),
    ],
)
def test_settings_of_a_timeline_say_what_the_command_line_says(service, tone, encoded, query, sentence):
    response = service.client.post(f"/v1/timeline?{query}", content=encoded(tone(300, 1)))
    assert sentence in read_problem(response, 422, "wrong-value")


def test_other_addresses_and_methods_are_problems_too(service):
    assert "/docs lists" in read_problem(service.client.get("/admin"), 404, "not-found")
    assert "/docs lists" in read_problem(service.client.get("/page/../app.py"), 404, "not-found")
    assert "does not take GET" in read_problem(service.client.get("/v1/classify"), 405, "wrong-method")


# What it refuses: the sounds


def test_the_sentence_is_the_one_of_the_command_line(service, tmp_path):
    from typer.testing import CliRunner

    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"\xff\xfb" + bytes(2000))
    with pytest.raises(SoundError) as said:
        CliRunner().invoke(command_line, ["show", str(broken)], catch_exceptions=False)
    sentence = read_problem(service.classify(broken.read_bytes(), "broken.mp3"), 422, "unreadable")
    assert sentence == str(said.value).replace(str(broken), "broken.mp3")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"Dear Sir or Madam", "is text, not sound"),
        (b"", "is empty (0 bytes)"),
        (bytes(10_000), "is not in a sound format"),
        (b"\x1f\x8b\x08\x00" + bytes(500), "is not in a sound format"),  # gzip
        (b"PK\x03\x04" + bytes(500), "is not in a sound format"),  # zip
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "is damaged beyond reading"),
    ],
)
def test_what_is_no_sound_is_refused(service, content, sentence):
    assert sentence in read_problem(service.classify(content, "a.wav"), 422, "unreadable")


def test_nan_samples_are_refused(service, encoded):
    content = encoded(np.full(8_000, np.nan, dtype=np.float32), subtype="FLOAT")
    assert "a.wav holds NaN or infinite values" in read_problem(service.classify(content), 422, "unreadable")


@pytest.mark.parametrize("kind", ["application/json", "text/html", "image/png", "application/x-www-form-urlencoded"])
def test_other_content_types_are_refused_with_the_way_to_do_it(service, kind):
    response = service.client.post("/v1/classify", content=b"{}", headers={"content-type": kind})
    sentence = read_problem(response, 415, "wrong-type")
    assert sentence.startswith(f"The content type is {kind}; send sounds as multipart/form-data")


def test_packed_bodies_are_refused(service):
    response = service.client.post("/v1/classify", content=b"x", headers={"content-encoding": "gzip"})
    assert "packed with gzip; send it as it is" in read_problem(response, 415, "wrong-type")


def test_a_request_without_a_sound_is_told_how(service):
    assert "no body" in read_problem(service.client.post("/v1/classify"), 400, "no-file")
    form = service.client.post("/v1/classify", files={"comment": (None, "hello")})
    assert "holds no file" in read_problem(form, 400, "no-file")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "a\x00.wav", "%2e%2e%2fx", "x" * 1000]
)
def test_names_with_tricks_name_nothing_on_the_disk(service, tone, encoded, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    response = service.classify(encoded(tone(300, 1)), name)
    assert response.json()["results"][0]["prediction"][0]["label"] == "low"
    shown = response.json()["results"][0]["file"]
    assert "/" not in shown
    assert "\\" not in shown
    assert len(shown) <= 100
    assert list(tmp_path.iterdir()) == []


def test_a_large_upload_leaves_no_file_anywhere(serve, tone, encoded, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "TemporaryFile", None)  # what forms would be spooled to
    with serve() as fresh:
        content = encoded(tone(300, 300))
        assert len(content) > 4_000_000
        assert fresh.classify(content).status_code == 200


# What it refuses: too much


def test_too_large_a_body_is_refused_by_its_length_and_by_its_bytes(serve, tone, encoded):
    with serve(max_body_mb=0.1) as small:
        stated = small.client.post("/v1/classify", content=bytes(200_000))
        assert "larger than the 0.1 MB" in read_problem(stated, 413, "too-large")
        counted = small.client.post("/v1/classify", content=(bytes(10_000) for _ in range(20)))
        assert "--max-body-mb" in read_problem(counted, 413, "too-large")
        form = small.classify(bytes(200_000))
        read_problem(form, 413, "too-large")
        assert small.classify(encoded(tone(300, 1))).status_code == 200
        small.wait_until(lambda: small.service.admission.held == 0)


def test_too_many_files_are_refused(serve):
    with serve(max_files=3) as few:
        response = few.client.post("/v1/classify", files=[("file", ("a", b"x"))] * 4)
        assert "Too many files" in read_problem(response, 400, "incomplete")


def test_a_ten_hour_file_is_refused_at_once(service, encoded):
    content = encoded(np.zeros(36_000_000, dtype=np.int16), 1_000, form="FLAC")
    sentence = read_problem(service.classify(content, "night.flac"), 413, "too-long")
    assert sentence.startswith("night.flac lasts 10 hours, and this service takes 1 hour of sound")


def test_half_an_upload_is_told_so_in_time(serve, tone, encoded):
    with serve(max_silence_s=0.3) as strict:
        answer = talk(strict.port, head("/v1/classify", 1000) + bytes(500))
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"After 500 bytes of the request nothing more came in time" in answer
        assert strict.classify(encoded(tone(300, 1))).status_code == 200
        strict.wait_until(lambda: not strict.service.admission.requests)
        assert strict.service.admission.held == 0


def test_an_upload_that_trickles_is_ended(serve):
    with serve(max_silence_s=5, max_upload_s=0.5) as strict:
        answer = talk(strict.port, head("/v1/classify", 1000) + bytes(10), more=bytes(10), then_s=0.3)
        assert answer.startswith(b"HTTP/1.1 408")


def test_a_form_that_breaks_off_is_refused(service):
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'
    answer = talk(service.port, head("/v1/classify", len(body), "Content-Type: multipart/form-data; boundary=x") + body)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"breaks off before its end" in answer
    no_boundary = service.client.post("/v1/classify", content=body, headers={"content-type": "multipart/form-data"})
    assert "Missing boundary" in read_problem(no_boundary, 400, "incomplete")


def test_a_client_that_leaves_midway_leaves_nothing_behind(service, tone, encoded):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(head("/v1/classify", 1_000_000) + bytes(50_000))
    service.wait_until(lambda: not service.service.admission.requests)
    assert service.service.admission.held == 0
    assert service.classify(encoded(tone(300, 1))).status_code == 200


def test_what_is_no_http_is_sent_away(service):
    assert talk(service.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert service.client.get("/healthz").status_code == 200


def test_a_connection_that_says_nothing_is_closed(serve, monkeypatch):
    from earmark.serving import server

    monkeypatch.setattr(server, "HEAD_S", 0.2)
    with serve() as strict:
        for beginning in (b"", b"GET /healthz HTTP/1.1\r\nHost:"):
            with socket.create_connection(("127.0.0.1", strict.port), timeout=5) as connection:
                connection.sendall(beginning)
                assert connection.recv(1) == b""
        with socket.create_connection(("127.0.0.1", strict.port), timeout=5) as connection:
            connection.sendall(head("/healthz", 0, method="GET"))
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            connection.sendall(b"GET /")  # nor does a second request take for ever
            while received := connection.recv(65_536):
                assert b"HTTP/1.1" not in received


def test_beyond_its_queue_the_service_says_when_to_come_back(serve, tone, encoded):
    with serve(max_working=3) as busy, ThreadPoolExecutor(3) as pool:
        content = encoded(tone(300, 1))
        busy.network.gate.clear()
        accepted = [pool.submit(busy.classify, content) for _ in range(3)]
        busy.wait_until(lambda: busy.service.admission.working == 3)
        refused = busy.classify(content)
        assert "(3 requests are being answered); try again" in read_problem(refused, 503, "busy")
        assert int(refused.headers["retry-after"]) >= 1
        assert busy.client.get("/healthz").status_code == 200  # that it is busy does not make it ill
        busy.network.gate.set()
        assert [future.result().status_code for future in accepted] == [200, 200, 200]
        assert busy.classify(content).status_code == 200


def test_requests_that_wait_are_answered_together(serve, tone, encoded):
    with serve() as busy, ThreadPoolExecutor(8) as pool:
        busy.network.gate.clear()
        waiting = [pool.submit(busy.classify, encoded(tone(300 + 300 * number, 1))) for number in range(8)]
        busy.wait_until(lambda: busy.service.admission.working == 8)
        time.sleep(0.2)  # until all have been decoded
        busy.network.gate.set()
        labels = [future.result().json()["results"][0]["prediction"][0]["label"] for future in waiting]
        assert labels == ["low"] * 3 + ["high"] * 5
        assert sum(map(len, busy.network.runs)) == 8
        assert len(busy.network.runs) < 8


def test_memory_for_uploads_is_bounded_over_all_requests(serve):
    with serve(max_body_mb=0.05, max_held_mb=0.06, max_silence_s=5) as small:
        with socket.create_connection(("127.0.0.1", small.port)) as first:
            first.sendall(head("/v1/classify", 45_000) + bytes(40_000))
            small.wait_until(lambda: small.service.admission.held == 40_000)
            refused = small.client.post("/v1/classify", content=bytes(30_000))
            assert "other uploads hold" in read_problem(refused, 503, "busy")
        small.wait_until(lambda: small.service.admission.held == 0)
        read_problem(small.client.post("/v1/classify", content=bytes(30_000)), 422, "unreadable")


def test_many_parallel_connections_are_answered_or_sent_away(serve, tone, encoded):
    body = encoded(tone(300, 0.1))
    request = head("/v1/classify", len(body), "Connection: close") + body
    with serve(max_requests=100, max_working=20) as crowded:
        connections = [socket.create_connection(("127.0.0.1", crowded.port), timeout=20) for _ in range(400)]
        for connection in connections:
            connection.sendall(request)
        statuses = []
        for connection in connections:
            with connection:
                statuses.append(int(connection.recv(65_536).split()[1]))
        assert len(statuses) == 400
        assert set(statuses) <= {200, 503}
        assert statuses.count(200) >= 1
        assert crowded.classify(body).status_code == 200
        assert crowded.service.admission.requests <= 1


def test_a_fault_of_ours_is_a_problem_without_its_inside(serve, tone, encoded, capsys):
    with serve() as broken:
        broken.network.run = lambda waveforms: 1 / 0
        sentence = read_problem(broken.classify(encoded(tone(300, 1))), 500, "failed")
        assert "its log has the details" in sentence
        del broken.network.run
        assert broken.classify(encoded(tone(300, 1))).status_code == 200
    assert "ZeroDivisionError" in capsys.readouterr().err


# The token


def test_with_a_token_only_the_page_is_open(serve, tone, encoded):
    with serve(token="sesame") as closed:
        for path in ("/", "/docs", "/openapi.json", "/healthz", "/page/page.js", "/style.css"):
            assert closed.client.get(path).status_code == 200, path
        for path in ("/v1/model", "/metrics", "/nothing"):
            response = closed.client.get(path)
            assert "Authorization: Bearer" in read_problem(response, 401, "token")
            assert response.headers["www-authenticate"] == "Bearer"
        content = encoded(tone(300, 1))
        assert closed.classify(content).status_code == 401
        for given, status in (("sesame", 200), ("sesam", 401), ("öffne", 401)):
            headers = {"authorization": f"Bearer {given}".encode()}
            assert closed.client.post("/v1/classify", content=content, headers=headers).status_code == status


def test_answers_are_utf_8_json(service, tone, encoded):
    response = service.classify(encoded(tone(300, 1)), "雨.wav")
    assert "铃 🔔" in response.content.decode()
    assert json.loads(response.content)["results"][0]["file"] == "雨.wav"
