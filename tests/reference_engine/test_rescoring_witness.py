"""Servers that read replies, in each form of requests, over a socket."""

import math
import socket

import pytest
import torch
from scripted_witness import MODEL, SAID, ScriptedWitness

from harmony.vocabulary import encode
from reference_engine.errors import SetupError
from reference_engine.rescoring.reading import Passage
from reference_engine.rescoring.tree import _sampled
from reference_engine.rescoring.witness import server
from reference_engine.rescoring.witness.connect import connect
from reference_engine.rescoring.witness.places import (
    Place,
    UnreadError,
    place_of,
    read_token,
    require_logprobs,
)
from reference_engine.rescoring.witness.selfcheck import KnownAnswer, prompts

PROMPT = prompts()[0]
NAMES = {
    "vllm": ("prompt_logprobs", "vLLM 0.32.0"),
    "echo": ("echo", "vLLM 0.32.0"),
    "sglang": ("SGLang /generate", "SGLang 0.5.23"),
    "lmdeploy": ("LMDeploy /generate", "a server with LMDeploy /generate"),
    "llama": ("grammar", "llama.cpp b11549"),
}
DAMAGED = (*SAID[:5], 4321, *SAID[6:])


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(server, "_PAUSES", (0.0, 0.0))


def nobody(_passage: int, _token: int) -> tuple[int, ...]:
    return ()


@pytest.mark.parametrize("form", NAMES)
def test_each_form_reads_as_the_model_would_write(form):
    witness = ScriptedWitness(form)
    with witness.serving() as url:
        reader, about = connect(url)
        assert (about.form, about.name) == NAMES[form]
        assert (about.model, about.top, about.difference) == (MODEL, 20, 0)
        asked = []
        right, wrong, later = reader.read(
            [
                Passage(PROMPT, SAID),
                Passage(PROMPT, DAMAGED),
                Passage(PROMPT, DAMAGED, known=5),
            ],
            lambda *place: asked.append(place) or (SAID[5], 77),
        )
        reader.close()
    assert [token.logprob for token in right] == pytest.approx([math.log(0.9)] * len(SAID))
    assert {(token.gap, token.best) for token in right} == {(0.0, token) for token in SAID}
    assert later == wrong[5:]
    assert wrong[5].gap == pytest.approx(math.log(0.9) + 16.8, abs=0.1)
    assert (wrong[5].best, wrong[5].others) == (SAID[5], {SAID[5]: pytest.approx(math.log(0.9))})
    assert {(1, 5), (2, 0)} & set(asked)
    assert not any(number == 0 for number, _ in asked)


@pytest.mark.parametrize("form", NAMES)
def test_each_form_knows_the_whole_distribution_of_its_probable_tokens(form):
    with ScriptedWitness(form).serving() as url:
        reader, _ = connect(url, MODEL)
        [second] = reader.read([Passage(PROMPT, (SAID[0], SAID[1] + 1))], nobody)
        [greedy] = reader.read([Passage(PROMPT, SAID, temperature=0)], nobody)
        reader.close()
    assert second[1].surprise == pytest.approx(-math.log(0.06 + 0.03 + 0.01), abs=1e-3)
    assert second[1].own == pytest.approx(math.log(0.06), abs=1e-3)
    assert second[1].probable[:3] == pytest.approx([math.log(p) for p in (0.9, 0.06, 0.03)])
    assert {(token.surprise, token.probable) for token in greedy} == {(0.0, ())}


def test_equal_passages_are_read_once_and_common_prompts_in_turn():
    witness = ScriptedWitness("vllm")
    with witness.serving() as url:
        reader, _ = connect(url, at_once=1)
        before = len(witness.bodies)
        other = prompts()[1]
        order = [(PROMPT, SAID), (other, SAID), (PROMPT, DAMAGED), (other, DAMAGED), (PROMPT, SAID)]
        found = reader.read([Passage(*each, temperature=n) for n, each in enumerate(order)], nobody)
        reader.close()
    sent = [tuple(body["prompt"]) for body in witness.bodies[before:]]
    assert len(sent) == 4
    assert len({tuple(ids[: len(PROMPT)]) == PROMPT for ids in sent[:2]}) == 1
    assert [token.logprob for token in found[0]] == [token.logprob for token in found[4]]
    assert found[0] != found[4]


def test_few_requests_are_sent_at_a_time():
    witness = ScriptedWitness("sglang")
    with witness.serving() as url:
        reader, _ = connect(url, at_once=2)
        reader.read([Passage((*PROMPT, n), SAID) for n in range(20)], nobody)
        reader.close()
    assert witness.most_at_once <= 2


def test_passing_errors_are_tried_again_and_others_leave_one_passage_unread():
    witness = ScriptedWitness("vllm")
    with witness.serving() as url:
        reader, about = connect(url)
        witness.failures = [503, 0]
        [found] = reader.read([Passage(PROMPT, SAID)], nobody)
        assert len(found) == len(SAID)
        witness.failures = [503, 503, 503]
        assert reader.read([Passage(PROMPT, SAID)], nobody) == ["HTTP 503: not now"]
        witness.failures = [500]
        assert reader.read([Passage(PROMPT, SAID)], nobody) == ["HTTP 500: not now"]
        assert about.max_context == 4096
        [long] = reader.read([Passage(PROMPT * 70, SAID)], nobody)
        assert "the witness reads fewer than 4096" in long
    with pytest.raises(SetupError, match="no longer answers"):
        reader.read([Passage(PROMPT, SAID)], nobody)
    reader.close()


def test_llama_does_not_read_tokens_within_a_character():
    with ScriptedWitness("llama").serving() as url:
        reader, _ = connect(url)
        found = reader.read([Passage(PROMPT, tuple(encode("👋🏽"))), Passage(PROMPT, SAID)], nobody)
        reader.close()
    assert "ends within a character" in found[0]
    assert len(found[1]) == len(SAID)


ALL = list(NAMES)
UNFIT = [
    *[(form, "few", "returned .* values for") for form in ALL[:4]],
    *[(form, "bos", "other tokens than those that were sent") for form in ALL[:4]],
    *[(form, "logits", "is no logprob") for form in ALL],
    *[(form, "low logits", "probable tokens sum up to 0") for form in ALL],
    *[(form, "sums", "sum up to more than 1") for form in ALL],
    *[(form, "temperature", "with the temperature, from -16.* to -12") for form in ALL],
    *[(form, "drafter", "than it writes them, by 3.00 nats after a prompt of") for form in ALL],
    *[(form, "long drafter", "nats after a prompt of [5-9].. tokens") for form in ALL],
    *[(form, "everything probable", "finds a wrong token probable") for form in ALL],
    *[(form, "not a number", "no logprob") for form in ALL],
    *[(form, "other words", "has another vocabulary: it begins with token 11") for form in ALL],
    *[(form, "vocabulary", "has another vocabulary than gpt-oss") for form in ALL],
    *[(form, "silent", "writes nothing") for form in ALL],
    *[
        (form, "ignored", "returns no logprobs of tokens that it is sent")
        for form in ALL
        if form != "echo"
    ],
    ("vllm", "shifted", "is missing"),
    ("vllm", "missing", "is missing"),
    ("sglang", "missing", "is missing"),
    ("vllm", "unnamed", "does not name the tokens"),
    ("echo", "texts", "names tokens by their texts"),
    ("chat", "", "returns no logprobs of tokens .*prompt_logprobs, echo.*HTTP 404"),
    ("vllm", "key", r"refuses the key \(HTTP 401: Bearer \[hidden\] is not valid\)"),
]


@pytest.mark.parametrize(("form", "wrong", "reason"), UNFIT)
def test_a_server_that_reads_wrongly_is_refused_in_one_sentence(form, wrong, reason):
    with (
        ScriptedWitness(form, wrong).serving() as url,
        pytest.raises(SetupError, match=reason) as caught,
    ):
        connect(url, MODEL, "sk-very-secret")
    said = str(caught.value)
    assert said.startswith(f"The witness at {url.removesuffix('/v1')} ")
    assert "secret" not in said
    assert "\n" not in said


def test_a_server_that_allows_fewer_alternatives_is_asked_for_fewer():
    with ScriptedWitness("vllm", "top 5").serving() as url:
        reader, about = connect(url)
        [found] = reader.read([Passage(PROMPT, DAMAGED)], nobody)
        reader.close()
    assert about.top == 5
    assert found[5].surprise > -math.log(0.01) - 1e-3


@pytest.mark.parametrize(("shift", "refused"), [(0.0, False), (0.3, False), (2.0, True)])
def test_other_weights_are_refused_by_known_answers(shift, refused):
    values = [math.log(0.9) - shift] * len(SAID)
    known = KnownAnswer(PROMPT, SAID, (*values[:-1], None))
    with ScriptedWitness("vllm").serving() as url:
        if refused:
            with pytest.raises(SetupError, match=f"other weights: {len(SAID) - 1} of"):
                connect(url, known=[known])
            return
        reader, about = connect(url, known=[known])
        reader.close()
    assert about.compared == len(SAID) - 1


def test_an_address_without_a_server_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "ftp://somewhere", "http://"):
        with pytest.raises(SetupError, match=r"does not answer .*start it, or correct its address"):
            connect(url, MODEL)


def test_the_longer_question_is_longer_than_what_drafters_read():
    short, long = map(len, prompts())
    assert short < 128
    assert 512 < long < 1024


VOCABULARY = 201_088


@pytest.mark.parametrize("scale", [0.5, 4.0])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
@pytest.mark.parametrize(("top_p", "top"), [(1.0, 20), (1.0, 1), (0.8, 20)])
def test_surprise_is_never_above_that_of_the_whole_distribution(scale, temperature, top_p, top):
    torch.manual_seed(top)
    logits = torch.randn(VOCABULARY, dtype=torch.float64) * scale
    whole = logits.log_softmax(-1)
    order = whole.argsort(descending=True).tolist()
    known = {token: float(whole[token]) for token in order[:top]}
    for rank in (0, 3, 15, 40, VOCABULARY - 1):
        token = order[rank]
        own_logprob = float(whole[token])
        place = place_of(own_logprob, (known | {token: own_logprob}).items(), top)
        require_logprobs([place], [token])
        found = read_token(place, token, temperature, top_p, tuple)
        surprise, own, probable = _sampled(logits, token, temperature, top_p)
        assert found.surprise <= surprise + 1e-6
        if rank < top and temperature == top_p == 1:
            assert found.surprise == pytest.approx(surprise, abs=1e-3)
        if found.probable:
            assert found.own == pytest.approx(own, abs=0.02)
            assert found.probable == pytest.approx(probable[: len(found.probable)], abs=0.02)
        if rank == VOCABULARY - 1 and scale == 4 and temperature <= 1:
            assert found.surprise > 10


@pytest.mark.parametrize("value", [-9999.0, -3.4e38])
def test_a_probability_of_zero_is_a_large_surprise(value):
    place = place_of(value, [(5, -0.1), (7, value)], 1)
    require_logprobs([place], [7])
    found = read_token(place, 7, 1.0, 1.0, tuple)
    assert (found.logprob, found.best, found.gap) == (-1000.0, 5, 999.9)
    assert found.surprise == pytest.approx(1000 - 0.1 - math.log(VOCABULARY), abs=0.1)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (Place(-0.5, {3: -0.1}), "two logprobs"),
        (Place(-0.05, {5: -0.1}), "two logprobs"),
        (Place(-1.0, {}), "no most probable"),
    ],
)
def test_values_that_contradict_each_other_are_not_read(place, reason):
    with pytest.raises(UnreadError, match=reason):
        require_logprobs([place], [3])
