"""Constrains answers with a JSON format and arguments of strict functions, token by token.

Everything else is unconstrained: the chain of thought, preambles and other calls. Within an answer
or the arguments, llguidance follows the document, and only `<|return|>` or `<|call|>` ends it.
Building the vocabulary of llguidance takes about a second and 100 MB, so it is built for the first
constrained document.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from harmony.conversation import Conversation
from harmony.parse import CALL, FIRST_SPECIAL, RETURN, HarmonyParser, Started, messages_in
from harmony.vocabulary import harmony_encoding, token_bytes
from reference_engine.model.config import VOCABULARY
from reference_engine.server.enforceable import enforceable

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_SPACE = r" |\n {0,40}"
"""White space between the parts of a document: one space, or a new line and its indentation. If any
number of spaces were allowed, a weak model could write them endlessly."""

_MOST_STATES = 20_000
"""Number of states of a document's patterns at which the answer ends. A pattern such as
(a{1000}){1000} has millions of states and would block all requests for minutes."""
_PIECE = 1000  # characters tokenized together; the time is not linear in word length


def rules_for(schema: Mapping[str, Any], *, strict: bool) -> str:
    """Return the llguidance rules of documents that follow a schema. Raises ValueError.

    Unless `strict`, the rules ignore what llguidance does not support.
    """
    from llguidance import LLMatcher

    rules = LLMatcher.grammar_from_json_schema(
        json.dumps(enforceable(dict(schema), strict=strict)),
        defaults={"whitespace_pattern": _SPACE, "json_allow_general_unicode_escapes": True},
        overrides={"lenient": not strict},
    )
    refused, reasons = LLMatcher.validate_grammar_with_warnings(rules)
    if refused:
        raise ValueError(" ".join(reasons[0].split()))
    return rules


def rules_for_calls(parameters: Mapping[str, Any] | None) -> str:
    """Return the llguidance rules of the arguments of a strict function. Raises ValueError."""
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    return rules_for(parameters or nothing, strict=True)


@dataclass(frozen=True)
class ReplyGrammar:
    """Completions whose answer and calls, if any, follow the rules of `rules_for`.

    Attributes:
        answer: the rules of the answer; None if any answer is allowed.
        calls: the rules of the arguments of strict functions, by name.
    """

    answer: str | None
    calls: Mapping[str, str] = field(hash=False)

    @classmethod
    def of(cls, conversation: Conversation) -> "ReplyGrammar | None":
        """Return the grammar of the reply; None if everything is allowed. Raises ValueError."""
        wanted = conversation.answer_format
        answer = rules_for(wanted.schema, strict=wanted.strict) if wanted else None
        strict = [tool for tool in conversation.tools if tool.strict]
        calls = {tool.name: rules_for_calls(tool.parameters) for tool in strict}
        return cls(answer, calls) if answer or calls else None

    def start(self, prompt: Sequence[int]) -> "ReplyConstraint":
        """See `generation.sampling.Grammar`. The prompt may end in the header of a message."""
        constraint = ReplyConstraint(self)
        for header in messages_in(prompt)[-1:]:
            for token in header:
                constraint.take(token)
        return constraint

    def rules_of(self, message: Started | None) -> str | None:
        """Return the grammar of a message's text: that of the answer, or of the called function.

        None if the message has not begun, or if its text is free.
        """
        if message is None:
            return None
        return self.answer if message.kind == "answer" else self.calls.get(message.name)


class ReplyConstraint:
    """See `generation.sampling.Constraint`."""

    def __init__(self, grammar: ReplyGrammar) -> None:
        self._grammar = grammar
        self._parser = HarmonyParser()
        self._document: LLMatcher | None = None
        self._end = RETURN  # the token that ends the document

    def take(self, token: int) -> bool:
        """Take the next token if it is allowed."""
        before = self._parser.open
        if self._document and not self._continues(self._document, token):
            return False
        self._parser.feed(token)
        message = self._parser.open
        if message is not before:
            rules = self._grammar.rules_of(message)
            self._document = None if rules is None else _matcher(rules)
            self._end = CALL if message and message.kind == "call" else RETURN
        return True

    def allowed(self) -> Tensor:
        """Return the tokens that continue the document."""
        assert self._document is not None
        bits = np.frombuffer(self._document.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, count=VOCABULARY, bitorder="little")
        mask[self._end], mask[RETURN + CALL - self._end] = mask[RETURN], 0
        return torch.from_numpy(mask).bool()

    def _continues(self, document: "LLMatcher", token: int) -> bool:
        if token == self._end:
            return document.is_accepting()
        return token < FIRST_SPECIAL and document.try_consume_tokens([token]) == 1


def _matcher(rules: str) -> "LLMatcher":
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
        """Return the tokens of a required text of a document, which may be very long."""
        whole = text.decode()
        pieces = [whole[at : at + _PIECE] for at in range(0, len(whole), _PIECE)]
        encode = harmony_encoding().encode
        return [token for piece in pieces for token in encode(piece, disallowed_special=())]


@cache
def _tokenizer() -> "LLTokenizer":
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Vocabulary()))
