"""The launches of a decode step of gpt-oss-20b, counted without a GPU."""

from unittest import mock

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from triton.runtime import Autotuner, KernelInterface

from benchmarks.gpu.launches import counted, decode_launches, per_layer, step_without_data
from benchmarks.gpu.model import shape
from reference_engine.kernels import KernelsError
from reference_engine.kernels.experts_triton import down_kernel, gate_up_kernel
from reference_engine.model.sharding import Shard
from reference_engine.model.transformer import Unembedding


@pytest.mark.parametrize(("rows", "combined"), [(1, 12), (64, 0)])
def test_a_decode_step_has_the_expected_launches(rows, combined):
    """With few rows, the keys of layers without a window are split and combined.

    The slots of a single row are in order, so no launch places them.
    """
    found = decode_launches(shape("20b"), rows)
    layers = 24
    assert found["add_norm_kernel"] == 2 * layers + 1
    assert found["addmm"] == 2 * layers
    for kernel in ("rotate", "attention", "score", "choose", "gate_up", "down"):
        assert found[f"{kernel}_kernel"] == layers
    placed = layers if rows > 1 else 0
    assert found["place_kernel"] == placed
    assert found["combine_kernel"] == combined
    assert found["chunk_kernel"] == 1, "sampling reads the logits once"
    assert found["_softmax"] == 0
    assert per_layer("20b", rows) == 10 + (placed + combined) / layers
    # Embedding, rotary angles, unembedding and sampling.
    assert found.total() <= 10 * layers + placed + combined + 69


@pytest.mark.parametrize("rows", [1, 64])
def test_several_processes_need_few_further_launches(rows):
    """In a layer: two sums over processes, and the preparation of what each process adds.

    After the last one: the digests of the streams, and the logits of all processes.
    """
    layers = 24
    alone = decode_launches(shape("20b"), rows)
    found = decode_launches(shape("20b"), rows, Shard(1, 2))
    assert found["all_reduce"] == 2 * layers
    assert found["all_gather"] == 1
    further = {name: count - alone[name] for name, count in found.items() if count > alone[name]}
    assert further == {
        "all_reduce": 2 * layers, "_to_copy": layers, "new_zeros": layers,
        "sum": layers + 1, "arange": 1, "mul": 1, "copy_": 1, "all_gather": 1, "cat": 1,
    }  # fmt: skip


def tuning_key(kernel, rows):
    """The key under which the autotuner keeps its choice for a decode step of 20b."""
    found = set()

    def launch(launched, grid):
        def called(*args, **constants):
            if launched is kernel:
                given = dict(zip(kernel.arg_names, args, strict=False)) | constants
                found.add(tuple(given[name] for name in kernel.keys))

        return called

    decoder, batch = step_without_data(shape("20b", 2), rows)
    with counted(), mock.patch.object(KernelInterface, "__getitem__", launch):
        decoder.run(batch, nucleus=False)
    (key,) = found
    return key


@pytest.mark.parametrize("kernel", [gate_up_kernel, down_kernel], ids=["gate and up", "down"])
def test_few_rows_do_not_use_a_configuration_tuned_for_many(kernel):
    """All of these row counts have tiles of 16 rows."""
    keys = [tuning_key(kernel, rows) for rows in (1, 2, 8, 64, 128)]
    assert len(set(keys)) == 4
    assert keys[3] == keys[4]


LOOP = """
$L__BB0_3:
	fma.rn.bf16x2 %r5, %r9, %r10, %r11;
	wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r1,%r2,%r3,%r4}, {%r5,%r6,%r7,%r8}, %rd1;
	wgmma.commit_group.sync.aligned;
	wgmma.wait_group.sync.aligned 0;
	@%p18 bra 	$L__BB0_3;
"""
RACE = LOOP.replace("aligned 0;", "aligned 1;")
"""A loop in PTX that overwrites a register which its product may still read."""


@pytest.mark.parametrize("name", ["gate_up_kernel", "down_kernel", "attention_kernel"])
def test_no_step_uses_a_kernel_that_does_not_wait_for_its_products(name):
    def launch(kernel, grid):
        racing = isinstance(kernel, Autotuner) and kernel.base_fn.__name__ == name
        made = mock.Mock(asm={"ptx": RACE if racing else LOOP})
        return lambda *args, **constants: made

    decoder, batch = step_without_data(shape("20b", 2), 8)
    with (
        counted(),
        mock.patch.object(KernelInterface, "__getitem__", launch),
        pytest.raises(KernelsError, match="does not wait for its matrix products"),
    ):
        decoder.run(batch, nucleus=False)


def test_a_gpu_computes_float32_logits_in_one_product():
    config = shape("20b", 2)
    unembedding = Unembedding(config).to("meta", torch.bfloat16)
    rows = torch.empty(3, config.hidden_size, dtype=torch.bfloat16, device="meta")
    with counted() as launches:
        assert unembedding(rows).dtype == torch.float32
    assert launches == {"mm": 1}
