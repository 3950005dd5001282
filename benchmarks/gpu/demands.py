"""The bytes and operations that one forward pass needs, as the limit of speed.

They are computed from the shapes: weights in MXFP4 (experts) and bfloat16 (everything else), keys
and values in bfloat16. The float32 logits are written once, and sampling reads them once. Other
activations stay in caches and are not counted.
"""

from dataclasses import dataclass

from reference_engine.model.config import ModelConfig

BYTES = 2
"""Bytes of a number in bfloat16."""
LOGIT_BYTES = 8
"""Bytes that a logit in float32 moves: written and read once."""
MXFP4_BYTES = 17 / 32
"""Bytes of a number in MXFP4: 16 bytes and a scale for 32 numbers."""


@dataclass(frozen=True)
class Demand:
    """Bytes to read from memory, and operations (a multiply-add counts as two)."""

    moved: float
    operations: float

    def seconds(self, bandwidth: float, rate: float) -> float:
        """The shortest time on a device with this bandwidth and rate (per second)."""
        return max(self.moved / bandwidth, self.operations / rate)


def active_experts(experts: int, chosen: int, tokens: int) -> float:
    """The expected number of a layer's experts that at least one token of the batch chooses.

    E (1 - (1 - k / E) ^ B): each of B tokens chooses k of E equally probable experts.
    """
    return experts * (1 - (1 - chosen / experts) ** tokens)


def decode_step(config: ModelConfig, batch: int, context: int) -> Demand:
    """One more token for each of `batch` sequences of `context` tokens."""
    keys = sum(_keys_seen(config, layer, context) for layer in range(config.num_hidden_layers))
    cache = 2 * BYTES * batch * keys * config.num_key_value_heads * config.head_dim
    return Demand(
        moved=_weights_read(config, batch) + cache + sampling(config, batch),
        operations=_matrix_operations(config, batch, batch) + batch * _per_key(config) * keys,
    )


def prefill(config: ModelConfig, tokens: int) -> Demand:
    """The prefill of one prompt, and the logits of the next token."""
    pairs = 0.0
    for layer in range(config.num_hidden_layers):
        seen = min(_window(config, layer) or tokens, tokens)
        pairs += seen * (seen + 1) / 2 + (tokens - seen) * seen
    return Demand(
        moved=_weights_read(config, tokens) + sampling(config, 1),
        operations=_matrix_operations(config, tokens, 1) + _per_key(config) * pairs,
    )


def sampling(config: ModelConfig, rows: int) -> float:
    """The bytes that the logits of some rows move."""
    return float(LOGIT_BYTES * rows * config.vocab_size)


def _window(config: ModelConfig, layer: int) -> int | None:
    sliding = config.layer_types[layer] == "sliding_attention"
    return config.sliding_window if sliding else None


def _keys_seen(config: ModelConfig, layer: int, context: int) -> int:
    return min(_window(config, layer) or context, context)


def _per_key(config: ModelConfig) -> float:
    """Operations per query token and key, for all heads: a score and a weighted value."""
    return 4.0 * config.num_attention_heads * config.head_dim


def _attention_weights(config: ModelConfig) -> int:
    heads = 2 * config.num_attention_heads + 2 * config.num_key_value_heads
    return config.hidden_size * heads * config.head_dim


def _expert_weights(config: ModelConfig) -> int:
    return 3 * config.hidden_size * config.intermediate_size


def _weights_read(config: ModelConfig, tokens: int) -> float:
    active = active_experts(config.num_local_experts, config.num_experts_per_tok, tokens)
    router = config.hidden_size * config.num_local_experts
    layer: float = BYTES * (_attention_weights(config) + router)
    layer += MXFP4_BYTES * active * _expert_weights(config)
    table = BYTES * config.vocab_size * config.hidden_size
    return config.num_hidden_layers * layer + table


def _matrix_operations(config: ModelConfig, tokens: int, scored: int) -> float:
    router = config.hidden_size * config.num_local_experts
    chosen = config.num_experts_per_tok * _expert_weights(config)
    layer = _attention_weights(config) + router + chosen
    scores = config.vocab_size * config.hidden_size
    return 2.0 * (tokens * config.num_hidden_layers * layer + scored * scores)
