"""The shipped checkpoint draws from the distribution that it reports, whatever else is asked."""

from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
import torch
from scipy import stats

from harmony.conversation import Conversation, FunctionTool, User
from harmony.render import render_prompt
from harmony.vocabulary import encode
from harness.golden.files import shipped
from harness.rules.numerics.golden_prompts import requests
from harness.run.cases import load_suite
from reference_engine.checkpoint import Checkpoint, load_model
from reference_engine.generation.runner import Runner
from reference_engine.generation.sampling import Draw, SamplingParams, Token, sample
from reference_engine.generation.sequence import Sequence
from reference_engine.generation.setup import runner_for
from reference_engine.model.config import VOCABULARY
from reference_engine.model.transformer import Transformer, UncachedContext
from reference_engine.server.chat_request import ChatRequest
from reference_engine.server.fields import parse_request
from reference_engine.small import SMALL_CHECKPOINT

RARE = (
    *("WORD", "sees", "zephyr", "Kumquat", "thistle", "obsidian", "marmalade", "Xylophone"),
    *("fjord", "wombat", "pergola", "quixotic", "Lisbon", "Ouagadougou", "tamarind", "gizzard"),
    *("plinth", "Zanzibar", "ocelot", "vermilion"),
)
SUITE = load_suite()
TOOLS = tuple(FunctionTool(tool.name, tool.description, tool.parameters) for tool in SUITE.tools)
FINAL = "<|channel|>final<|message|>"
TOKENS = 3
DRAWS, ROWS = 600, 8


@dataclass(frozen=True)
class Everything:
    """A grammar, and its own constraint, that allows all tokens."""

    def start(self, prompt):
        return self

    def take(self, token):
        return True

    def allowed(self):
        return torch.ones(VOCABULARY, dtype=torch.bool)


def prompts() -> list[tuple[int, ...]]:
    """Return prompts that end where the next tokens copy rare words, call tools, or think."""
    made = []
    for at, word in enumerate(RARE):
        other = RARE[at - 1]
        text = f"{word}{at} {other} 345 {word}s near the {word}"
        code = f"{word}-{other}-{at}"
        call = "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
        effort = ("low", "medium", "high")[at % 3]
        for asked, tools, begun in (
            (f"Repeat exactly: {text}", (), FINAL),
            (f"Repeat exactly: {text}", (), f"{FINAL}{word}{at}"),
            (f"Repeat exactly: {text}", (), f"{FINAL}{word}{at} {other} 345"),
            (f"Repeat exactly: {text}", (), ""),
            (f"The code word is {code}. What is the code word?", (), FINAL),
            (f"The code word is {code}. What is the code word?", (), f"{FINAL}{word}-"),
            (f"The code word is {code}. What is it?", (), "<|channel|>analysis<|message|>"),
            (f"How warm is it in {word} {other}?", TOOLS[:2], f'{call}{{"location": "'),
            (f"How warm is it in {word} {other}?", TOOLS[:2], f'{call}{{"location": "{word}'),
            (f"Translate {word} {other} into {RARE[at - 2]}.", (), ""),
        ):
            conversation = Conversation((User(asked),), tools, effort=effort)
            made.append((*render_prompt(conversation), *encode(begun)))
    return made


@pytest.fixture(scope="module")
def model() -> Transformer:
    return load_model(SMALL_CHECKPOINT, "cpu", torch.float32)


@pytest.fixture(scope="module")
def runner(model: Transformer) -> Runner:
    return runner_for(model, max_batch=64)


def generated(
    runner: Runner, asked: list[tuple[tuple[int, ...], SamplingParams]], batch: int = 64
) -> list[list[Token]]:
    """Return the tokens of each prompt, with at most `batch` of them at a time."""
    waiting = [Sequence(*request) for request in asked]
    tokens: dict[Sequence, list[Token]] = {sequence: [] for sequence in waiting}
    while waiting or runner.scheduler.running:
        while waiting and runner.scheduler.running < batch and runner.scheduler.fits(waiting[0]):
            runner.add(waiting.pop(0))
        for step in runner.step():
            assert step.token is not None
            tokens[step.sequence].append(step.token)
    return list(tokens.values())


def ids(made: list[list[Token]]) -> list[list[int]]:
    return [[token.id for token in tokens] for tokens in made]


def test_tokens_do_not_depend_on_logprobs_grammar_or_batch(runner: Runner) -> None:
    """Two hundred prompts are read three times, which takes 12 s of CPU.

    Fewer would show rare ties of logits in no batch.
    """
    asked = [
        (prompt, SamplingParams(TOKENS, temperature=(0, 0.7, 1)[number % 3], seed=number))
        for number, prompt in enumerate(prompts())
    ]
    assert len(asked) >= 200

    def ask(every: int = 1, batch: int = 64, **more: Any) -> list[list[Token]]:
        chosen = [(prompt, replace(params, **more)) for prompt, params in asked[::every]]
        return generated(runner, chosen, batch)

    expected = ask()
    with_logprobs = ask(top_logprobs=2)
    assert ids(with_logprobs) == ids(expected)
    assert ids(ask(grammar=Everything())) == ids(expected)
    assert ask(every=7, batch=1) == expected[::7]
    assert ask(every=11, batch=1, top_logprobs=2) == with_logprobs[::11]
    greedy = [token for tokens in with_logprobs[::3] for token in tokens]
    assert all(token.logprob == token.top[0][1] for token in greedy)


def test_greedy_tokens_are_those_of_the_golden_file(runner: Runner) -> None:
    asked = []
    for name, body in requests(model="gpt-oss-small").greedy.items():
        request = parse_request(ChatRequest, orjson.dumps(body))
        prompt = tuple(render_prompt(request.generation_request(None).conversation))
        golden = shipped().continuations[name].ids
        asked.append((prompt, SamplingParams(len(golden), temperature=0), golden))
    made = generated(runner, [(prompt, params) for prompt, params, _ in asked])
    assert ids(made) == [list(golden) for *_, golden in asked]


def test_draws_follow_the_softmax_of_all_logits(model: Transformer) -> None:
    """The expected frequencies are those of the plain product with the exported weights."""
    weight = Checkpoint(SMALL_CHECKPOINT).parameter(
        "unembedding.weight", torch.float64, torch.device("cpu")
    )
    streams = []
    with torch.inference_mode():
        for prompt in prompts()[2:60:10]:
            tokens = torch.tensor([prompt])
            streams.append(model.stream(tokens, UncachedContext(model.config, tokens))[0, -8:])
        x = model.norm(torch.cat(streams))
        exact = x.double() @ weight.mT
        flattest = exact.softmax(-1).amax(-1).argsort()[:ROWS]
        logits, exact = model.unembedding.logits(x[flattest]), exact[flattest]
        torch.testing.assert_close(logits.of().double(), exact, rtol=0, atol=1e-4)
        for temperature in (0.7, 1, 2):
            params = SamplingParams(temperature=temperature)
            draws = ([Draw(params, row, step) for row in range(ROWS)] for step in range(DRAWS))
            drawn = torch.tensor([[token.id for token in sample(logits, batch)] for batch in draws])
            statistic, freedom = 0.0, 0
            for row, probability in enumerate((exact / temperature).softmax(-1)):
                likely = (probability * DRAWS >= 5).nonzero()[:, 0]
                expected = DRAWS * probability[likely]
                found = (drawn[:, row, None] == likely).sum(0)
                rest = DRAWS - expected.sum(), DRAWS - found.sum()
                statistic += float(((found - expected) ** 2 / expected).sum())
                statistic += float((rest[1] - rest[0]) ** 2 / rest[0]) if rest[0] >= 5 else 0
                freedom += len(likely) - int(rest[0] < 5)
            assert freedom >= ROWS
            assert stats.chi2.sf(statistic, freedom) > 0.01, temperature
