"""The search service Exa, through its package, against a local server that answers as it does."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reference_engine.builtin.browser import Browser
from reference_engine.builtin.exa import Exa, exa, is_public
from reference_engine.errors import SetupError

PAGE = "<title>Lake Orla</title><p>It is 412 m deep【1†L1】.</p><a href='/maps'>Maps</a>"
ORLA, INSIDE = "https://lakes.example.org/orla", "http://192.168.0.1/admin"
ANSWERS = {
    "/search": {
        "requestId": "b5947044c4b78efa9552a7c89b306d95",
        "results": [
            {"id": INSIDE, "url": INSIDE, "title": "Router", "highlights": []},
            {"id": ORLA, "url": ORLA, "title": "Lake\nOrla", "highlights": ["412 m", "deep"]},
        ],
    },
    "/contents": {
        "requestId": "e492118ccdedcba5088bfc4357a8a125",
        "results": [{"id": ORLA, "url": ORLA, "title": "Lake Orla", "text": PAGE}],
        "statuses": [{"id": ORLA, "status": "success", "source": "cached"}],
    },
}


class Service(ThreadingHTTPServer):
    """Returns `answers`; `asked` has the paths and keys of the requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked, self.status = ANSWERS, [], 200
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.server.asked.append((path, self.headers.get("x-api-key")))
        body = json.dumps(self.server.answers[path]).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - the name that http.server calls

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Service() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


@pytest.fixture
def browser(server):
    pytest.importorskip("exa_py")
    return Browser(Exa("the-key", server.address))


def test_the_model_searches_and_opens_a_result(browser, server):
    shown = browser.call("search", {"query": "depth of Lake Orla"})
    assert shown.sources == (ORLA,)
    assert "【0†Lake Orla†lakes.example.org】 412 m … deep" in shown.output
    page = browser.call("open", {"id": 0}).output
    assert f"Lake Orla ({ORLA})" in page
    assert "It is 412 m deep〖1‡L1〗." in page
    assert "【0†Maps】" in page
    (cited,) = browser.citations("Deep【0†L3】【0†L1】.")
    assert (cited.page.url, cited.page.title) == (ORLA, "Lake Orla")
    assert browser.call("open", {"cursor": 0, "id": 0}).output.replace("[2]", "[1]") == page
    assert [key for _, key in server.asked] == ["the-key", "the-key"]


def test_a_service_that_fails_is_an_error_for_the_model(browser, server):
    server.status = 500
    found = browser.call("search", {"query": "lakes"})
    assert (found.failed, found.output) == (True, "The search service does not answer.")
    server.status, server.answers = 200, {path: {} for path in ANSWERS}
    assert browser.call("open", {"id": ORLA}).failed


def test_private_hosts_are_never_sent_to_a_service(browser, server):
    browser.call("search", {"query": "lakes"})
    assert "its host has no public name" in browser.call("open", {"id": INSIDE}).output
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://10.1.2.3/", "http://169.254.169.254/latest", "http://0/"),
        *("http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://127.1/"),
        *("http://0177.0.0.1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://[fd00::1]/"),
        *("http://localhost/", "http://LOCALHOST./", "http://printer/", "http://db.internal/"),
        *("http://a.local./", "http://user@localhost/", "http://example.com@127.0.0.1/"),
        *("file:///etc/passwd", "ftp://example.org/", "//example.org", "http://[bad", ""),
    ],
)
def test_private_urls_are_recognized(url):
    assert not is_public(url)


@pytest.mark.parametrize(
    "url", ["https://example.org/a?b", "http://8.8.8.8/", "https://[2606:4700::1111]/", ORLA]
)
def test_public_urls_are_recognized(url):
    assert is_public(url)


def test_a_service_needs_a_key(monkeypatch):
    pytest.importorskip("exa_py")
    monkeypatch.delenv("EXA_API_KEY", raising=False)
    with pytest.raises(SetupError, match="set EXA_API_KEY"):
        exa()
