"""mlx-lm behind our server, and errors on machines without its hardware."""

import sys
from contextlib import nullcontext

import pytest
import torch

from harmony.conversation import Conversation, User
from harmony.parse import STOP_TOKENS
from harmony.render import render_prompt
from reference_engine.__main__ import main
from reference_engine.backends.in_process import ROTATED, require_rotation
from reference_engine.backends.settings import BackendSettings
from reference_engine.checkpoint import load_model
from reference_engine.checkpoint.export import export_small
from reference_engine.errors import SetupError
from reference_engine.faults.catalogue import read_plan
from reference_engine.generation.engine import Engine, SamplingParams
from reference_engine.server.serve import open_engine
from reference_engine.server.settings import SMALL_CHECKPOINT, ServeSettings

MLX = BackendSettings(name="mlx")
PROMPT = render_prompt(Conversation((User("What is 17 + 25?"),)))
GREEDY = SamplingParams(60, temperature=0.0, stop_token_ids=STOP_TOKENS)


def test_without_mlx_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mlx", None)
    with pytest.raises(SetupError, match="pip install mlx-lm"):
        open_engine(ServeSettings(backend=MLX, checkpoint=tmp_path))


@pytest.mark.parametrize(
    ("fault", "refused"), [(None, False), ("yarn-rounded", False), ("yarn-missing", True)]
)
def test_a_library_that_rotates_without_yarn_is_refused(fault, refused):
    """mlx-lm 0.32.2 rounds the bounds of YaRN's range, and does not know `rope_parameters`."""
    rotary = read_plan([fault] if fault else []).damage(load_model(SMALL_CHECKPOINT)).rotary
    turned = [x.flatten().tolist() for x in rotary.angles(torch.tensor([[ROTATED]]))]
    with pytest.raises(SetupError, match="rope_scaling") if refused else nullcontext():
        require_rotation(SMALL_CHECKPOINT, *turned)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an Apple GPU")
def test_without_an_apple_gpu_one_sentence_says_what_to_do(capsys):
    assert main(["serve", "--device", "mps"]) != 0
    assert "use --device cpu." in capsys.readouterr().err


async def test_mlx_generates_what_our_engine_generates(tmp_path):
    pytest.importorskip("mlx_lm", reason="mlx-lm is not installed")
    original, packed = tmp_path / "original", tmp_path / "packed"
    export_small(original, layout="original")
    assert main(["convert", str(original), str(packed), "--layout", "hf"]) == 0
    theirs = open_engine(ServeSettings(packed, backend=MLX, max_context=512))
    ours = Engine(load_model(SMALL_CHECKPOINT), max_context=512)
    said = []
    for engine in (theirs, ours):
        engine.start()
        said.append([token.id async for token in engine.generate(PROMPT, GREEDY)])
        engine.close()
    assert said[0] == said[1]
