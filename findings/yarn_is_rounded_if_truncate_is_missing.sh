#!/usr/bin/env bash
# The YaRN of gpt-oss does not round the limits of its ramp (`truncate: false`). transformers 5.23.0
# does so too if a gpt-oss configuration has no rope settings, but if it has some without `truncate`,
# transformers rounds: the default of the key is true, that of the whole object is false.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install \
    torch==2.13.0 transformers==5.23.0
seen=$("$work/venv/bin/python" - 2>/dev/null <<'PY'
import torch
from transformers import GptOssConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
def frequencies(**changes):
    rope = {"rope_type": "yarn", "rope_theta": 150000.0, "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "original_max_position_embeddings": 4096, **changes}
    return ROPE_INIT_FUNCTIONS["yarn"](GptOssConfig(rope_parameters=rope), "cpu")[0]
default = ROPE_INIT_FUNCTIONS["yarn"](GptOssConfig(), "cpu")[0]
print("with truncate false as without rope settings:", torch.allclose(frequencies(truncate=False), default))
change = (frequencies() / default - 1).abs()
print(f"without truncate, {(change > 0.001).sum()} of {len(change)} frequencies differ, by up to {change.max():.0%}")
PY
)
echo "$seen"
# Seen on 2026-11-29:
[ "$seen" = "with truncate false as without rope settings: True
without truncate, 9 of 32 frequencies differ, by up to 76%" ]
