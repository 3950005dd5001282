"""What the server of a view answers, and whom it refuses."""

import http.client
import json
from contextlib import closing
from urllib.parse import quote, urlsplit

import pytest
from replies import Reply
from reporting import finding, rollout, score
from viewing import followed, read_all, served, write, write_judgement

SCORES = [
    score("weather", 1),
    score("weather", 2, "invalid_response", findings=(finding("weather/chat/non-streaming/2"),)),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_judgement(folder, SCORES)
    write(folder, [rollout(each, [Reply(text="Sunny.")] * 2) for each in SCORES])
    with served(read_all(followed(folder))) as found:
        yield found


def get(address, path="", method="GET", **headers):
    parts = urlsplit(address)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=10)) as connection:
        connection.request(method, parts.path + path, headers=headers)
        response = connection.getresponse()
        return response, response.read()


def values(address, path):
    response, body = get(address, path)
    assert response.getheader("Content-Type").startswith("application/json")
    return json.loads(body)


def test_the_page_may_ask_only_its_server(address):
    response, body = get(address)
    page = body.decode()
    assert response.status == 200
    assert "connect-src &#39;self&#39;" in page
    assert "default-src &#39;none&#39;" in page
    assert "unsafe" not in page.partition("<style>")[0]
    assert "frame-ancestors 'none'" in response.getheader("Content-Security-Policy")


@pytest.mark.parametrize("path", ["", "rows", "samples", "attempt?record=x", "elsewhere"])
def test_no_answer_is_cached_framed_or_taken_for_something_else(address, path):
    response, _ = get(address, path)
    assert response.getheader("Cache-Control") == "no-store"
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    assert response.getheader("Referrer-Policy") == "no-referrer"
    assert response.getheader("Cross-Origin-Resource-Policy") == "same-origin"
    assert response.getheader("Access-Control-Allow-Origin") is None


def test_another_host_is_refused_whatever_it_asks_for(address):
    port = urlsplit(address).port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.nip.io:{port}"):
        for path in ("", "rows", "changes"):
            response, body = get(address, path, Host=host)
            assert (response.status, body) == (421, b"This address is not served here.")
    assert get(address, Host=f"localhost:{port}")[0].status == 200


def test_without_the_token_there_is_nothing(address):
    parts = urlsplit(address)
    assert len(parts.path.strip("/")) >= 20
    for path in ("/", "/rows", "/x/rows", f"/{parts.path.strip('/')[:-1]}/", "/../rows"):
        response, _ = get(f"http://{parts.netloc}{path}")
        assert response.status == 404


def test_nothing_can_be_changed(address):
    assert get(address, "rows", method="POST")[0].status == 405


def test_rows_come_in_parts(tmp_path):
    scores = [score(f"s{number}") for number in range(150)]
    write_judgement(tmp_path, scores)
    with served(followed(tmp_path)) as address:
        first, rest = values(address, "rows"), values(address, "rows?first=100")
        assert (first["total"], len(first["rows"]), len(rest["rows"])) == (150, 100, 50)
        assert rest["rows"][0]["sample"] == "s100"
        assert values(address, "rows?first=9999")["rows"] == []
        assert len(values(address, "rows?first=-1&text=s149")["rows"]) == 1


def test_an_attempt_has_its_place_its_transcript_and_its_commands(address):
    found = values(address, f"attempt?record={quote(SCORES[1].record)}&only=findings")
    assert found["at"] == 0
    assert found["score"]["findings"][0]["id"] == "usage.sum"
    assert found["transcript"]["exchanges"][0]["response"]["lines"]
    assert found["commands"] == ["curl http://test/v1/chat/completions"] * 2
    assert values(address, f"attempt?record={quote(SCORES[0].record)}&only=findings")["at"] is None


def test_an_unknown_attempt_is_named_so(address):
    response, body = get(address, "attempt?record=nothing")
    assert response.status == 404
    assert json.loads(body) == {"problem": "The run has no such attempt."}


def test_an_attempt_whose_record_is_damaged_is_a_problem_and_no_crash(tmp_path):
    write_judgement(tmp_path, SCORES[:1])
    (tmp_path / "rollouts.jsonl").write_text(f'{{"id":"{SCORES[0].record}"}}\n')
    with served(read_all(followed(tmp_path))) as address:
        response, body = get(address, f"attempt?record={quote(SCORES[0].record)}")
        assert response.status == 500
        assert "damaged" in json.loads(body)["problem"]


def test_samples_are_those_of_the_run(address):
    assert values(address, "samples") == ["tool calling/weather"]


def attempts(response):
    """The attempts of the next event."""
    event, blank = response.readline(), response.readline()
    assert (event[:6], blank) == (b"data: ", b"\n")
    return json.loads(event[6:])["attempts"]


def test_changes_arrive_as_events(tmp_path):
    write_judgement(tmp_path, SCORES, ended=False)
    with served(followed(tmp_path)) as address:
        parts = urlsplit(address)
        with closing(http.client.HTTPConnection(parts.netloc, timeout=10)) as connection:
            connection.request("GET", f"{parts.path}changes")
            response = connection.getresponse()
            assert response.getheader("Content-Type") == "text/event-stream"
            assert attempts(response) == 0
            write(tmp_path, [rollout(SCORES[0], [Reply(text="Sunny.")])])
            assert attempts(response) == 1
