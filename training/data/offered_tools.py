"""The tools that a group offers, each with its asker."""

from collections.abc import Sequence
from random import Random

from harmony.conversation import FunctionTool
from training.data import agent_tools, calls, composed_tools
from training.data.calls import Offer
from training.data.client_schemas import client, generated
from training.data.invented_tools import synthetic
from training.data.relatives import FAMILIES, relative
from training.data.task import Asker
from training.data.written_asks import written_tools

_CROWD_SHARE = 0.04
_CROWD = (9, 28)


def some(rng: Random, plain_share: float) -> tuple[Offer, ...]:
    """Some tools, or none with probability `plain_share`."""
    if rng.random() < plain_share:
        return ()
    return _crowd(rng) if rng.random() < _CROWD_SHARE else few(rng)


def few(rng: Random) -> tuple[Offer, ...]:
    """Usually the tools of the smoke test, otherwise their relatives, other tools, or a mixture."""
    draw = rng.random()
    if draw < 0.6:
        return calls.SMOKE_OFFERS
    if draw < 0.64:
        return calls.COMPATIBILITY_OFFERS
    if draw < 0.7:
        chosen = [_relative(rng, family) for family in FAMILIES]
        return tuple(rng.sample(chosen, rng.randint(3, len(chosen))))
    if draw < 0.72:
        return (_relative(rng, rng.choice(list(FAMILIES))),)
    if draw < 0.81:
        return _catalogue(rng)
    return _mixed(rng, 1 if draw < 0.84 else rng.randint(2, 8))


def of_client(rng: Random) -> tuple[Offer, ...]:
    """Tools from one or several sources, with the schemas that one library generates."""
    draw = rng.random()
    count = rng.choice((1, 1, 1, 2, 3, 3, 4, 5, 6, 8, 12))
    if draw < 0.15:
        offers = list(few(rng))
    elif draw < 0.25:
        offers = _named(composed_tools.suite(rng, min(count, 6)))
    else:
        pairs = [composed_tools.composed(rng) for _ in range(count)]
        pairs += rng.sample(written_tools(), rng.choice((0, 1, count)))
        pairs = rng.sample(pairs, count)
        if draw < 0.5:
            pairs = pairs[: rng.choice((0, 1, 2, 4))]
            pairs += agent_tools.handoffs(rng, rng.choice((1, 2, 2, 3, 5)))
        elif draw < 0.65:
            pairs = pairs[: rng.choice((0, 0, 1, 3))] + agent_tools.coding(rng, rng.randint(1, 6))
        offers = _named(rng.sample(pairs, len(pairs)))
    return in_style(rng, offers)


def in_style(rng: Random, offers: Sequence[Offer]) -> tuple[Offer, ...]:
    """The tools with the schemas that one library generates."""
    style = client(rng)
    drawn = [Offer(*generated(rng, style, one.tool, one.asker), one.family) for one in offers]
    return _distinct(drawn)


def _named(pairs: Sequence[tuple[FunctionTool, Asker]]) -> list[Offer]:
    return [Offer(tool, asker, tool.name) for tool, asker in pairs]


def _crowd(rng: Random) -> tuple[Offer, ...]:
    """Many tools, as agents offer."""
    written = [Offer(tool, asker, tool.name) for tool, asker in written_tools()]
    known = [*rng.sample(calls.OTHER_OFFERS, 4), *rng.sample(calls.SMOKE_OFFERS, 2)]
    offers = [*known, *rng.sample(written, rng.randint(*_CROWD))]
    return _distinct(rng.sample(offers, len(offers)))


def _catalogue(rng: Random) -> tuple[Offer, ...]:
    """Tools of the catalogue, perhaps with a smoke tool and a synthetic tool among them."""
    offers = rng.sample(calls.OTHER_OFFERS, rng.choice((1, 2, 3, 3, 4, 5, 6, 8, 12)))
    if rng.random() < 0.5:
        offers.append(rng.choice((*calls.SMOKE_OFFERS, _relative(rng, rng.choice(list(FAMILIES))))))
    if rng.random() < 0.5:
        offers.append(_invented(rng))
    return _distinct(rng.sample(offers, len(offers)))


def _relative(rng: Random, family: str) -> Offer:
    return Offer(*relative(rng, family), family)


def _mixed(rng: Random, count: int) -> tuple[Offer, ...]:
    """Tools of all kinds, no two of the same family."""
    families = [
        rng.choice((*calls.SMOKE_OFFERS, *calls.COMPATIBILITY_OFFERS)),
        *(_relative(rng, family) for family in FAMILIES),
    ]
    written = [Offer(tool, asker, tool.name) for tool, asker in rng.sample(written_tools(), 14)]
    invented = [_invented(rng) for _ in range(6)]
    pool = [*families, *rng.sample(calls.OTHER_OFFERS, 5), *written, *invented]
    chosen: dict[str, Offer] = {offer.family: offer for offer in rng.sample(pool, count)}
    return _distinct(list(chosen.values()))


def _distinct(offers: list[Offer]) -> tuple[Offer, ...]:
    """The offers without duplicate names."""
    return tuple({offer.tool.name: offer for offer in offers}.values())


def _invented(rng: Random) -> Offer:
    tool, asker = synthetic(rng)
    return Offer(tool, asker, tool.name)
