"""Golden files of a trusted server's answers, and merged golden files."""

import asyncio
import json

import mock_provider as mock
import pytest
from golden_replay import GOLDEN
from mock_provider import MockProvider
from replies import MODEL

from gpt_oss_verify.app import run
from harmony.vocabulary import bytes_of
from harness.errors import ConfigurationError
from harness.golden import files
from harness.golden.create import record
from harness.golden.tolerances import merged
from harness.golden.trusted_engines import Server
from harness.providers.entries import adhoc_provider
from harness.rules.numerics import golden_prompts

PROMPTS = {
    tuple(golden_prompts.body("harmony", each)["prompt"]): each.id
    for each in golden_prompts.greedy("harmony")
}
SHIFT = 0.25
"""What the simulated server adds to the logprob of each second alternative, in nats."""


def completion(body, *, ids=True, logprobs=True):
    """The golden answer to a prompt as vLLM returns it, with noise; otherwise a short answer."""
    tokens = list(GOLDEN.continuations[PROMPTS.get(tuple(body["prompt"])) or "copy"].tokens())
    tops = [
        {
            f"token_id:{each}": value + SHIFT * (place % 2)
            for place, (each, value) in enumerate(token.top)
        }
        for token in tokens
    ]
    text = b"".join(bytes_of(token.id) for token in tokens).decode("utf-8", "replace")
    choice = {"index": 0, "text": text, "finish_reason": "stop"}
    choice |= {"token_ids": [token.id for token in tokens]} if ids else {}
    if logprobs and "logprobs" in body:
        choice["logprobs"] = {
            "tokens": [f"token_id:{token.id}" for token in tokens],
            "token_logprobs": [tops[at][f"token_id:{t.id}"] for at, t in enumerate(tokens)],
            "top_logprobs": tops,
        }
    return {"choices": [choice], "usage": {"prompt_tokens": len(body["prompt"])}}


def answering(**options):
    async def answer(request, writer):
        mock.write_json(writer, completion(request.body, **options))

    return answer


WITHOUT_SPECIAL = {
    "choices": [{"text": "Hi", "logprobs": {"content": [{"token": "Hi", "logprob": -1.0}]}}]
}


async def recorded(exact=True, always=None, **options):
    """A golden file of a simulated server."""
    async with MockProvider(always=always or answering(**options)) as provider:
        entry = adhoc_provider(provider.base_url, MODEL, ("harmony",))
        requests = golden_prompts.requests("harmony", MODEL)
        server = Server(entry, "engine 1", "bfloat16", exact)
        given = ((MODEL,), server, requests, lambda _: None, "command")
        return await asyncio.to_thread(record, *given)


@pytest.mark.parametrize("ids", [True, False])
async def test_a_golden_file_is_made_from_a_servers_answers(ids):
    golden = await recorded(ids=ids)
    assert (golden.engine, golden.dtype, golden.weights_sha256) == ("engine 1", "bfloat16", "")
    assert golden.requests_sha256 == GOLDEN.requests_sha256
    for name, expected in GOLDEN.continuations.items():
        found = golden.continuations[name]
        assert found.prompt_tokens == expected.prompt_tokens
        assert (found.ids, found.parts) == (expected.ids, expected.parts)
    assert {len(each.texts) for each in golden.drawn.values()} == {20}
    assert golden.lone
    assert not golden.patterns


@pytest.mark.parametrize(
    ("always", "problem"),
    [
        (answering(logprobs=False), r"not usable: it has no logprobs"),
        (mock.text("{}"), r"not usable: it has no choices"),
        (mock.text("<html>"), r"not usable: "),
        (mock.text(json.dumps(WITHOUT_SPECIAL)), r"do not name all tokens, special ones included"),
        (mock.status(400, "no prompts of tokens"), r"answered with 400: .*no prompts of tokens"),
    ],
)
async def test_an_unusable_server_is_rejected_with_the_reason(always, problem):
    with pytest.raises(ConfigurationError, match=problem):
        await recorded(always=always)


async def test_a_merged_file_tolerates_every_engine():
    other = await recorded()
    both = merged(GOLDEN, other, "other.json")
    assert both.continuations.keys() == GOLDEN.continuations.keys()
    *before, last = both.healthy
    assert tuple(before) == GOLDEN.healthy
    assert (last.engine, last.numbers, last.exact) == ("engine 1", "bfloat16", True)
    assert last.distance.p95 == pytest.approx(SHIFT, abs=0.01)
    assert both.patterns == GOLDEN.patterns
    assert not both.lone
    turned = merged(other, GOLDEN, "shipped.json")
    assert not turned.lone
    assert turned.weights_sha256 == GOLDEN.weights_sha256
    assert turned.tolerance.p95 == GOLDEN.exact_tolerance.p95  # more than 2 * SHIFT


@pytest.mark.parametrize("shift", [0.0, 0.004])
async def test_two_servers_give_a_file_only_if_they_differ_and_no_tolerance_below_formats(
    shift, monkeypatch
):
    first = await recorded()
    monkeypatch.setattr("test_golden_server.SHIFT", SHIFT + shift)
    other = (await recorded()).model_copy(update={"engine": "engine 2"})
    if not shift:
        with pytest.raises(ConfigurationError, match=r"b.json does not show how much .* 99% 0.000"):
            merged(first, other, "b.json")
        return
    both = merged(first, other, "b.json")
    assert both.tolerance.model_dump() == GOLDEN.exact_tolerance.model_dump()
    with pytest.raises(ConfigurationError, match="the engine or the numbers of the first file"):
        merged(first, other.model_copy(update={"engine": first.engine}), "b.json")


async def test_an_engine_in_eight_bits_does_not_widen_the_exact_tolerance():
    both = merged(GOLDEN, await recorded(exact=False), "other.json")
    assert both.exact_tolerance == GOLDEN.exact_tolerance
    assert both.healthy[-1].exact is False


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"weights_sha256": "0f"}, "b.json and the first file were created with different weights"),
        ({"requests_sha256": "0f"}, "b.json and the first file answer different requests"),
    ],
)
def test_files_that_do_not_belong_together_are_not_merged(changes, problem):
    with pytest.raises(ConfigurationError, match=problem):
        merged(GOLDEN, GOLDEN.model_copy(update=changes), "b.json")


def test_other_prompts_are_not_merged():
    first = next(iter(GOLDEN.continuations))
    longer = GOLDEN.continuations[first].model_copy(update={"prompt_tokens": 7})
    other = GOLDEN.model_copy(update={"continuations": {**GOLDEN.continuations, first: longer}})
    with pytest.raises(ConfigurationError, match=f"b.json has 7 prompt tokens in {first!r}"):
        merged(GOLDEN, other, "b.json")


def test_merging_takes_the_long_prompts_of_both():
    both = merged(GOLDEN, GOLDEN, "b.json")
    assert len(both.long.healthy) == len(GOLDEN.long.healthy) + 1
    assert both.long.tolerance == GOLDEN.long.tolerance


def test_the_command_merges_files(tmp_path, capsys):
    path, out = tmp_path / "a.json", tmp_path / "merged.json"
    path.write_text(files.serialized(GOLDEN), encoding="utf-8")
    assert run(["golden", "merge", str(path), str(path), "--out", str(out)]) == 0
    assert len(files.load(out).healthy) == len(GOLDEN.healthy) + 1
    assert "tolerated: |Δ logprob|" in capsys.readouterr().out
    assert run(["golden", "merge", str(path), "--out", str(out)]) == 2
    assert "one golden file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "either --checkpoint DIR or --from URL"),
        (["--from", "http://127.0.0.1:9/v1"], "--engine 'vLLM 0.32'"),
        (["--from", "http://127.0.0.1:9/v1", "--checkpoint", "c"], "either --checkpoint"),
    ],
)
def test_a_golden_file_needs_one_source(options, problem, tmp_path, capsys):
    out = tmp_path / "golden.json"
    assert run(["golden", "create", "--model", "m", "--out", str(out), *options]) == 2
    assert problem in capsys.readouterr().err
    assert not out.exists()


async def test_the_command_records_a_server(tmp_path, capsys):
    out = tmp_path / "golden.json"
    async with MockProvider(always=answering()) as provider:
        given = ["--from", provider.base_url, "--engine", "e", "--numbers", "n", "--no-long"]
        command = ["golden", "create", *given, "--model", MODEL, "--out", str(out)]
        assert await asyncio.to_thread(run, command) == 0
    assert files.load(out).command.startswith("gpt-oss-verify")
    said = capsys.readouterr().err
    assert "174 of 174 answers" in said
    assert "merge it with another" in said
    assert list(tmp_path.iterdir()) == [out]


async def test_an_interrupted_recording_goes_on_and_asks_for_nothing_twice(tmp_path, capsys):
    out, answer, asked = tmp_path / "golden.json", answering(), []

    async def handle(request, writer):
        asked.append(json.dumps(request.body))
        await (mock.status(401) if len(asked) == 20 else answer)(request, writer)

    async with MockProvider(always=handle) as provider:
        given = ["--from", provider.base_url, "--engine", "e", "--numbers", "n", "--no-long"]
        command = ["golden", "create", *given, "--model", MODEL, "--out", str(out)]
        assert await asyncio.to_thread(run, command) == 2
        assert not out.exists()
        cut = len(asked)
        assert await asyncio.to_thread(run, command) == 0
    assert "30 of 174 answers" in capsys.readouterr().err
    assert len(set(asked[:cut]) & set(asked[cut:])) <= 16 + len(PROMPTS)
    assert len(asked) <= 200 + 16


async def test_a_file_that_cannot_be_written_is_refused_before_anything_is_asked(tmp_path, capsys):
    out = tmp_path / "none" / "golden.json"
    async with MockProvider(always=answering()) as provider:
        given = ["--from", provider.base_url, "--engine", "e", "--numbers", "n", "--no-long"]
        command = ["golden", "create", *given, "--model", MODEL, "--out", str(out)]
        assert await asyncio.to_thread(run, command) == 2
    assert f"{out} cannot be written: No such file or directory" in capsys.readouterr().err
    assert provider.received == []


async def test_a_server_with_a_short_context_is_told_of_no_long(tmp_path, capsys):
    answer = answering()

    async def handle(request, writer):
        too_long = len(request.body["prompt"]) > 8192
        await (mock.status(400) if too_long else answer)(request, writer)

    async with MockProvider(always=handle) as provider:
        given = ["--from", provider.base_url, "--engine", "e", "--numbers", "n"]
        command = ["golden", "create", *given, "--model", MODEL, "--out", str(tmp_path / "g.json")]
        assert await asyncio.to_thread(run, command) == 2
    assert "If the context of the server is too short, use --no-long." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["g.json.partial"]
