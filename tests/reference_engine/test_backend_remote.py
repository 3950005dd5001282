"""vLLM, llama.cpp and ollama behind our server, simulated by servers that answer as documented.

Their answers follow the documentation: vLLM 0.28 (`/v1/completions`), llama.cpp as included in
llama-cpp-python 0.3.36 (`tools/server/README.md`), and ollama (docs.ollama.com).
"""

import asyncio
import contextlib
import json
import socket
from dataclasses import replace

import httpx
import openai
import pytest
from aiohttp import web
from scripted import CALL, CHAT_TOOL, FLAT_TOOL, running

from harmony.conversation import Conversation, User
from harmony.render import render_prompt
from harmony.vocabulary import encode, harmony_encoding, token_bytes
from reference_engine.backends.settings import BackendSettings
from reference_engine.backends.token_source import BackendError
from reference_engine.errors import SetupError
from reference_engine.generation.errors import ContextOverflowError
from reference_engine.generation.sampling import SamplingParams
from reference_engine.server.serve import open_engine
from reference_engine.server.settings import ServeSettings

ANSWER = (
    "<|channel|>analysis<|message|>Say 👋🏽.<|end|><|start|>assistant"
    "<|channel|>final<|message|>Hello 👋🏽 there.<|return|>"
)
MODEL = "gpt-oss-small"
USER = {"role": "user", "content": "Hi"}
PROMPT = render_prompt(Conversation((User("Hi"),)))
PARAMS = SamplingParams(64, seed=5, stop_token_ids=frozenset({200002, 200012, 199999}))


def sse(event: object) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()


def vllm(said: list[int], body: dict) -> list[bytes]:
    """A piece of two tokens, then one token each: servers under load join tokens."""
    pieces = []
    for at in [slice(0, 2), *(slice(n, n + 1) for n in range(2, len(said)))]:
        tokens = said[at]
        choice = {"index": 0, "text": "?", "token_ids": tokens, "finish_reason": None}
        if at.stop >= len(said):
            choice |= {"finish_reason": "stop", "stop_reason": said[-1]}
        if (top := body.get("logprobs")) is not None:
            choice["logprobs"] = {
                "tokens": [f"token_id:{token}" for token in tokens],
                "token_logprobs": [-2.5] * len(tokens),
                "text_offset": [0] * len(tokens),
                "top_logprobs": [
                    {f"token_id:{token}": -2.5} | {f"token_id:{n}": -1.0 - n for n in range(top)}
                    for token in tokens
                ],
            }
        pieces.append(sse({"id": "cmpl-1", "object": "text_completion", "choices": [choice]}))
    return [*pieces, b"data: [DONE]\n\n"]


def llama_cpp(said: list[int], body: dict) -> list[bytes]:
    """No event for a token that ends within a character."""
    events, held = [], b""
    special = len(token_bytes())
    for count, token in enumerate(said, 1):
        held += token_bytes()[token] if token < special else ids_text(token)
        try:
            text = held.decode()
        except UnicodeDecodeError:
            continue
        held = b""
        event = {"index": 0, "content": text, "tokens": [token], "stop": False}
        event |= {"id_slot": 0, "tokens_predicted": count, "tokens_evaluated": 9}
        if top := body["n_probs"]:
            others = [{"id": n, "token": "", "bytes": [], "logprob": -1.0 - n} for n in range(top)]
            drawn = {"id": token, "token": text, "bytes": [], "logprob": -2.5}
            event["completion_probabilities"] = [drawn | {"top_logprobs": others}]
        events.append(sse(event))
    end = {"content": "", "tokens": [], "stop": True, "stop_type": "eos", "tokens_predicted": count}
    return [*events, sse(end)]


def ids_text(token: int) -> bytes:
    return harmony_encoding().decode([token]).encode()


def ollama(said: list[int], body: dict) -> list[bytes]:
    """Text in pieces that cut markers, and no stop token."""
    text = harmony_encoding().decode(said[:-1])
    parts = [text[n : n + 5] for n in range(0, len(text), 5)]
    end = {"model": "gpt-oss:20b", "response": "", "done": True, "done_reason": "stop"}
    events = [{"model": "gpt-oss:20b", "response": part, "done": False} for part in parts]
    return [json.dumps(event).encode() + b"\n" for event in [*events, end]]


WRITERS = {"vllm": vllm, "llama.cpp": llama_cpp, "ollama": ollama}
PATHS = {"vllm": "/v1/completions", "llama.cpp": "/completion", "ollama": "/api/generate"}
ABOUT = {
    "/v1/models": {"object": "list", "data": [{"id": "openai/gpt-oss-20b", "max_model_len": 4096}]},
    "/props": {"default_generation_settings": {"n_ctx": 4096}, "total_slots": 1},
    "/api/tags": {"models": [{"name": "llama3:latest"}, {"name": "gpt-oss:20b"}]},
}


class Upstream:
    """One of the servers; `trouble` makes its completions fail."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.said = ANSWER
        self.trouble = ""
        self.bodies: list[dict] = []
        self.gone = asyncio.Event()
        self.release = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serving(self):
        app = web.Application()
        for path in ABOUT:
            app.router.add_get(path, self.tell)
        app.router.add_post(PATHS[self.name], self.complete)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await web.SockSite(runner, listener).start()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                self.release.set()
                await runner.cleanup()

    async def tell(self, request: web.Request) -> web.Response:
        return web.json_response(ABOUT[request.path])

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        if self.trouble.isdigit():
            return web.Response(
                status=int(self.trouble), text="secret of theirs", headers={"Retry-After": "7"}
            )
        reply = web.StreamResponse()
        await reply.prepare(request)
        pieces = WRITERS[self.name](encode(self.said), self.bodies[-1])
        try:
            await self.write(reply, pieces)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise
        return reply

    async def write(self, reply: web.StreamResponse, pieces: list[bytes]) -> None:
        half = len(pieces) // 2
        match self.trouble:
            case "cut":
                pieces = pieces[:half]
            case "garbage":
                pieces[half] = b"data: <html>oops</html>\n\n"
            case "error":
                pieces[half] = sse({"error": {"message": "secret of theirs", "code": 500}})
            case "endless line":
                pieces[half] = b"data: " + b"x" * 2**22
        for count, piece in enumerate(pieces):
            await reply.write(piece)
            if self.trouble == "silence" and count == half:
                await self.release.wait()


@pytest.fixture(params=list(WRITERS))
async def upstream(request):
    served = Upstream(request.param)
    async with served.serving() as url:
        yield served, await opened(request.param, url)


@pytest.fixture
def server(upstream):
    return upstream[0]


@pytest.fixture
def engine(upstream):
    return upstream[1]


async def opened(name: str, url: str, **more):
    settings = BackendSettings(name=name, url=url + "/v1", timeout=0.5, **more)
    return await asyncio.to_thread(open_engine, ServeSettings(backend=settings))


def seed_of(body: dict) -> int:
    return body.get("options", body)["seed"]


@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**63])
async def test_requests_without_a_seed_get_a_random_one_in_range(server, engine, seed):
    async for _ in engine.generate(PROMPT, replace(PARAMS, seed=seed)):
        pass
    [body] = server.bodies
    assert 0 <= seed_of(body) < 2**31


@pytest.mark.parametrize("top_k", [0, 20])
async def test_the_limits_of_sampling_are_passed_on(server, engine, top_k):
    async for _ in engine.generate(PROMPT, replace(PARAMS, top_p=0.9, top_k=top_k)):
        pass
    [body] = server.bodies
    sent = body.get("options", body)
    assert (sent["top_p"], sent["top_k"]) == (0.9, top_k)
    if server.name == "llama.cpp":  # top_p is a share of the top_k tokens
        assert body["samplers"] == ["temperature", "top_k", "top_p"]


async def test_tokens_are_returned_as_the_model_wrote_them(server, engine):
    tokens = [token async for token in engine.generate(PROMPT, PARAMS)]
    assert harmony_encoding().decode([token.id for token in tokens]) == ANSWER
    [body] = server.bodies
    wanted = PROMPT if server.name != "ollama" else harmony_encoding().decode(PROMPT)
    assert body["prompt"] == wanted
    assert seed_of(body) == 5
    assert engine.max_context == (8192 if server.name == "ollama" else 4096)


async def test_log_probabilities_come_with_token_ids(server, engine):
    params = SamplingParams(64, stop_token_ids=PARAMS.stop_token_ids, top_logprobs=2)
    if server.name == "ollama":
        with pytest.raises(BackendError, match="does not support logprobs") as caught:
            await anext(engine.generate(PROMPT, params))
        assert caught.value.status == 400
        return
    first, *_ = [token async for token in engine.generate(PROMPT, params)]
    assert (first.id, first.logprob, first.top) == (200005, -2.5, ((0, -1.0), (1, -2.0)))


@pytest.mark.parametrize("said", [ANSWER, CALL])
async def test_both_apis_work_with_each_server(server, engine, said):
    server.said = said
    with running(engine) as url:
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            chat = await client.chat.completions.create(
                model=MODEL, messages=[USER], tools=[CHAT_TOOL]
            )
            events = [
                event.type
                async for event in await client.responses.create(
                    model=MODEL, input="Hi", tools=[FLAT_TOOL], stream=True
                )
            ]
    message = chat.choices[0].message
    if said is CALL:
        assert message.tool_calls[0].function.arguments == '{"city": "Rome"}'
        assert "response.function_call_arguments.done" in events
    else:
        assert (message.content, message.reasoning) == ("Hello 👋🏽 there.", "Say 👋🏽.")
    assert events[-1] == "response.completed"


TROUBLES = {
    "429": (429, "rate_limit_exceeded"),
    "503": (503, "backend_overloaded"),
    "500": (502, "backend_error"),
    "401": (502, "backend_error"),
    "cut": (502, "backend_error"),
    "garbage": (502, "backend_error"),
    "error": (502, "backend_error"),
    "endless line": (502, "backend_error"),
    "silence": (503, "backend_timeout"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_errors_of_the_server_have_the_format_of_openai(server, engine, trouble):
    server.trouble = trouble
    status, code = TROUBLES[trouble]
    asked = {"model": MODEL, "messages": [USER]}
    with running(engine) as url:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            whole = await client.post("/chat/completions", json=asked)
            streamed = await client.post("/chat/completions", json=asked | {"stream": True})
    assert whole.status_code == status
    error = whole.json()["error"]
    assert error["code"] == code
    assert server.name in error["message"]
    assert "secret" not in whole.text
    if status == 429:
        assert whole.headers["Retry-After"] == "7"
    assert code in streamed.text
    assert "secret" not in streamed.text


async def test_a_disconnected_client_ends_the_upstream_request(server, engine):
    server.trouble = "silence"
    tokens = engine.generate(PROMPT, PARAMS)
    await anext(tokens)
    await tokens.aclose()
    async with asyncio.timeout(10):
        await server.gone.wait()


async def test_token_limit_and_context_are_enforced(engine):
    three = SamplingParams(3, stop_token_ids=PARAMS.stop_token_ids)
    assert len([token async for token in engine.generate(PROMPT, three)]) == 3
    with pytest.raises(ContextOverflowError):
        await anext(engine.generate([1] * engine.max_context, PARAMS))


async def test_a_lost_connection_to_the_server_is_a_502(server, engine):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    engine._settings = BackendSettings(name=server.name, url=f"http://127.0.0.1:{port}")
    with pytest.raises(BackendError, match="cannot be reached") as caught:
        await anext(engine.generate(PROMPT, PARAMS))
    assert caught.value.code == "backend_unreachable"
    with pytest.raises(SetupError, match="start it, or correct"):
        await opened(server.name, f"http://127.0.0.1:{port}")


async def test_an_unknown_model_is_rejected():
    async with Upstream("vllm").serving() as url:
        with pytest.raises(SetupError, match="serves openai/gpt-oss-20b, not other"):
            await opened("vllm", url, model="other")
        with pytest.raises(SetupError, match="HTTP 404"):
            await opened("vllm", url + "/nowhere")
        with pytest.raises(SetupError, match="choose one of its models with --backend-model"):
            await opened("ollama", url, model="other")
