"""Teacher forcing with recorded answers, and an engine that replays the golden file."""

import pytest
from golden_replay import GOLDEN, Replay
from healthy import rollout

from gpt_oss_verify.app import run
from harness.golden import engine
from harness.golden.distance import distance
from harness.golden.engine import Answer, EngineOptions, Head
from harness.golden.teacher_forcing import score_replies
from harness.probes import golden_prompts
from harness.records.conditions import Condition
from harness.run.attempts import Attempt, Sample

CUT = {name for name, found in GOLDEN.continuations.items() if found.parts[-1] != "m"}
WITH_ANSWER = [n for n, c in GOLDEN.continuations.items() if "a" in c.parts and n not in CUT]


def recorded(replay, api="chat"):
    found = []
    for request in golden_prompts.greedy(api):
        sample = Sample(request.id, request.turns)
        condition = Condition(model="m", api=api, mode="non-streaming")
        attempt = Attempt(request.id, "golden", sample, condition, 1, None)
        one = rollout([replay(request, attempt)], api=api, streaming=False, sample=request.id)
        body = golden_prompts.body(api, request)
        sent = one.exchanges[0].request.model_copy(update={"body": body})
        exchange = one.exchanges[0].model_copy(update={"request": sent})
        found.append(one.model_copy(update={"exchanges": (exchange,), "id": request.id}))
    return found


@pytest.fixture
def asked(monkeypatch):
    questions = []

    def score(given, options):
        questions.extend(given)
        answers = []
        for each in given:
            golden = GOLDEN.continuations[each.id]
            assert each.completion == golden.ids[: len(each.completion)]
            tokens = tuple(golden.tokens())[: len(each.completion)]
            answers.append(Answer(each.id, golden.prompt_tokens, tokens))
        return Head("engine 1", "0f", "float32"), answers

    monkeypatch.setattr(engine, "score", score)
    return questions


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_the_tokens_of_a_reply_are_reconstructed(api, asked):
    found = score_replies(recorded(Replay(), api), EngineOptions())
    assert {each.id for each in asked} >= set(WITH_ANSWER)
    assert all({"messages", "input"} & set(each.body) for each in asked)
    assert found.replies == len(asked)
    figures = distance(found.compared)
    assert (figures.p99, figures.agreement) == (0, 1)


def test_replies_to_other_prompts_are_excluded(asked):
    found = score_replies(recorded(Replay(more_prompt=9)), EngineOptions())
    assert (found.replies, found.other_prompts) == (0, len(asked))
    assert found.compared.differences == []


def test_the_engine_is_not_started_without_comparable_replies(asked):
    assert score_replies(recorded(Replay(logprobs=False)), EngineOptions()).replies == 0
    assert not asked


def test_an_invalid_run_is_reported_with_a_reason(tmp_path, capsys):
    code = run(["golden", "follow", str(tmp_path / "none"), "--checkpoint", str(tmp_path)])
    assert code == 2
    assert str(tmp_path / "none") in capsys.readouterr().err
