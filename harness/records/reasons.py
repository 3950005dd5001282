"""Why a rule has no result, or a milder one: a code with values, and its sentence."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Literal

import yaml
from pydantic import Field, TypeAdapter, model_validator

from harness.records.record import Record

PARTLY_JUDGED = "partly_judged"
"""The reason of a probe that passed, but has replies that nothing could judge."""
ONE_API_JUDGED = "one_api_judged"
"""The reason of a probe that passed over one API, and could judge nothing over another."""
Lacks = Literal["request", "reply", "logprobs"]


class _Wording(Record):
    """The sentence of a code, with the names of its values in braces, and what was missing.

    `until` says what would make a rule verifiable that is not.
    """

    text: str
    lacks: Lacks | None = None
    until: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"text": value} if isinstance(value, str) else value


@cache
def wordings() -> Mapping[str, _Wording]:
    """Return the table `harness/data/reasons.yaml` by code."""
    table = resources.files("harness") / "data" / "reasons.yaml"
    parsed = yaml.safe_load(table.read_text("utf-8"))
    return TypeAdapter(dict[str, _Wording]).validate_python(parsed)


class Reason(Record):
    """A reason by its code; programs read the code and its values, reports show `text`."""

    code: str = Field(description="a key of harness/data/reasons.yaml")
    values: Mapping[str, str | int | float] = {}

    @property
    def text(self) -> str:
        """Return the sentence; of a code that only a newer version knows, its words."""
        known = wordings().get(self.code)
        if known is None:
            return f"{self.code.replace('_', ' ').capitalize()}."
        return known.text.format(**self.values)

    @property
    def until(self) -> str | None:
        """Return what would make a rule verifiable that is not, in a sentence."""
        known = wordings().get(self.code)
        return None if known is None else known.until

    @property
    def lacks(self) -> Lacks | None:
        """Return what the run lacks: a request, its reply, or the logprobs of replies."""
        known = wordings().get(self.code)
        return None if known is None else known.lacks
