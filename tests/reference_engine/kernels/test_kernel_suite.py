"""Runs the kernel tests in subprocesses: in Triton's interpreter, compiled, and on a GPU.

TRITON_INTERPRET must be set before Triton is imported and cannot be changed afterwards.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
SUITES = (("attention",), ("block",), ("experts",), ("chunk_sums", "model"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None,
        reason="Triton is not installed (there is none for this platform): its kernels go untested",
    ),
]


def run(*suites, **environment):
    files = [HERE / f"kernel_{suite}.py" for suite in suites]
    # The fixtures of the other tests are not needed, and take as long to import as PyTorch.
    command = [sys.executable, "-m", "pytest", "--noconftest", "-p", "no:cacheprovider", *files]
    kept = {name: text for name, text in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("suites", SUITES, ids=" and ".join)
def test_kernels_in_the_interpreter(suites):
    run(*suites, TRITON_INTERPRET="1")


def test_kernels_compile_for_an_h200(tmp_path):
    run("compile", TRITON_CACHE_DIR=str(tmp_path))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_kernels_on_a_gpu():
    """The tests of the experts have not run on a GPU; the others passed on an H100, with older
    kernels of attention and routing.
    """
    for suites in SUITES:
        run(*suites)
