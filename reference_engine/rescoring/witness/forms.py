"""The requests with which servers return the logprobs of given tokens, one class for each form.

Prompts and completions are token ids. Each answer names the tokens that it has values of, and they
are compared with those that were sent. The forms of vLLM 0.32.0 and llama.cpp b11549 were run, as
`benchmarks/real` starts these servers; those of SGLang 0.5.23 and LMDeploy 0.18.0 follow their
sources.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator

from harmony.parse import CALL, END_OF_TEXT, RETURN
from reference_engine.backends.dialects import LlamaCpp, Vllm
from reference_engine.generation.sampling import SamplingParams
from reference_engine.rescoring.witness.places import Place, UnreadError, place_of

_ENDS = frozenset({RETURN, CALL, END_OF_TEXT})
_TOKEN_ID = "token_id:"  # noqa: S105
_FORCED = 1000.0  # logit bias that makes a token the most probable one

Body = Mapping[str, Any]
Written = Sequence[tuple[int, float]]
"""Tokens that a server wrote, each with its logprob."""


class Form(ABC):
    """One kind of request. Its methods raise ValueError for an answer that has no such values."""

    name: ClassVar[str]
    path: ClassVar[str]  # of POST
    about: ClassVar[Sequence[tuple[str, str, str]]]
    """Paths of GET, the member that has the version there, and the server that it belongs to."""

    def __init__(self, model: str) -> None:
        """Ask for this model."""
        self._model = model

    @abstractmethod
    def reading(
        self, prompt: Sequence[int], completion: Sequence[int], top: int, sampling: Body
    ) -> Body:
        """Return the request for the logprobs of a completion, which is not empty.

        With each token come the `top` most probable ones. `sampling` has `temperature` and
        `top_p`, which must change nothing.
        """

    @abstractmethod
    def places(
        self, answer: bytes, prompt: Sequence[int], completion: Sequence[int], top: int
    ) -> Sequence[Place]:
        """Return the places of the completion from the answer."""

    @abstractmethod
    def writing(self, prompt: Sequence[int], count: int) -> Body:
        """Return the request for at most `count` tokens at temperature 0, with their logprobs."""

    @abstractmethod
    def written(self, answer: bytes) -> Written:
        """Return the tokens that the server wrote."""


def _greedy(count: int) -> SamplingParams:
    return SamplingParams(count, temperature=0, stop_token_ids=_ENDS, top_logprobs=1)


class _Ranked(BaseModel):
    logprob: float


class _Named(BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None = None


class _Choice(BaseModel):
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: list[dict[int, _Ranked] | None] | None = None
    logprobs: _Named | None = None


class _Choices(BaseModel):
    choices: Annotated[list[_Choice], BeforeValidator(lambda choices: choices[:1])]


def _choice(answer: bytes) -> _Choice:
    choices = _Choices.model_validate_json(answer).choices
    if not choices:
        raise UnreadError("its answer has no choice")
    return choices[0]


def _id_of(name: str) -> int:
    number = name.removeprefix(_TOKEN_ID)
    if number == name or not number.isdecimal():
        raise UnreadError("it names tokens by their texts")
    return int(number)


def _require_same(read: Sequence[int] | None, sent: Sequence[int]) -> None:
    if read is None:
        raise UnreadError("its answer does not name the tokens that it read")
    if list(read) != list(sent):
        raise UnreadError("it read other tokens than those that were sent")


class _Completions(Form):
    """The completions endpoint of vLLM; `Vllm` says which members it writes with."""

    path = "/v1/completions"
    about = (("/version", "version", "vLLM"),)

    def writing(self, prompt: Sequence[int], count: int) -> Body:
        """Return a request as for generation, in one piece."""
        asked = Vllm.request(self._model, prompt, _greedy(count), len(prompt) + count)
        return {**asked, "stream": False}

    def written(self, answer: bytes) -> Written:
        """Return the tokens by their names in the logprobs."""
        named = _choice(answer).logprobs
        if named is None:
            raise UnreadError("its answer has no logprobs")
        pairs = zip(named.tokens, named.token_logprobs, strict=True)
        return [(_id_of(name), value) for name, value in pairs if value is not None]


class PromptLogprobs(_Completions):
    """vLLM's `prompt_logprobs`; `return_token_ids` needs 0.10.2.

    They are raw: no option of sampling and no `--logprobs-mode` but `raw_logits` changes them. The
    first token has none. The server must not run out of memory for the logits of whole chunks.
    """

    name = "prompt_logprobs"

    def reading(
        self, prompt: Sequence[int], completion: Sequence[int], top: int, sampling: Body
    ) -> Body:
        """Return a request that also generates one token: vLLM refuses 0."""
        return {
            "model": self._model,
            "prompt": [*prompt, *completion],
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": top,
            "return_token_ids": True,
            **sampling,
        }

    def places(
        self, answer: bytes, prompt: Sequence[int], completion: Sequence[int], top: int
    ) -> Sequence[Place]:
        """Return the places, from one entry for each token of prompt and completion."""
        choice = _choice(answer)
        rows = choice.prompt_logprobs
        if rows is None:
            raise UnreadError("its answer has no prompt_logprobs")
        _require_same(choice.prompt_token_ids, (*prompt, *completion))
        if len(rows) != len(prompt) + len(completion):
            raise UnreadError(
                f"it returned {len(rows)} values for {len(prompt) + len(completion)} tokens"
            )
        found = []
        for token, row in zip(completion, rows[len(prompt) :], strict=True):
            if row is None or token not in row:
                raise UnreadError("the value of a token is missing")
            pairs = ((other, ranked.logprob) for other, ranked in row.items())
            found.append(place_of(row[token].logprob, pairs, top))
        return found


class Echo(_Completions):
    """`echo` with `logprobs`, tokens named by their ids (vLLM's `return_tokens_as_token_ids`)."""

    name = "echo"

    def reading(
        self, prompt: Sequence[int], completion: Sequence[int], top: int, sampling: Body
    ) -> Body:
        """Return a request that also generates one token."""
        return {
            "model": self._model,
            "prompt": [*prompt, *completion],
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": top,
            "return_tokens_as_token_ids": True,
            **sampling,
        }

    def places(
        self, answer: bytes, prompt: Sequence[int], completion: Sequence[int], top: int
    ) -> Sequence[Place]:
        """Return the places, without that of the generated token."""
        named = _choice(answer).logprobs
        if named is None:
            raise UnreadError("its answer has no logprobs")
        sent = (*prompt, *completion)
        rows = list(zip(named.token_logprobs, named.top_logprobs or (), strict=False))
        if not len(sent) <= len(rows) <= len(sent) + 1:
            raise UnreadError(f"it returned {len(rows)} values for {len(sent)} tokens")
        _require_same([_id_of(name) for name in named.tokens[: len(sent)]], sent)
        found = []
        for value, others in rows[len(prompt) : len(sent)]:
            if value is None or others is None:
                raise UnreadError("the value of a token is missing")
            found.append(place_of(value, ((_id_of(n), v) for n, v in others.items()), top))
        return found


_Value = Annotated[tuple[float | None, int], BeforeValidator(lambda value: value[:2])]
"""A logprob and a token id; SGLang adds the text."""


class _MetaInfo(BaseModel):
    input_token_logprobs: list[_Value] | None = None
    input_top_logprobs: list[list[_Value] | None] | None = None
    output_token_logprobs: list[_Value] | None = None


class _Generated(BaseModel):
    meta_info: _MetaInfo


class _Generate(Form):
    """The `/generate` of SGLang and of LMDeploy, which copies its members.

    The values begin one token after `logprob_start_len`; SGLang puts an empty one before them.
    """

    path = "/generate"

    def places(
        self, answer: bytes, prompt: Sequence[int], completion: Sequence[int], top: int
    ) -> Sequence[Place]:
        """Return the places of the last tokens that the server read."""
        found = _Generated.model_validate_json(answer).meta_info
        values, tops = found.input_token_logprobs, found.input_top_logprobs
        if values is None or tops is None:
            raise UnreadError("its answer has no logprobs of the input")
        count = len(completion)
        if not count <= len(values) <= count + 1 or len(tops) != len(values):
            raise UnreadError(f"it returned {len(values)} values for {count} tokens")
        _require_same([token for _, token in values[-count:]], completion)
        places = []
        for (value, _), others in zip(values[-count:], tops[-count:], strict=True):
            if value is None or others is None:
                raise UnreadError("the value of a token is missing")
            pairs = ((token, logprob) for logprob, token in others if logprob is not None)
            places.append(place_of(value, pairs, top))
        return places

    def written(self, answer: bytes) -> Written:
        """Return the tokens with their logprobs."""
        values = _Generated.model_validate_json(answer).meta_info.output_token_logprobs
        if values is None:
            raise UnreadError("its answer has no logprobs of the output")
        return [(token, value) for value, token in values if value is not None]


class Sglang(_Generate):
    """SGLang's `/generate`, which computes the logits of the completion only."""

    name = "SGLang /generate"
    about = (("/server_info", "version", "SGLang"), ("/get_server_info", "version", "SGLang"))

    def reading(
        self, prompt: Sequence[int], completion: Sequence[int], top: int, sampling: Body
    ) -> Body:
        """Return a request that also generates one token."""
        return {
            "input_ids": [*prompt, *completion],
            "sampling_params": {"max_new_tokens": 1, "temperature": 0, **sampling},
            "return_logprob": True,
            "logprob_start_len": len(prompt) - 1,
            "top_logprobs_num": top,
        }

    def writing(self, prompt: Sequence[int], count: int) -> Body:
        """Return a request for tokens of the output."""
        return {
            "input_ids": list(prompt),
            "sampling_params": {"max_new_tokens": count, "temperature": 0},
            "return_logprob": True,
            "top_logprobs_num": 1,
        }


class LMDeploy(_Generate):
    """LMDeploy's `/generate`: its PyTorch engine with `--logprobs-mode raw_logprobs`."""

    name = "LMDeploy /generate"
    about = ()

    def reading(
        self, prompt: Sequence[int], completion: Sequence[int], top: int, sampling: Body
    ) -> Body:
        """Return a request that generates nothing."""
        return {
            "input_ids": [*prompt, *completion],
            "max_tokens": 0,
            "return_logprob": True,
            "logprob_start_len": len(prompt) - 1,
            "top_logprobs_num": top,
            **sampling,
        }

    def writing(self, prompt: Sequence[int], count: int) -> Body:
        """Return a request for tokens of the output; top_k 1 is greedy."""
        return {
            "input_ids": list(prompt),
            "max_tokens": count,
            "top_k": 1,
            "return_logprob": True,
            "top_logprobs_num": 1,
        }


class _LlamaValue(BaseModel):
    id: int
    logprob: float


class _LlamaPlace(_LlamaValue):
    top_logprobs: list[_LlamaValue] = []


class _LlamaAnswer(BaseModel):
    tokens: list[int]
    completion_probabilities: list[_LlamaPlace] = []


class LlamaGrammar(Form):
    """llama.cpp's server writes the completion, as a grammar of token ids allows nothing else.

    The logprobs are those of the logits before grammar and bias. An end token has no place in a
    grammar, so that a bias makes the last token the most probable one. A token that ends within a
    character has no value.
    """

    name = "grammar"
    path = LlamaCpp.path
    about = ((LlamaCpp.listing, "build_info", "llama.cpp"),)

    def reading(
        self, prompt: Sequence[int], completion: Sequence[int], top: int, sampling: Body
    ) -> Body:
        """Return a request that writes the completion."""
        bound = completion[:-1] if completion[-1] in _ENDS else completion
        body = {
            "prompt": list(prompt),
            "n_predict": len(completion),
            "temperature": 0,
            "n_probs": top,
            "return_tokens": True,
            "cache_prompt": True,
            "logit_bias": [[completion[-1], _FORCED]],
            **sampling,
        }
        if bound:
            body["grammar"] = "root ::= " + " ".join(f"<[{token}]>" for token in bound)
        return body

    def places(
        self, answer: bytes, prompt: Sequence[int], completion: Sequence[int], top: int
    ) -> Sequence[Place]:
        """Return the places by the ids beside the values."""
        found = _LlamaAnswer.model_validate_json(answer)
        if found.tokens != list(completion):
            raise UnreadError("it wrote other tokens than the grammar allows")
        values = found.completion_probabilities
        if [value.id for value in values] != found.tokens:
            raise UnreadError("it returned no value for a token that ends within a character")
        return [
            place_of(value.logprob, ((v.id, v.logprob) for v in value.top_logprobs), top)
            for value in values
        ]

    def writing(self, prompt: Sequence[int], count: int) -> Body:
        """Return a request as for generation, in one piece."""
        asked = LlamaCpp.request(self._model, prompt, _greedy(count), len(prompt) + count)
        return {**asked, "stream": False}

    def written(self, answer: bytes) -> Written:
        """Return the tokens that have values."""
        values = _LlamaAnswer.model_validate_json(answer).completion_probabilities
        return [(value.id, value.logprob) for value in values]


FORMS: Sequence[type[Form]] = (PromptLogprobs, Echo, Sglang, LMDeploy, LlamaGrammar)
"""The forms in the order in which a server is asked for them."""
