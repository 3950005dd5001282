"""A server process with random weights, and what happens when client or server stops."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import torch
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from safetensors.torch import save_file
from scripted import CHAT_TOOL, FLAT_TOOL, ScriptedEngine, running
from waiting import wait_for

from harmony.parse import FIRST_SPECIAL
from reference_engine.__main__ import main
from reference_engine.checkpoint.layouts import sources
from reference_engine.model.config import ModelConfig

MODEL = "gpt-oss-small"
USER = {"role": "user", "content": "Hi"}
ASKED = {"/chat/completions": {"messages": [USER]}, "/responses": {"input": "Hi"}}
"""By endpoint, what is asked."""
CONFIG = ModelConfig(
    vocab_size=201088, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=8, num_local_experts=2, num_experts_per_tok=1,
    intermediate_size=16,
)  # fmt: skip


def random_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: (torch.randn(shape, generator=generator) * 0.1).bfloat16()
        for source in sources(CONFIG, "hf").values()
        for name, shape in source.tensors
    }


def written(folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file(tensors, folder / "model.safetensors")
    config = {**vars(CONFIG), "model_type": "gpt_oss"}
    folder.joinpath("config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Random weights with flat logits: any token may be drawn, including markers."""
    return written(tmp_path_factory.mktemp("random"), random_weights())


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """The same weights, but markers have a logit near -40: no answer ends before its limit."""
    tensors = random_weights()
    tensors["model.embed_tokens.weight"][:, 0] = 10
    tensors["model.norm.weight"][0] = 1
    tensors["lm_head.weight"][:, 0] = 0
    tensors["lm_head.weight"][FIRST_SPECIAL:, 0] = -10
    return written(tmp_path_factory.mktemp("endless"), tensors)


class Process:
    """The server in a separate process."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "reference_engine", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
        )  # fmt: skip
        ready = self.process.stderr.readline()
        assert ready.startswith("Serving "), ready + self.process.stderr.read()
        self.url = ready.split()[-1]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """The exit code, and the output after the server was ready."""
        try:
            _, rest = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
        return self.process.returncode, rest


@pytest.fixture(scope="module")
def process(checkpoint):
    each = Process("--checkpoint", str(checkpoint), "--threads", "1", "--max-context", "600")
    yield each
    each.signal(signal.SIGTERM)
    assert each.ended() == (0, "")


async def ask_all(url: str, bodies: list[tuple[str, dict]]) -> list[httpx.Response]:
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        return await asyncio.gather(*(client.post(path, json=body) for path, body in bodies))


@pytest.mark.slow
async def test_random_weights_give_well_formed_answers_to_everything(process):
    bodies: list[tuple[str, dict]] = []
    for seed in range(6):
        common = {"model": MODEL, "seed": seed, "stream": bool(seed % 2)}
        for choice in ("auto", "required", "none"):
            chat = {"messages": [USER], "tools": [CHAT_TOOL], "tool_choice": choice, "stop": "e"}
            bodies.append(("chat/completions", common | chat | {"max_tokens": 60}))
            flat = {"input": "Hi", "tools": [FLAT_TOOL], "tool_choice": choice}
            bodies.append(("responses", common | flat | {"max_output_tokens": 60}))
    for (path, body), reply in zip(bodies, await ask_all(process.url, bodies), strict=True):
        assert reply.status_code == 200, reply.text
        if body["stream"]:
            assert "response.failed" not in reply.text
            assert '{"error"' not in reply.text
            assert reply.text.endswith("data: [DONE]\n\n" if path != "responses" else "\n\n")
        elif path == "responses":
            Response.model_validate_json(reply.text)
        else:
            ChatCompletion.model_validate_json(reply.text)


@pytest.mark.slow
async def test_the_same_seed_gives_the_same_answer_under_load(process):
    body = {"model": MODEL, "messages": [USER], "seed": 7, "max_tokens": 30}
    (alone,) = await ask_all(process.url, [("chat/completions", body)])
    crowd = [("chat/completions", body | {"seed": seed}) for seed in (7, 8, 9, 7)]
    replies = await ask_all(process.url, crowd)
    texts = [json.dumps(reply.json()["choices"][0]["message"]) for reply in (alone, *replies)]
    assert texts[0] == texts[1] == texts[4]
    assert texts[0] != texts[2]


@pytest.mark.slow
def test_a_signal_ends_the_process_and_its_streams(endless):
    process = Process(
        "--checkpoint", str(endless), "--threads", "1", "--api-key-env", "TEST_KEY",
        "--model-name", "a", "--model-name", "b", "--current-date", "today",
        environment={"TEST_KEY": "secret"},
    )  # fmt: skip
    body = {"model": "b", "input": "Hi", "stream": True, "max_output_tokens": 5000}
    headers = {"Authorization": "Bearer secret"}
    with httpx.stream(
        "POST", f"{process.url}/responses", json=body, headers=headers, timeout=30
    ) as reply:
        pieces = reply.iter_text()
        text = next(pieces)
        process.signal(signal.SIGINT)
        begin = time.monotonic()
        text += "".join(pieces)
    assert process.ended() == (0, "")
    assert time.monotonic() - begin < 10
    assert text.strip().split("\n\n")[-1].startswith("event: response.failed\n")


@pytest.mark.slow
def test_a_signal_right_after_startup_ends_the_process_cleanly(checkpoint):
    process = Process("--checkpoint", str(checkpoint), "--threads", "1")
    process.signal(signal.SIGTERM)
    assert process.ended() == (0, "")


@pytest.fixture
def run(capsys):
    """Runs a command in this process and returns its exit code and its error."""

    def ran(*arguments: str) -> tuple[int, str]:
        return main(arguments), capsys.readouterr().err

    return ran


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--api-key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"),
        (["--current-date", "tomorrow"], "YYYY-MM-DD"),
        (["--allow-origin", "http://localhost:3000/"], "SCHEME://HOST"),
        (["--allow-origin", "http://"], "SCHEME://HOST"),
        (["--allow-origin", "localhost"], "SCHEME://HOST"),
        (["--port", "70000"], "65535"),
        (["--port", "http"], 'unable to convert "http" into int'),
        (["--max-batch", "0"], "Must be >= 1"),
        (["--dtype", "int4"], "--dtype"),
    ],
)
def test_wrong_options_are_reported_immediately(arguments, said, run):
    code, error = run("serve", *arguments)
    assert code == 2
    assert said in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_a_busy_port_and_a_missing_checkpoint_are_reported_in_one_sentence(tmp_path, run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, error = run("serve", "--port", port)
    assert (code, error.count("\n")) == (2, 1)
    assert f"127.0.0.1:{port}" in error
    code, error = run("serve", "--port", "0", "--checkpoint", str(tmp_path / "nothing"))
    assert (code, error.count("\n")) == (2, 1)
    assert "nothing" in error


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("stream", [False, True])
def test_a_disconnected_client_cancels_its_generation(path, stream):
    engine = ScriptedEngine("<|channel|>final<|message|>" + "word " * 1000)
    engine.pause = 0.02
    body = {"model": MODEL, "stream": stream, **ASKED[path]}
    with running(engine) as url:
        if stream:
            with httpx.stream("POST", url + path, json=body) as reply:
                next(reply.iter_bytes())
        else:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url + path, json=body, timeout=httpx.Timeout(5, read=0.5))
        wait_for(lambda: engine.cancelled == len(engine.prompts))


@pytest.mark.parametrize("path", ASKED)
def test_a_stream_begins_when_the_request_is_admitted(path):
    engine = ScriptedEngine()
    engine.pause = 3600.0  # before the first token
    body = {"model": MODEL, "stream": True, **ASKED[path]}
    with running(engine) as url, httpx.stream("POST", url + path, json=body, timeout=30) as reply:
        opening = next(reply.iter_text())
    assert ('"role":"assistant"' if path == "/chat/completions" else "response.created") in opening


def test_requests_in_flight_end_when_the_server_stops():
    engine = ScriptedEngine("<|channel|>final<|message|>" + "word " * 1000)
    engine.pause = 0.02
    replies: dict[str, httpx.Response] = {}

    def ask(url: str, path: str, body: dict) -> None:
        replies[f"{path} {body['stream']}"] = httpx.post(url + path, json=body, timeout=60)

    with running(engine) as url:
        threads = []
        for path, given in ASKED.items():
            for stream in (False, True):
                body = {"model": MODEL, "stream": stream, **given}
                threads.append(threading.Thread(target=ask, args=(url, path, body)))
                threads[-1].start()
        wait_for(lambda: len(engine.prompts) == 4)
        time.sleep(0.2)
        begin = time.monotonic()
    assert time.monotonic() - begin < 2.5
    for thread in threads:
        thread.join()
    assert replies["/chat/completions False"].status_code == 503
    assert replies["/responses False"].status_code == 503
    assert (
        replies["/chat/completions True"]
        .text.strip()
        .split("\n\n")[-1]
        .startswith('data: {"error"')
    )
    assert "event: response.failed" in replies["/responses True"].text


@pytest.mark.slow
def test_after_an_error_of_the_gpu_the_server_ends_with_one_sentence(checkpoint):
    program = """
import sys, torch
from reference_engine.__main__ import main
from reference_engine.model.transformer import RMSNorm
def fail(self, stream):
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
RMSNorm.forward = fail
sys.exit(main(sys.argv[1:]))
"""
    command = ["serve", "--port", "0", "--threads", "1", "--checkpoint", str(checkpoint)]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *command], stderr=subprocess.PIPE, text=True
    )
    url = process.stderr.readline().split()[-1]
    body = {"model": MODEL, "messages": [USER], "max_tokens": 3}
    status = httpx.post(f"{url}/chat/completions", json=body, timeout=60).status_code
    assert status in {500, 503}  # 503 if the server ends before the request is read
    _, rest = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert rest.rstrip().endswith("The GPU reported an error (see above); start the server again.")
