"""Training conversations in which one agent hands over to another."""

from random import Random

from harmony.conversation import Call, Result, User
from training.data import calls, handovers
from training.data.task import Setting


def test_the_first_agent_only_hands_over():
    rng = Random(3)
    for _ in range(20):
        offers = rng.sample(calls.SMOKE_OFFERS, 3)
        agents, rules = handovers.agents_for(rng, offers)
        setting = Setting(tuple(agent.tool for agent in agents), instructions=rules)
        assert {agent.tool.name for agent in agents}.isdisjoint(one.tool.name for one in offers)
        task = calls.call(rng, setting, agents)
        made = task.reply[-1]
        assert isinstance(made, Call)
        assert made.name in {agent.tool.name for agent in agents}
        assert made.arguments == "{}"


def test_the_second_agent_continues_after_the_handover():
    rng = Random(4)
    offers = calls.SMOKE_OFFERS
    setting = Setting(tuple(offer.tool for offer in offers))
    for make in (calls.call, calls.answer) * 10:
        before = make(rng, setting, offers)
        task = handovers.handed_over(rng, setting, before)
        asked = max(at for at, turn in enumerate(task.turns) if isinstance(turn, User))
        added = task.turns[asked + 1 : len(task.turns) - len(before.turns) + asked + 1]
        call, result = added[-2:]
        assert isinstance(call, Call)
        assert isinstance(result, Result)
        assert call.name == result.name
        assert call.name not in {offer.tool.name for offer in offers}
        assert task.turns == (*before.turns[: asked + 1], *added, *before.turns[asked + 1 :])
        assert task.reply == before.reply
