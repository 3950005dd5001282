#!/usr/bin/env bash
# genai-prices 0.2.3: without a provider, the name `gpt-oss-20b` is priced as a model that OpenAI
# sells. Its API does not sell gpt-oss, and the row is half of what Groq takes. The name with the
# prefix that servers use, `openai/gpt-oss-20b`, is not found at all, and neither is the model at an
# address that is in no table, such as a server of one's own: both raise LookupError.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install genai-prices==0.2.3
seen=$("$work/venv/bin/python" - 2>"$work/log" <<'PY'
from genai_prices import Usage, calc_price

used = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
asked = [
    ("gpt-oss-20b", None),
    ("openai/gpt-oss-20b", None),
    ("openai/gpt-oss-20b", "https://api.groq.com/openai/v1"),
    ("gpt-oss-20b", "http://localhost:8000/v1"),
]
for model, address in asked:
    try:
        price = calc_price(used, model, provider_api_url=address)
        said = f"{price.provider.id}: {float(price.input_price):g} in, {float(price.output_price):g} out"
    except LookupError:
        said = "LookupError"
    print(model, "at", address, "-", said)
PY
) || { cat "$work/log" >&2; exit 1; }
echo "$seen"
# Seen on 2026-11-30:
[ "$seen" = "gpt-oss-20b at None - openai: 0.029 in, 0.14 out
openai/gpt-oss-20b at None - LookupError
openai/gpt-oss-20b at https://api.groq.com/openai/v1 - groq: 0.075 in, 0.3 out
gpt-oss-20b at http://localhost:8000/v1 - LookupError" ]
