"""Questions and calls after a long text: in the instructions, in a user's turn or in a result."""

import math
from random import Random

from harmony.conversation import Answer, Call, ConversationItem, Result, User
from training.data import canary, words
from training.data.canary import Secret
from training.data.long_texts import LongText
from training.data.spans import to_json
from training.data.task import Setting, Task
from training.data.wording import Style, history

REACH = 17_000
"""The maximum distance between a question and its answer, in positions."""
OPEN_TURN = "<|start|>user<|message|>"
"""The end of an opening that leaves the user's turn open, and the start of the continuation."""
_READ = ("Noted.", "Understood.", "I have read it.", "Done.", "Okay.", "Thanks, I read the text.")
_ASKED_TO_READ = (
    "Read this first:", "Here is a long text.", "Some background:", "Please read the following.",
    "Context:", "This is our file.", "Document:", "Keep this in mind.", "Here are my notes.", "",
    "I will ask about this text later.", "Below is the log of today.",
)  # fmt: skip
_FETCHES = ("read_file", "fetch_page", "get_document", "read_log", "load_notes", "cat")


def turn_with(rng: Random, said: LongText, style: Style) -> str:
    """Turns with the text, as harmony text; the user's turn usually stays open."""
    asked = rng.choice(_ASKED_TO_READ)
    text = f"{asked}\n\n{said.text}" if asked else said.text
    draw = rng.random()
    if draw < 0.6:
        return f"{OPEN_TURN}{text}\n\n"
    turns: tuple[ConversationItem, ...] = (User(text), Answer(rng.choice(_READ)))
    if draw < 0.75:
        name = f"{words.word(rng)}.txt"
        tool = rng.choice(_FETCHES)
        call = Call(tool, to_json({rng.choice(("path", "name", "file", "url")): name}))
        turns = (User(f"Read {name}."), call, Result(tool, said.text), Answer(rng.choice(_READ)))
    return "".join(history(turn, style) for turn in turns)


def question(rng: Random, setting: Setting, secrets: tuple[Secret, ...]) -> Task:
    """Ask for one of the secrets, or sometimes for one that the text does not state."""
    if rng.random() < 0.05:
        return canary.unknown_beside(rng, setting, secrets)
    return canary.asks_for(rng, setting, "secret in long text", (), rng.choice(secrets))


def skips(rng: Random, length: int) -> tuple[tuple[int, int], ...]:
    """Places in a prefix and the number of positions to skip at each; often empty (2 of 5)."""
    room = REACH - length
    if rng.random() < 0.4 or room < 2:
        return ()
    count = rng.choice((1, 1, 2, 3))
    places = sorted(rng.sample(range(1, length), min(count, length - 1)))
    total = int(math.exp(rng.uniform(0, math.log(room))))
    shares = [rng.random() for _ in places]
    left = [int(total * share / sum(shares)) for share in shares]
    return tuple(zip(places, left, strict=True))
