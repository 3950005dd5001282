"""Which tries a run makes, in which order, and how shards split them."""

import itertools

import pytest
from evals.plan import Plan
from evals.records import EvalSettings
from sample_evals import load_eval

from harness.errors import ConfigurationError
from harness.records.rollouts import Rollout

MODELS = ("openai/gpt-oss-20b", "b")


def plan(shard=None, **changes):
    fields = {
        "evals": ("aime25", "gpqa"),
        "models": MODELS,
        "efforts": ("low", "high"),
        "api": "chat",
        "streaming": False,
        "tries": {"aime25": 3, "gpqa": 2},
        "concurrency": 8,
    }
    settings = EvalSettings(**(fields | changes))
    evals = {name: load_eval(name, seed=settings.seed) for name in settings.evals}
    return Plan(settings, evals, shard=shard, extra_body={"provider": "x"})


def rollout(identity):
    return Rollout(
        id=identity, sample="s", api="chat", streaming=False, attempt=1, end="failed", exchanges=()
    )


def test_every_question_gets_its_first_try_before_any_gets_a_second():
    numbers = [one.number for one in plan().every_try()]
    assert numbers == sorted(numbers)
    assert set(numbers) == {1, 2, 3}


def test_there_are_as_many_tries_as_planned_each_with_an_id_of_its_own():
    whole = plan()
    ids = [one.id for one in whole.every_try()]
    aime, gpqa = (len(whole.questions[name]) for name in ("aime25", "gpqa"))
    assert len(ids) == len(set(ids)) == whole.planned == 4 * (3 * aime + 2 * gpqa)


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shards_are_the_whole_without_overlap(parts):
    shards = [plan((part, parts)) for part in range(1, parts + 1)]
    made = [[one.id for one in shard.every_try()] for shard in shards]
    assert [len(ids) for ids in made] == [shard.planned for shard in shards]
    assert sorted(itertools.chain(*made)) == sorted(one.id for one in plan().every_try())


def test_a_try_is_found_again_by_its_id():
    whole = plan()
    for one in whole.every_try():
        assert whole.find(rollout(one.id)) == one


@pytest.mark.parametrize(
    "identity",
    ["", "x", "aime25/b/low/S-01", "aime25/b/low/S-01/4", "aime25/b/low/S-01/0", "aime25/b/low//1",
     "aime25/b/medium/S-01/1", "aime25/b/low/S-01/1/2-abc/1", "aime25/b/low/S-01/x"],
)  # fmt: skip
def test_what_is_not_planned_is_not_found(identity):
    assert plan().find(rollout(identity)) is None


def test_an_attempt_carries_the_settings_of_its_cell():
    whole = plan(seed=5, send_seed=True, temperature=0.5)
    one = next(whole.round(2, [whole.cells[0]]))
    attempt = whole.attempt(one)
    assert (attempt.id, attempt.number) == (one.id, 2)
    assert attempt.id == "aime25/openai:gpt-oss-20b/low/S-01/2"
    how = attempt.settings
    assert (how.model, how.reasoning_effort, how.temperature) == (MODELS[0], "low", 0.5)
    assert (how.seed, how.max_tokens, how.extra_body) == (5, 131_072, {"provider": "x"})
    assert attempt.sample.turns == whole.evals["aime25"].put("S-01", 2).messages


def test_a_seed_is_sent_only_if_asked_for():
    whole = plan(seed=5)
    assert whole.attempt(next(whole.every_try())).settings.seed is None


def test_examples_are_the_same_for_the_same_seed():
    def chosen(**changes):
        return [q.id for q in plan(**changes).questions["gpqa"]]

    assert chosen(examples=5, seed=1) == chosen(examples=5, seed=1) != chosen(examples=5, seed=2)
    assert set(chosen(examples=5)) < set(chosen(examples=9))
    with pytest.raises(ConfigurationError, match="--examples must be between 1 and"):
        plan(examples=999)
