"""Texts that the model repeats: unchanged on their way to the model and back to the client.

The user's message ends with a text that the answer should repeat, at temperature 0 because a
sampled word is sometimes wrong. Even then, a model may copy a text incorrectly: the account of the
replies tells whether the server changed it (see `harness.rules.account`).
"""

from collections.abc import Mapping

from pydantic import TypeAdapter

from harness.api.items import Message
from harness.records.conditions import MODES
from harness.records.replies import Wanted
from harness.rules.account.entry import Entry
from harness.rules.evidence.tables import table
from harness.rules.probe import ProbeGroup, ProbeRequest, account_judge
from harness.rules.rule import CHAT

_ASK = "Please repeat after me: "
TEXTS: Mapping[str, str] = {
    "markup": "use <b>five</b> knots & 3.5 < 4",
    "markdown": "**low** tide at *six* and `seven`",
    "blank lines": "salt\n\n\npepper",
    "indentation": "if tide:\n    sail()",
    "typography": "it’s “low” – wait …",
    "emoji": "潮 🌊 žluté",
    "spaces": "dock    nine",
    "capitals": "ALMA and The QUAY",
    "number": "004940123456789",
    "address": "mate@quay.example",
    "quotes": 'the "Alma" left port',
    "line separators": "salt\u2028pepper\u2029dock\x85nine",
    "words": "the secret password is to kill the code",
}
REPEATING: Mapping[str, str] = {
    "laughter": f"ha{' ha' * 29}, said the mate",
    "bell": f"ding{' ding' * 29}, dinner is ready",
    "zeros": f"7{'0' * 88} boats",
    "emphasis": f"a very{' very' * 29} old pier",
    "song": f"la{' la' * 29}, they sang",
    "refusal": f"no{' no' * 29}, said the skipper",
}
"""Texts with equal neighbouring tokens, which are equal neighbouring events of a stream. A server
that drops one of each two loses more tokens of a text than anything else explains."""
LONG_TEXTS = TypeAdapter(dict[str, str]).validate_python(table("text")["long"])
"""Texts with many pieces, some of which a server may lose."""
ALL_TEXTS = {**TEXTS, **REPEATING, **LONG_TEXTS}
_FAULTS = ("lost", "added", "changed")

GROUP = ProbeGroup("echo", CHAT, modes=MODES, family="text", component="text")
_REPEATED = GROUP.send_all(
    ProbeRequest(
        name,
        (Message("user", f"{_ASK}{text}"),),
        temperature=0.0,
        tries=2,
        confirming=0 if name in REPEATING else 1,
        wanted=Wanted(text=text),
        provokes=frozenset({"text.runaway"} if name in REPEATING else ()),
    )
    for name, text in ALL_TEXTS.items()
)


def _is_changed(entry: Entry) -> bool:
    return entry.kind in _FAULTS and entry.place == "answer"


GROUP.probe(
    "echo.returned",
    _REPEATED,
    unjudged="not_echoed",
    witness=True,
    text="The text of an answer reaches the client as the model wrote it. Any change alters code, "
    "quotations and data.",
)(account_judge(_is_changed))
