"""Texts that the model repeats: unchanged on their way to the model and back to the client.

The user's message ends with a text that the answer should repeat, at temperature 0 because a
sampled word is sometimes wrong. Even then, a model may copy a text incorrectly: the account of the
replies tells whether the server changed it (see `harness.rules.account`).
"""

from collections.abc import Mapping

from pydantic import TypeAdapter

from harness.api.items import Message
from harness.records.conditions import MODES, Api
from harness.records.replies import Wanted
from harness.rules.evidence.tables import table
from harness.rules.probe import MAY_BE_REFUSED, ProbeGroup, ProbeRequest, account_judge
from harness.rules.rule import CHAT

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
LONG_TEXTS = TypeAdapter(dict[str, str]).validate_python(table("text")["long"])
"""Texts with many pieces, some of which a server may lose."""
ALL_TEXTS = {**TEXTS, **LONG_TEXTS}
_FAULTS = ("lost", "added", "changed")


def _requests(api: Api) -> tuple[ProbeRequest, ...]:
    """Return the requests; in Chat, both ends of a long text begin stop strings that never come.

    A server that holds such text back may lose it: more tokens than any slip of a model.
    """
    held = {name: [f"{t[:100]}s", f"{t[-100:]}s"] for name, t in LONG_TEXTS.items()}
    stops = held if api == "chat" else {}
    return tuple(
        ProbeRequest(
            name,
            (Message("user", f"Please repeat after me: {text}"),),
            temperature=0.0,
            tries=2,
            confirming=1,
            options={"stop": stops[name]} if name in stops else {},
            wanted=Wanted(text=text),
            provokes=MAY_BE_REFUSED if name in stops else frozenset(),
        )
        for name, text in ALL_TEXTS.items()
    )


GROUP = ProbeGroup("echo", _requests, CHAT, modes=MODES, family="text", component="text")


GROUP.probe(
    "echo.returned",
    ALL_TEXTS,
    unjudged="not_echoed",
    witness=True,
    text="The text of an answer reaches the client as the model wrote it. Any change alters code, "
    "quotations and data.",
)(
    account_judge(
        *ALL_TEXTS, reports=lambda entry: entry.kind in _FAULTS and entry.place == "answer"
    )
)
