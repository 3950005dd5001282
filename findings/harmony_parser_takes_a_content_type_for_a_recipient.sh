#!/usr/bin/env bash
# gpt-oss writes JSON answers with the header `<|channel|>final <|constrain|>json`. The parser of
# openai-harmony 0.0.8 reads the content type of such an answer as its recipient, so a server that
# takes every message with a recipient for a call takes the answer for one. In the header of a call,
# the same words are the content type.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
python="$work/venv/bin/python"
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }
pip install openai-harmony==0.0.8
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
seen=$(TIKTOKEN_ENCODINGS_BASE="$work/vocabulary" "$python" - <<'PY'
import openai_harmony as oh
encoding = oh.load_harmony_encoding(oh.HarmonyEncodingName.HARMONY_GPT_OSS)
headers = ("<|channel|>final <|constrain|>json", "<|channel|>commentary to=functions.f <|constrain|>json")
for header in headers:
    tokens = encoding.encode(f"{header}<|message|>{{}}", allowed_special="all")
    (message,) = encoding.parse_messages_from_completion_tokens(tokens, oh.Role.ASSISTANT)
    print(f"{message.channel}: recipient {message.recipient}, content type {message.content_type}")
PY
)
echo "$seen"
# Seen on 2026-11-29:
[ "$seen" = "final: recipient <|constrain|>json, content type None
commentary: recipient functions.f, content type <|constrain|>json" ]
