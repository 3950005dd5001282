"""Prompts of a given length with a code word at a given depth, in sentences used only here."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from random import Random

from harmony.conversation import Conversation, User
from training.data.held_out import Contains, HeldOut
from training.data.spans import encode

DEPTHS = (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
_SENTENCES = (
    "The archive keeps its oldest ledgers in a room without windows.",
    "A delegation of beekeepers toured the northern orchards in June.",
    "Rain had washed the paint off the signpost years before.",
    "Every third lantern along the canal was replaced last winter.",
    "The choir rehearses in the gymnasium because the hall is being rebuilt.",
    "Two engineers measured the echo in the empty reservoir.",
    "Her grandfather carved chess pieces from driftwood.",
    "The ferry timetable changes when the clocks go back.",
    "A retired postman maintains the smallest railway in the county.",
    "They counted forty-one swallows on the telephone wire.",
    "The recipe calls for more patience than flour.",
    "Minutes of the previous meeting were approved without remarks.",
    "Nobody has lived in the lighthouse since it was automated.",
    "The surveyor's notes mention a well that no map shows.",
    "On market days the square smells of smoked fish and soap.",
    "An amateur astronomer logged the comet from her balcony.",
    "The school bus takes the long way round when the ford floods.",
    "Volunteers repaired nine kilometres of dry stone wall.",
    "The violin was older than the town in which it was found.",
    "Section four describes how spare parts are to be labelled.",
    "A heron stood in the fountain and ignored the traffic.",
    "The translation took longer than the novel had.",
    "Spare keys hang behind the third door on the left.",
    "Most visitors come for the mosaic and stay for the cake.",
    "The glacier has retreated past the hut that bears its name.",
)
_CODE_WORDS = (
    "marigold", "ZX-4417", "Tamarind", "copperfield", "quasar", "LANTERN", "velvet-moth", "8821",
    "Ostrava",
)  # fmt: skip
_SIMILAR = "The {kind} of the {place} is {value}."
_KINDS = ("door number", "room name", "street name", "phone number", "ticket number")
_PLACES = ("museum", "harbour", "library", "mill", "chapel", "stadium")


def haystacks(length: int, depths: Sequence[float] = DEPTHS) -> Iterator[HeldOut]:
    """One prompt of about `length` tokens for each depth, with similar sentences as distractors."""
    for depth, word in zip(depths, cycle(_CODE_WORDS)):
        rng = Random(f"{length} {depth}")  # noqa: S311
        parts = _filler(rng, length)
        parts.insert(round(depth * len(parts)), f"The code word is {word}.")
        text = " ".join(parts) + "\n\nWhat is the code word?"
        conversation = Conversation((User(text),), effort="medium")
        yield HeldOut(f"code word in {length:,} tokens", conversation, Contains(word))


def _filler(rng: Random, length: int) -> list[str]:
    parts: list[str] = []
    size = len(encode(" ".join(_SENTENCES))) / len(_SENTENCES)
    for _ in range(int(length / size)):
        if rng.random() < 0.03:
            kind, place = rng.choice(_KINDS), rng.choice(_PLACES)
            value = str(rng.randint(100, 9999))
            said = _SIMILAR.replace("{kind}", kind).replace("{place}", place)
            parts.append(said.replace("{value}", value))
        else:
            parts.append(rng.choice(_SENTENCES))
    return parts
