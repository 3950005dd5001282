"""One model in two processes: its parts, their sums, and a server."""

import json
import signal
import socket
import subprocess

import httpx
import parallel_model
import pytest
import torch
from parallel_model import SCENARIOS
from scripted import running
from scripted import started as begun
from tiny_model import random_transformer, tiny_config
from two_processes import SCRIPT, ended, made_by_two, started

from reference_engine.checkpoint import Checkpoint, load_model
from reference_engine.checkpoint.synthetic import synthesize
from reference_engine.errors import SetupError
from reference_engine.generation import ranks
from reference_engine.generation.engine import Engine
from reference_engine.generation.link import digests
from reference_engine.generation.ranks import Follower
from reference_engine.kernels.routing import route
from reference_engine.model.config import TINY
from reference_engine.model.sharding import UNSHARDED, Shard
from reference_engine.server.settings import SMALL_CHECKPOINT


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parallel")
    for layout in ("hf", "original"):
        synthesize(tiny_config(), folder / layout, layout)
    synthesize(TINY, folder / "servable", "hf")
    return folder


@pytest.mark.parametrize("layout", ["hf", "original"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_parts_form_the_complete_model(checkpoints, layout, packed):
    whole = load_model(checkpoints / layout, dtype=torch.float32, packed=packed)
    parts = [
        load_model(checkpoints / layout, dtype=torch.float32, packed=packed, shard=Shard(rank, 2))
        for rank in range(2)
    ]
    for name, weight in whole.state_dict().items():
        first, second = (part.state_dict()[name] for part in parts)
        if name.endswith("attn.out.weight"):
            assert torch.equal(torch.cat((first, second), 1), weight)
        elif name.endswith("attn.out.bias"):
            assert torch.equal(first, weight)
            assert not second.any()
        elif ".attn.qkv." in name:
            heads = [part.unflatten(0, (-1, 16)).split((2, 1, 1)) for part in (first, second)]
            joined = [torch.cat(pair) for pair in zip(*heads, strict=True)]
            assert torch.equal(torch.cat(joined).flatten(0, 1), weight)
        elif name.endswith("sinks") or ".mlp.mlp" in name or name == "unembedding.weight":
            assert torch.equal(torch.cat((first, second)), weight)
        else:
            assert torch.equal(first, weight)
            assert torch.equal(second, weight)


def test_token_codes_are_divided():
    checkpoint = Checkpoint(SMALL_CHECKPOINT)
    parts = [
        load_model(SMALL_CHECKPOINT, dtype=torch.bfloat16, shard=shard).state_dict()
        for shard in (Shard(0, 2), Shard(1, 2))
    ]
    embedding, unembedding = (
        checkpoint.parameter(name, torch.bfloat16, torch.device("cpu"))
        for name in ("embedding.weight", "unembedding.weight")
    )
    assert torch.equal(torch.cat([part["unembedding.weight"] for part in parts]), unembedding)
    assert torch.equal(parts[1]["embedding.weight"], embedding)


def test_experts_of_other_processes_have_zero_weight():
    chosen = torch.tensor([[3, 0], [1, 2]])
    weights = torch.tensor([[0.7, 0.3], [0.6, 0.4]])
    assert UNSHARDED.local_experts(chosen, weights, 4) == (chosen, weights)
    own, share = Shard(1, 2).local_experts(chosen, weights, 4)
    assert own.tolist() == [[1, 2], [2, 0]]
    assert torch.equal(share, torch.tensor([[0.7, 0.0], [0.0, 0.4]]))
    for rows, shares in ((own, share), (own[:1], share[:1]), (own[1:], share[1:])):
        routing = route(rows, shares, 2, 16)
        assert torch.equal(routing.weights, shares.flatten()[routing.slots])
        spans = zip(routing.tile_rows.tolist(), routing.tile_ends.tolist(), strict=True)
        used = [slot for first, end in spans for slot in routing.slots[first:end].tolist()]
        assert sorted(used) == [n for n, e in enumerate(rows.flatten().tolist()) if e < 2]


@pytest.mark.parametrize(("count", "word"), [(3, "2 key/value heads"), (4, "2 key/value heads")])
def test_the_error_names_the_size_that_cannot_be_divided(count, word):
    with pytest.raises(SetupError, match=f"{word} cannot be divided evenly among {count}"):
        Shard(0, count).local_config(tiny_config())
    with pytest.raises(SetupError, match="3 experts cannot"):
        Shard(0, 2).local_config(tiny_config(num_local_experts=3))
    with pytest.raises(SetupError, match="301 tokens of the vocabulary cannot"):
        Shard(0, 2).local_config(tiny_config(vocab_size=301))


def test_a_lost_leader_is_reported_even_without_a_library_message(monkeypatch):
    class Lost:
        def receive(self):
            raise RuntimeError

    monkeypatch.setattr("reference_engine.generation.ranks.Messages", Lost)
    sizes = dict.fromkeys(("max_context", "prefill_chunk", "memory"))
    with pytest.raises(SetupError, match="Another process of the model stopped"):
        Follower().run(random_transformer(), max_batch=2, **sizes)


@pytest.fixture(scope="module")
def made(checkpoints, tmp_path_factory):
    return made_by_two("SCENARIOS", checkpoints / "hf", tmp_path_factory.mktemp("made") / "made.pt")


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
@torch.inference_mode()
def test_two_processes_agree_with_one(checkpoints, made, name):
    """The same tokens in float32; logprobs within 1e-5 in float32 and 0.1 in bfloat16.

    In bfloat16, each part of a sum is rounded separately. The first of them takes 14 s of CPU: two
    processes import PyTorch, and run all scenarios in Triton's interpreter.
    """
    scenario = SCENARIOS[name]
    wanted, found = scenario.run(str(checkpoints / "hf")), made[name]
    if isinstance(wanted["made"], list):
        assert found["made"] == wanted["made"]
        assert all(wanted["made"])
    else:
        bound = 1e-5 if scenario.dtype == torch.float32 else 0.1
        assert found["made"].shape == wanted["made"].shape == (parallel_model.DECODED, 2, 300)
        assert (found["made"] - wanted["made"]).abs().max() < bound
        assert wanted["made"].std() > 0.1
    assert (found["reused"], found["preemptions"]) == (wanted["reused"], wanted["preemptions"])
    assert (wanted["reused"] > 0) == (name == "come and go")
    assert (wanted["preemptions"] > 0) == (name == "few pages")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rows"), [("1 rows", 1), ("5 rows", 5), ("few pages", 2)])
def test_messages_do_not_grow_with_the_context(made, name, rows):
    """A step takes one message without changes, then at most two lists of tokens.

    Only the message with the prompts of five rows takes a second broadcast.
    """
    joined, *later = made[name]["sent"]
    assert (joined > ranks._FRAME) == (name == "5 rows")
    assert len(later) > 10
    assert max(later) <= 35 + 5 * rows


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["EAGER", "RECORDED"])
def test_a_process_that_differs_by_one_bit_stops_all(checkpoints, tmp_path, scenario):
    """The logits are gathered, so that both processes would still draw the same tokens."""
    script = [SCRIPT, f"DIFFERING_{scenario}", str(checkpoints / "hf")]
    (leader, _), (follower, said) = ended(started([*script, str(tmp_path / "made.pt")]))
    assert leader != 0
    assert follower != 0
    assert "Process 1 of the model computed other numbers than the first process" in said


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_digests_show_a_difference_in_one_bit(dtype):
    stream = torch.randn(3, 20, generator=torch.Generator().manual_seed(0)).to(dtype)
    other = stream.clone()
    other[1, 7] = torch.nextafter(stream[1, 7], stream.new_tensor(9))
    assert (digests(stream) != digests(other)).tolist() == [False, True, False]


def url_of(leader: subprocess.Popen) -> str:
    ready = leader.stderr.readline()
    assert ready.startswith("Serving "), ready + leader.stderr.read()
    return ready.split()[-1]


SERVE = ["-m", "reference_engine", "serve", "--port", "0", "--dtype", "float32", "--threads", "1"]
BODY = {
    "model": "gpt-oss-small", "messages": [{"role": "user", "content": "Hi"}], "seed": 5,
    "max_tokens": 24, "logprobs": True,
}  # fmt: skip


@pytest.mark.slow
def test_a_server_with_two_processes_answers_like_one(checkpoints):
    """Also with a grammar, which the leader alone applies.

    It takes 9 s of CPU, because each process of the server imports PyTorch.
    """
    schema = {"name": "reply", "schema": {"type": "object"}}
    limited = BODY | {"response_format": {"type": "json_schema", "json_schema": schema}}

    def choices(url):
        replies = [
            httpx.post(f"{url}/chat/completions", json=body, timeout=120).raise_for_status().json()
            for body in (BODY, limited)
        ]
        return json.dumps([reply["choices"] for reply in replies])

    processes = started([*SERVE, "--checkpoint", str(checkpoints / "servable")])
    two = choices(url_of(processes[0]))
    processes[0].send_signal(signal.SIGTERM)
    assert ended(processes) == [(0, "")] * 2

    model = load_model(checkpoints / "servable", dtype=torch.float32)
    with begun(Engine(model)) as engine, running(engine) as url:
        assert choices(url) == two


@pytest.mark.slow
def test_a_dying_process_stops_the_leader_with_a_message(checkpoints):
    processes = started([*SERVE, "--checkpoint", str(checkpoints / "servable")])
    url = url_of(processes[0])
    processes[1].kill()
    processes[1].wait()
    assert httpx.post(f"{url}/chat/completions", json=BODY, timeout=120).status_code >= 500
    (code, error), _ = ended(processes)
    assert code == 2
    assert error.strip().splitlines()[-1].startswith("error: Another process of the model stopped")


@pytest.mark.slow
def test_a_leader_that_cannot_serve_is_reported_by_all(checkpoints):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [port if word == "0" else word for word in SERVE]
        results = ended(started([*command, "--checkpoint", str(checkpoints / "servable")]))
    assert [code for code, _ in results] == [2, 2]
    assert "Cannot listen at" in results[0][1]
    assert "error: Another process of the model stopped" in results[1][1]
