"""A server that returns logprobs of given tokens, in each of the forms, or in a wrong way."""

import contextlib
import json
import math
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

from harmony.parse import CHANNEL, RETURN
from harmony.vocabulary import bytes_of, encode

MODEL = "gpt-oss-20b"
SAID = tuple(encode("<|channel|>final<|message|>The sea is wide and blue.<|return|>"))
_NEXT = dict(pairwise(SAID))
_KNOWN = (0.9, 0.06, 0.03)  # probabilities of the expected token and of the two after it
_OTHER = math.log((1 - sum(_KNOWN)) / (201_088 - len(_KNOWN)))
_PATHS = {
    "vllm": "/v1/completions",
    "echo": "/v1/completions",
    "sglang": "/generate",
    "lmdeploy": "/generate",
    "llama": "/completion",
}
_SPLIT = encode("🏽")[0]  # a token that ends within a character


def logprobs(prefix, top: int, token: int | None = None) -> dict[int, float]:
    """The `top` most probable tokens after a prefix, and another one."""
    expected = _NEXT.get(prefix[-1], CHANNEL)
    found = {expected + n: math.log(p) for n, p in enumerate(_KNOWN)}
    found |= {150_000 + n: _OTHER for n in range(max(0, top - len(found)))}
    found = dict(sorted(found.items(), key=lambda pair: -pair[1])[:top])
    if token is not None and token not in found:
        known = dict(enumerate(_KNOWN)).get(token - expected)
        found[token] = _OTHER if known is None else math.log(known)
    return found


@cache
def written(count: int) -> tuple[int, ...]:
    """What it writes at temperature 0."""
    return SAID[:count]


class ScriptedWitness:
    """Answers in one form of requests.

    Attributes:
        form: vllm, echo, sglang, lmdeploy or llama.
        wrong: The way in which it goes wrong, if any.
        bodies: The requests with tokens, in order.
        failures: The statuses of the next answers; 0 cuts the connection.
    """

    def __init__(self, form: str, wrong: str = "") -> None:
        self.form = form
        self.wrong = wrong
        self.bodies: list[dict] = []
        self.failures: list[int] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        witness = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_args) -> None:
                pass

            def do_GET(self) -> None:
                self.reply(*witness.told(self.path, self.headers.get("Authorization")))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = witness.failures.pop(0) if witness.failures else None
                if status == 0:
                    self.close_connection = True
                elif status:
                    self.reply(status, {"error": {"message": "not now"}})
                else:
                    self.reply(*witness.answered(self.path, body))

            def reply(self, status: int, answer: object) -> None:
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/v1"
            finally:
                server.shutdown()
                thread.join()
                self.failures = [0] * 9  # connections that are still open

    def told(self, path: str, key: str | None) -> tuple[int, object]:
        if self.wrong == "key":
            return 401, {"error": {"message": f"{key} is not valid"}}
        about: dict[str, tuple[tuple[str, ...], object]] = {
            "/v1/models": (tuple(_PATHS), self.listed()),
            "/version": (("vllm", "echo"), {"version": "0.32.0"}),
            "/server_info": (("sglang",), {"version": "0.5.23"}),
            "/props": (
                ("llama",),
                {"build_info": "b11549", "default_generation_settings": {"n_ctx": 4096}},
            ),
        }
        forms, answer = about.get(path, ((), None))
        return (200, answer) if self.form in forms else (404, {"detail": "Not Found"})

    def listed(self) -> object:
        return {"data": [{"id": MODEL} | ({"max_model_len": 4096} if self.form == "vllm" else {})]}

    def answered(self, path: str, body: dict) -> tuple[int, object]:
        """The status and the answer to a request."""
        with self._lock:
            self.bodies.append(body)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            if path != _PATHS.get(self.form):
                return 404, {"detail": "Not Found"}
            if self.wrong == "vocabulary":
                return 400, {"error": {"message": "Token id 200006 is out of vocabulary"}}
            return getattr(self, f"_{self.form}")(body)
        finally:
            with self._lock:
                self._now -= 1

    def places(
        self, prompt, completion, top: int, sampling: dict, reads: bool = True
    ) -> list[tuple[float, dict[int, float]]]:
        """Logprob and most probable tokens of each token of a completion, right or wrong."""
        found = []
        size = len(prompt) + len(completion)
        for at, token in enumerate(completion):
            known = logprobs([*prompt, *completion[:at]], top, token)
            known = self._changed(known, token, sampling.get("temperature") or 1)
            if reads and self.wrong == ("drafter" if size < 512 else "long drafter"):
                known[token] -= 3
            known = dict(sorted(known.items(), key=lambda pair: -pair[1]))
            found.append((known[token], known))
        return found

    def _changed(self, known, token: int, temperature: float):
        match self.wrong:
            case "logits":
                return {token: value + 80 for token, value in known.items()}
            case "low logits":
                return {token: value - 9 for token, value in known.items()}
            case "sums":
                return {token: value / 9 for token, value in known.items()}
            case "temperature":
                heated = {token: value / temperature for token, value in known.items()}
                whole = sum(p ** (1 / temperature) for p in _KNOWN)
                whole += (201_088 - len(_KNOWN)) * math.exp(_OTHER / temperature)
                return {token: value - math.log(whole) for token, value in heated.items()}
            case "everything probable":
                return known | {token: max(known[token], -4.8)}
            case "not a number":
                return known | {token: math.nan}
        return known

    def _counted(self, values: list) -> list:
        if self.wrong == "few":
            return values[3:]
        return values[1:] + values[-1:] if self.wrong == "shifted" else values

    def _writes(self, body: dict, prompt, count: int):
        said = (11,) * count if self.wrong == "other words" else written(count)
        said = () if self.wrong == "silent" else said
        return said, [value for value, _ in self.places(prompt, said, 1, body, reads=False)]

    def _vllm(self, body: dict) -> tuple[int, object]:
        ids = body["prompt"]
        if "prompt_logprobs" not in body:
            return self._written_by_vllm(body)
        if body["prompt_logprobs"] > (5 if self.wrong == "top 5" else 20):
            return 400, {"error": {"message": "Cannot return more prompt logprobs"}}
        if self.wrong == "ignored":
            return 200, {"choices": [{"text": "?", "prompt_token_ids": ids}]}
        found = self.places(ids[:1], ids[1:], body["prompt_logprobs"], body)
        rows = [
            {str(n): {"logprob": value, "rank": 1} for n, value in top.items()} for _, top in found
        ]
        rows = [None, *self._counted(rows)]
        if self.wrong == "missing":
            rows[-1] = None
        if self.wrong == "bos":
            ids = [199998, *ids[:-1]]
        choice = {"text": "?", "prompt_token_ids": ids, "prompt_logprobs": rows}
        if self.wrong == "unnamed":
            del choice["prompt_token_ids"]
        return 200, {"choices": [choice]}

    def _written_by_vllm(self, body: dict) -> tuple[int, object]:
        if body.get("echo"):
            return 200, {"choices": [{"text": "?"}]}
        said, values = self._writes(body, body["prompt"], body["max_tokens"])
        names = [f"token_id:{token}" for token in said]
        found = {"tokens": names, "token_logprobs": values, "top_logprobs": None}
        return 200, {"choices": [{"text": "?", "logprobs": found}]}

    def _echo(self, body: dict) -> tuple[int, object]:
        if not body.get("echo"):
            return self._written_by_vllm(body)
        ids = [*body["prompt"], 11]
        found = self.places(ids[:1], ids[1:], body["logprobs"], body)
        name = "{}" if self.wrong == "texts" else "token_id:{}"
        top = [{name.format(n): v for n, v in each.items()} for _, each in found]
        values = self._counted([None, *(value for value, _ in found)])
        names = [name.format(token) for token in ids]
        if self.wrong == "bos":
            names = [name.format(199998), *names[:-1]]
        said = {"tokens": names, "token_logprobs": values, "top_logprobs": [None, *top]}
        return 200, {"choices": [{"text": "?", "logprobs": said}]}

    def _sglang(self, body: dict) -> tuple[int, object]:
        return self._generated(body, body["sampling_params"], "max_new_tokens", [None])

    def _lmdeploy(self, body: dict) -> tuple[int, object]:
        start = body.get("logprob_start_len", -1)
        if start >= 0 and body.get("max_tokens", 128):
            return 400, {"message": "logprob_start_len requires max_tokens=0."}
        return self._generated(body, body, "max_tokens", [])

    def _generated(self, body, sampling, limit: str, before: list) -> tuple[int, object]:
        ids, start, top = (
            body["input_ids"],
            body.get("logprob_start_len", -1),
            body["top_logprobs_num"],
        )
        if start < 0:
            said, values = self._writes(body, ids, sampling[limit])
            pairs = [list(pair) for pair in zip(values, said, strict=True)]
            return 200, {"text": "?", "meta_info": {"output_token_logprobs": pairs}}
        if self.wrong == "ignored":
            return 200, {"text": "?", "meta_info": {"output_token_logprobs": [[-0.1, 11]]}}
        tokens = ids[start + 1 :]
        found = self.places(ids[: start + 1], tokens, top, sampling)
        shown = [199998, *tokens[:-1]] if self.wrong == "bos" else tokens
        values = [[value, token] for (value, _), token in zip(found, shown, strict=True)]
        tops = [[[value, n] for n, value in each.items()][:top] for _, each in found]
        empty = [[None, ids[start]]] if before else []
        values = self._counted(empty + values)
        tops = self._counted(before + tops)
        if self.wrong == "missing":
            tops[-1] = None
        meta = {"input_token_logprobs": values, "input_top_logprobs": tops}
        return 200, {"text": "?", "meta_info": meta}

    def _llama(self, body: dict) -> tuple[int, object]:
        bound = [int(part.strip("<[]>")) for part in body.get("grammar", "").split()[2:]]
        text = b"".join(map(bytes_of, bound))
        if RETURN in bound or text.decode("utf-8", "ignore").encode() != text:
            return 500, {"error": {"code": 500, "message": "Unexpected empty grammar stack"}}
        if "logit_bias" in body:
            said = [*bound, body["logit_bias"][0][0]][: body["n_predict"]]
        else:
            said = list(self._writes(body, body["prompt"], body["n_predict"])[0])
        if self.wrong == "ignored":
            said = [11] * len(said)
        found = self.places(body["prompt"], said, body["n_probs"], body, "logit_bias" in body)
        rows = [
            {
                "id": token,
                "logprob": value,
                "top_logprobs": [
                    {"id": n, "logprob": each} for n, each in list(top.items())[: body["n_probs"]]
                ],
            }
            for token, (value, top) in zip(said, found, strict=True)
            if token != _SPLIT
        ]
        return 200, {"content": "?", "stop": True, "tokens": said, "completion_probabilities": rows}
