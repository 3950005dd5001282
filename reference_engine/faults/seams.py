"""Every seam at which a fault can act, in the order in which a request meets them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

from torch import Tensor

from harmony.conversation import Conversation
from harmony.parse import HarmonyParser
from reference_engine.faults.base import Seam
from reference_engine.faults.traffic import Asked, Frame, Frames, Json, Reply
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.model.transformer import Transformer
from reference_engine.server.generation import Order

MODEL = Seam[Callable[[Transformer], None]]("model")
"""The loaded model, changed in place before the first request; it has no rate."""

REQUEST = Seam[Callable[[Json, Asked], Json]]("request")
"""The request's JSON before it is read; may raise `ApiError`."""

ORDER = Seam[Callable[[Order], Order]]("order")
"""The conversation, the sampling and the tool policy that were read from it."""

PROMPT = Seam[Callable[[list[int], Conversation], list[int]]]("prompt")
"""The rendered prompt; what comes out is what `usage` counts."""

READ = Seam[Callable[[list[int]], list[int]]]("read")
"""The tokens that the model really reads; `usage` does not see this change."""

PARAMS = Seam[Callable[[SamplingParams], SamplingParams]]("params")
"""How the engine is asked to sample."""

LOGITS = Seam[Callable[[Tensor, Sequence[int], int], Tensor]]("logits")
"""The scores (vocabulary,) of the next token, all tokens before it, and how many are generated."""

TOKENS = Seam[Callable[[AsyncGenerator[Token]], AsyncGenerator[Token]]]("tokens")
"""The tokens that the model generates."""

PARSER = Seam[Callable[[HarmonyParser, Order], HarmonyParser]]("parser")
"""What turns the tokens into messages."""

DATA = Seam[Callable[[Json, Asked], Json]]("data")
"""Each JSON object sent with status 200: the reply, or the data of each event."""

REPLY = Seam[Callable[[Reply, Asked], Reply]]("reply")
"""A whole reply or error; of a stream, its status and headers only."""

FRAMES = Seam[Callable[[Frames, Asked], Frames]]("frames")
"""The events of a stream."""

__all__ = [
    "DATA",
    "FRAMES",
    "LOGITS",
    "MODEL",
    "ORDER",
    "PARAMS",
    "PARSER",
    "PROMPT",
    "READ",
    "REPLY",
    "REQUEST",
    "TOKENS",
    "Asked",
    "Frame",
    "Frames",
    "Json",
    "Reply",
]
