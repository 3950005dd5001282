"""Long prompts: their tokens, the words in them, cached prefixes, tool loops and the context limit.

Three kinds of evidence do not depend on the model: prompt tokens that differ from harmony's, words
that only another request contained, and other logprobs for the same prompt. Whether the model finds
a word in a long text also depends on its ability, and never fails a server.
"""

from harness.probes.long import prefix, tokens, words
from harness.probes.long.requests import GROUP

__all__ = ["GROUP", "prefix", "tokens", "words"]
