"""What varies between attempts at one sample: the model, its effort, the API and the mode."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from harness.records.record import Record

Api = Literal["responses", "chat", "harmony"]
"""`harmony` is a raw completions endpoint, for which the tool itself renders and parses harmony."""
Mode = Literal["streaming", "non-streaming"]

APIS: tuple[Api, ...] = ("responses", "chat", "harmony")
BOTH_APIS: tuple[Api, ...] = ("responses", "chat")
"""The APIs for which the provider converts conversations to harmony and back."""
MODES: tuple[Mode, ...] = ("streaming", "non-streaming")

EFFORTS = ("low", "medium", "high")
_BETWEEN = " · "  # the parts of a name


class Condition(Record):
    """The model, the reasoning effort (None: not sent), the API and the mode of an attempt.

    The condition of a task or a result has no mode if its tries alternate between both.
    """

    model: str
    effort: str | None = None
    api: Api
    mode: Mode | None

    @property
    def streaming(self) -> bool:
        """Whether requests set `stream`."""
        return self.mode == "streaming"

    @property
    def name(self) -> str:
        """API and mode: `chat · streaming`; only the API if the modes alternate."""
        return self.api if self.mode is None else f"{self.api}{_BETWEEN}{self.mode}"

    @property
    def alternating(self) -> Condition:
        """The condition whose tries alternate between the modes."""
        return self.model_copy(update={"mode": None})


PARTS = ("model", "effort", "api", "mode")


def parts_of(name: str) -> tuple[str, ...]:
    """Return the API and the mode in the name of a condition, which is a key in files of a run."""
    return tuple(name.split(_BETWEEN))


def rank(name: str) -> list[int]:
    """Return a key that sorts names of conditions, or of parts of them, as `APIS` and `MODES`."""
    order = (*APIS, *MODES)
    return [order.index(word) for word in parts_of(name) if word in order]


def varying(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Return the parts in which conditions differ, in the order of `PARTS`."""
    return tuple(part for part in PARTS if len({getattr(e, part) for e in conditions}) > 1)


def path_of(condition: Condition, parts: Sequence[str]) -> str:
    """Return some parts of a condition as the middle of an id: `chat/streaming`."""
    values = (getattr(condition, part) or "default" for part in parts)
    return "/".join(value.replace("/", ":") for value in values)


_SIZE = re.compile(r"(?<!\d)(120|20)b(?![a-z0-9])", re.IGNORECASE)


def known_model(name: str) -> str | None:
    """Return the gpt-oss model that a model name means: `gpt-oss-120b`, `gpt-oss-20b` or None."""
    sizes = {size.lower() for size in _SIZE.findall(name)}
    return f"gpt-oss-{sizes.pop()}b" if len(sizes) == 1 else None
