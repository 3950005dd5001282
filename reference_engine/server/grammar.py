"""Answers with a JSON format: the tokens that continue a valid document.

Everything before the answer is free: the chain of thought, preambles and calls. Within the answer,
llguidance follows the document token by token, and only `<|return|>` ends it. The vocabulary that
it needs takes about a second and 100 MB, so it is built for the first such answer.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harmony.conversation import AnswerFormat
from harmony.parse import FIRST_SPECIAL, RETURN, HarmonyParser, Started, messages_in
from harmony.vocabulary import harmony_encoding, token_bytes
from reference_engine.model.config import VOCABULARY

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_SPACE = r" |\n {0,40}"
"""Space between the parts of a document: one, or a new line and its indentation. With any number of
spaces, a weak model can write them without end."""

_MOST_STATES = 20_000
"""States of a document's patterns, at which the answer ends. A pattern such as (a{1000}){1000} has
millions, and would stop all requests for minutes."""
_PIECE = 1000  # characters that are tokenized together: the time is not linear in a long word


def rules_for(schema: Mapping[str, Any], *, strict: bool) -> str:
    """The rules of documents that follow a schema, as llguidance reads them. Raises ValueError.

    Unless `strict`, they leave out what llguidance does not support.
    """
    from llguidance import LLMatcher

    rules = LLMatcher.grammar_from_json_schema(
        json.dumps(schema),
        defaults={"whitespace_pattern": _SPACE, "json_allow_general_unicode_escapes": True},
        overrides={"lenient": not strict},
    )
    refused, reasons = LLMatcher.validate_grammar_with_warnings(rules)
    if refused:
        raise ValueError(" ".join(reasons[0].split()))
    return rules


@dataclass(frozen=True)
class AnswerGrammar:
    """Completions whose answer, if there is one, follows the rules of `rules_for`."""

    rules: str

    @classmethod
    def of(cls, wanted: AnswerFormat) -> "AnswerGrammar":
        """The grammar of an answer with this format. Raises ValueError."""
        return cls(rules_for(wanted.schema, strict=wanted.strict))

    def start(self, prompt: Sequence[int]) -> "AnswerConstraint":
        """See `generation.sampling.Grammar`. The prompt may end in a header of the answer."""
        constraint = AnswerConstraint(self.rules)
        for header in messages_in(prompt)[-1:]:
            for token in header:
                constraint.take(token)
        return constraint


class AnswerConstraint:
    """See `generation.sampling.Constraint`."""

    def __init__(self, rules: str) -> None:
        self._rules = rules
        self._parser = HarmonyParser()
        self._answer: LLMatcher | None = None

    def take(self, token: int) -> bool:
        """Take the next token if it is allowed."""
        before = self._parser.open
        if self._answer and not _continues(self._answer, token):
            return False
        self._parser.feed(token)
        if self._parser.open is not before:
            self._answer = _matcher(self._rules, self._parser.open)
        return True

    def allowed(self) -> Tensor:
        """The tokens that continue the answer."""
        assert self._answer is not None
        bits = np.frombuffer(self._answer.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, count=VOCABULARY, bitorder="little")
        return torch.from_numpy(mask).bool()


def _continues(answer: "LLMatcher", token: int) -> bool:
    if token == RETURN:
        return answer.is_accepting()
    return answer.try_consume_tokens([token]) == 1


def _matcher(rules: str, message: Started | None) -> "LLMatcher | None":
    if message is None or message.kind != "answer":
        return None
    from llguidance import LLMatcher, LLParserLimits

    limits = LLParserLimits(max_lexer_states=_MOST_STATES)
    return LLMatcher(_tokenizer(), rules, limits=limits, log_level=0)


class _Vocabulary:
    """The vocabulary as llguidance reads it."""

    def __init__(self) -> None:
        self.eos_token_id = RETURN
        self.bos_token_id = None
        self.special_token_ids = range(FIRST_SPECIAL, VOCABULARY)
        ordinary = token_bytes()
        self.tokens = [*ordinary, *[b"<|special|>"] * (VOCABULARY - len(ordinary))]

    def __call__(self, text: bytes) -> list[int]:
        """The tokens of a text that a document requires, which may be very long."""
        whole = text.decode()
        pieces = [whole[at : at + _PIECE] for at in range(0, len(whole), _PIECE)]
        encode = harmony_encoding().encode
        return [token for each in pieces for token in encode(each, disallowed_special=())]


@cache
def _tokenizer() -> "LLTokenizer":
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Vocabulary()))
