"""Divides a complete model among the processes of tensor parallelism (`sharding`)."""

from torch import nn

from reference_engine.model.sharding import Shard
from reference_engine.model.transformer import Transformer


def divide(model: Transformer, shard: Shard) -> None:
    """Reduce a model without weights to the part of a process. Raises SetupError.

    `model.config` then has the process's number of heads.
    """
    if shard.ranks == 1:
        return
    whole, experts = model.config, model.config.num_local_experts
    model.config, model.shard = shard.local_config(whole), shard
    for name, parameter in list(model.named_parameters()):
        owner, _, attribute = name.rpartition(".")
        part = nn.Parameter(shard.cut(name, whole).of(parameter.detach()), requires_grad=False)
        setattr(model.get_submodule(owner), attribute, part)
    for block in model.blocks:
        block.attn.heads = model.config.num_attention_heads
        block.attn.kv_heads = model.config.num_key_value_heads
        block.attn.register_forward_hook(lambda module, given, part: shard.sum(part))
        block.mlp.gate.register_forward_hook(
            lambda module, given, best: shard.local_experts(best[0], best[1], experts)
        )
        block.mlp.register_forward_hook(lambda module, given, part: shard.sum(part))
    model.unembedding.register_forward_hook(lambda module, given, part: shard.gather(part))
