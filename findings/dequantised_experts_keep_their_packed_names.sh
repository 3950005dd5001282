#!/usr/bin/env bash
# transformers 5.23.0 saves a gpt-oss model that it has dequantised from MXFP4 with experts in bfloat16
# under the names of packed ones (`gate_up_proj_blocks`), and without a quantization_config. It cannot
# read that checkpoint itself: it gives the experts new random values, with a warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install \
    torch==2.13.0 transformers==5.23.0
seen=$("$work/venv/bin/python" - "$work" 2>/dev/null <<'PY'
import json, sys, torch
from pathlib import Path
from safetensors.torch import load_file, save_file
from transformers import GptOssConfig, GptOssForCausalLM, Mxfp4Config
work = Path(sys.argv[1])
config = GptOssConfig(
    vocab_size=100, hidden_size=64, intermediate_size=64, num_hidden_layers=2, head_dim=16,
    num_attention_heads=4, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2,
)
torch.manual_seed(0)
GptOssForCausalLM(config).save_pretrained(work / "packed")
tensors = load_file(work / "packed" / "model.safetensors")
for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
    experts, columns, rows = tensors.pop(name).shape
    tensors[f"{name}_blocks"] = torch.randint(0, 256, (experts, rows, columns // 32, 16), dtype=torch.uint8)
    tensors[f"{name}_scales"] = torch.full((experts, rows, columns // 32), 120, dtype=torch.uint8)
save_file(tensors, work / "packed" / "model.safetensors", {"format": "pt"})
raw = json.loads((work / "packed" / "config.json").read_text())
raw["quantization_config"] = {"quant_method": "mxfp4"}
(work / "packed" / "config.json").write_text(json.dumps(raw))

model = GptOssForCausalLM.from_pretrained(
    work / "packed", quantization_config=Mxfp4Config(dequantize=True), dtype=torch.bfloat16
)
model.save_pretrained(work / "saved")
saved = load_file(work / "saved" / "model.safetensors")
for name, tensor in sorted(saved.items()):
    if "layers.0.mlp.experts" in name and not name.endswith("bias"):
        print(name.rpartition(".")[2], str(tensor.dtype).removeprefix("torch."), list(tensor.shape))
print("declared:", json.loads((work / "saved" / "config.json").read_text()).get("quantization_config"))
again = GptOssForCausalLM.from_pretrained(work / "saved", dtype=torch.bfloat16)
same = torch.equal(again.model.layers[0].mlp.experts.down_proj, model.model.layers[0].mlp.experts.down_proj)
print("experts after loading it again:", "the same" if same else "others")
PY
)
echo "$seen"
# Seen on 2026-11-29:
[ "$seen" = "down_proj_blocks bfloat16 [4, 64, 64]
gate_up_proj_blocks bfloat16 [4, 64, 128]
declared: None
experts after loading it again: others" ]
