"""A recorded step obeys the rules of CUDA graphs; it runs on tensors without data."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytest.importorskip("triton", reason="Triton is not installed")

from benchmarks.gpu.launches import counted, exchanges_skipped, step_without_data
from benchmarks.gpu.model import shape
from reference_engine.model.sharding import Shard


class Devices(TorchDispatchMode):
    """Collects the devices of all tensors that operators read or create."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [
            leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)
        ]
        self.found |= {tensor.device.type for tensor in tensors}
        return result


@pytest.mark.parametrize("nucleus", [False, True])
@pytest.mark.parametrize(("rows", "ranks"), [(1, 1), (8, 1), (8, 2)])
def test_a_recorded_step_needs_neither_the_host_nor_its_memory(rows, ranks, nucleus):
    """Reading a value on the host would fail, because the tensors have none."""
    decoder, batch = step_without_data(shape("20b", 2), rows, Shard(0, ranks))
    with counted() as launches, exchanges_skipped(launches), Devices() as devices:
        decoder.run(batch, nucleus)
    assert devices.found == {"meta"}
