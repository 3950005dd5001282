#!/usr/bin/env bash
# oss-harmony 0.0.11, the fork of openai-harmony that vLLM 0.31 to 0.33 require, renders the recipient
# of earlier calls and of tool results after the channel, where openai-harmony 0.0.8 renders it before.
# Both prompts have as many tokens, so neither usage nor a test of lengths shows the difference.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
python="$work/venv/bin/python"
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }
pip install --target "$work/openai" openai-harmony==0.0.8
pip install --target "$work/fork" --no-deps oss-harmony==0.0.11
# The vocabulary, o200k_base.tiktoken, is a file of litellm's wheel.
pip download --no-deps --dest "$work" litellm==1.83.14
mkdir "$work/vocabulary"
"$python" - "$work" <<'PY'
import pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
name = "litellm/litellm_core_utils/tokenizers/fb374d419588a4632f3f557e76b4b70aebbca790"
data = zipfile.ZipFile(next(work.glob("litellm-*.whl"))).read(name)
(work / "vocabulary" / "o200k_base.tiktoken").write_bytes(data)
PY
cat >"$work/render.py" <<'PY'
import openai_harmony as oh
encoding = oh.load_harmony_encoding(oh.HarmonyEncodingName.HARMONY_GPT_OSS)
call = oh.Message.from_role_and_content(oh.Role.ASSISTANT, "{}").with_channel("commentary")
call = call.with_recipient("functions.f").with_content_type("<|constrain|>json")
result = oh.Message.from_author_and_content(oh.Author.new(oh.Role.TOOL, "functions.f"), "1")
result = result.with_channel("commentary").with_recipient("assistant")
for message in (call, result):
    tokens = encoding.render(message)
    print(len(tokens), encoding.decode(tokens))
PY
export TIKTOKEN_ENCODINGS_BASE="$work/vocabulary"
one=$(PYTHONPATH="$work/openai:$work/fork" "$python" "$work/render.py")
other=$(PYTHONPATH="$work/fork:$work/openai" "$python" "$work/render.py")
printf 'openai-harmony 0.0.8\n%s\noss-harmony 0.0.11\n%s\n' "$one" "$other"
# Seen on 2026-11-29:
[ "$one" = "15 <|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>
12 <|start|>functions.f to=assistant<|channel|>commentary<|message|>1<|end|>" ]
[ "$other" = "15 <|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>
12 <|start|>functions.f<|channel|>commentary to=assistant<|message|>1<|end|>" ]
