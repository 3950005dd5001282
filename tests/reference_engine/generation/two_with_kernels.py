"""Two processes with the kernels of a GPU; kernels/test_kernel_suite.py runs this."""

from dataclasses import replace

import torch
from parallel_model import INTERPRETED
from tiny_model import tiny_config
from two_processes import made_by_two

from reference_engine.checkpoint.synthetic import synthesize


@torch.inference_mode()
def test_two_processes_with_the_kernels_of_a_gpu_agree_with_plain_pytorch(tmp_path):
    """In Triton's interpreter, with the fused kernels of a decode step."""
    place = tmp_path / "hf"
    synthesize(tiny_config(), place, "hf")
    found = made_by_two("INTERPRETED", place, tmp_path / "made.pt")
    plain = replace(INTERPRETED["kernels"], kernels="torch")
    assert found["kernels"]["made"] == plain.run(str(place))["made"]
