"""What a scheduler counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Tally:
    """What has happened so far.

    Attributes:
        prompt_tokens: Tokens of prompts that were read.
        reused_tokens: Tokens of prompts that were found read already.
        generated_tokens: Tokens that were generated.
        repeated_tokens: Those of them that were read again after their pages were lost.
        preemptions: How often a sequence gave up its pages.
    """

    prompt_tokens: int = 0
    reused_tokens: int = 0
    generated_tokens: int = 0
    repeated_tokens: int = 0
    preemptions: int = 0

    def totals(self) -> dict[str, tuple[str, int]]:
        """The counts by the names of their metrics, each with what it says."""
        return {
            "prompt_tokens": ("Tokens of prompts that were read.", self.prompt_tokens),
            "reused_prompt_tokens": (
                "Tokens of prompts that were found read already.",
                self.reused_tokens,
            ),
            "generated_tokens": ("Tokens that were generated.", self.generated_tokens),
            "repeated_tokens": (
                "Generated tokens that were read again after their pages were lost.",
                self.repeated_tokens,
            ),
            "preemptions": ("How often a request gave up its pages.", self.preemptions),
        }
