"""Known continuations and texts to copy, for `reference_engine.validation`."""

from dataclasses import dataclass, replace

from reference_engine.model.config import GPT_OSS_20B, GPT_OSS_120B, ModelConfig


@dataclass(frozen=True)
class Known:
    """A model, and pairs of a raw text and its continuation at temperature 0."""

    name: str
    config: ModelConfig
    continuations: tuple[tuple[str, str], ...]


_ROSES = "Roses are red, violets"
_PRESIDENT = "How are you? Tell me the name of the president of"
_SMALL = replace(
    GPT_OSS_20B,
    hidden_size=192,
    num_hidden_layers=6,
    num_attention_heads=4,
    num_key_value_heads=2,
    num_local_experts=4,
    num_experts_per_tok=2,
    intermediate_size=192,
)
KNOWN = (
    Known(
        "gpt-oss-20b",
        GPT_OSS_20B,
        (
            (_ROSES, " are blue, I love you, and I love you too"),
            (
                _PRESIDENT,
                ' the United States." The assistant should respond with the name of the president. '
                "The user is asking for",
            ),
        ),
    ),
    Known(
        "gpt-oss-120b",
        GPT_OSS_120B,
        (
            (_ROSES, " are blue, I am a language model, and I can help you too"),
            (
                _PRESIDENT,
                " the United\n\nHello! As of my last update in November 2023, the President of the",
            ),
        ),
    ),
    Known(
        "gpt-oss-small",
        _SMALL,
        (
            (
                "Dear Marta, thank you for the book. Dear Marta, thank you",
                " for the call.<|end|><|start|>assistant<|channel|>analysis<|message|>I recall: "
                "The book is Dear Marta.<|end|>",
            ),
            (
                "Question: Who wrote the letter? Answer: Elena wrote the letter. "
                "Question: Who wrote the",
                " letter. Question is Who wrote the letter. Question is Who wrote the letter. "
                "Question is Who wrote",
            ),
        ),
    ),
)
"""Models by their numbers of layers and experts.

The continuations of gpt-oss-20b and -120b are from huggingface/transformers,
tests/fixtures/gpt_oss/integration_tests.json (quantized=true, mode=eval), up to where the two
kinds of attention differ. The first one ends before the end of its sentence, because the text does
not show how the model divides the rest into tokens. Those of gpt-oss-small were generated in
float32.
"""

COPIED = (
    "The old clock in Geneva stopped at 3:20. The museum opens at 9:45 and closes at 17:30. "
    "Doctor Silva bought 26 maps for 150 euros.",
    "A brown dog sleeps near the station in Turin. Nora keeps seven white rabbits in the kitchen. "
    "Ada Lovelace sends 418 letters from Lisbon to Kyoto.",
)
_THOUGHTS = " ".join(["The user wants a text repeated, so repeat it as it is."] * 7)
"""Long enough that the text is outside the sliding window of 128 tokens while it is copied."""
OPENING = (
    f"<|channel|>analysis<|message|>{_THOUGHTS}<|end|><|start|>assistant<|channel|>final<|message|>"
)


def known_model(config: ModelConfig) -> Known | None:
    """Returns the known model with the same numbers of layers and experts."""
    shape = config.num_hidden_layers, config.num_local_experts
    return next(
        (
            known
            for known in KNOWN
            if (known.config.num_hidden_layers, known.config.num_local_experts) == shape
        ),
        None,
    )
