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
SUITES = ("attention", "block", "chunk_sums", "experts", "model")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None,
        reason="Triton is not installed (there is none for this platform): its kernels go untested",
    ),
]


def run(*suites, **environment):
    files = [HERE / f"kernel_{suite}.py" for suite in suites]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files]
    kept = {name: text for name, text in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_kernels_in_the_interpreter():
    run(*SUITES, TRITON_INTERPRET="1")


def test_kernels_compile_for_an_h200(tmp_path):
    run("compile", TRITON_CACHE_DIR=str(tmp_path))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_kernels_on_a_gpu():
    """The tests of the experts have not run on a GPU. The others passed on an H100, those of
    attention before that kernel was changed.
    """
    run(*SUITES)
