#!/usr/bin/env bash
# aiperf 0.13.0 reads an event of a stream line by line, with Python's str.splitlines, if the event has
# more than its data line. U+2028 and U+0085 within a JSON text, which need no escape, then count as
# line ends: the text continues with an escaped line feed, and the spaces around are gone. All events
# of the Responses API have a name, those of Chat Completions have none: the same text of a model is
# intact over one API and changed over the other, in profile_export_raw.jsonl and in token counts.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install aiperf==0.13.0
seen=$("$work/venv/bin/python" - 2>"$work/log" <<'PY'
import json

from aiperf.common.models import SSEMessage

for text in ("line\u2028next", "line \u0085 next", "line\nnext"):
    event = {"type": "response.output_text.delta", "delta": text}
    data = "data: " + json.dumps(event, ensure_ascii=False)
    for name in ("", f"event: {event['type']}\n"):
        read = SSEMessage.parse(name + data, perf_ns=0).get_json()
        print("named" if name else "bare ", ascii(text), "is", ascii(read["delta"]))
PY
) || { cat "$work/log" >&2; exit 1; }
echo "$seen"
# Seen on 2026-11-30:
[ "$seen" = "bare  'line\u2028next' is 'line\u2028next'
named 'line\u2028next' is 'line\nnext'
bare  'line \x85 next' is 'line \x85 next'
named 'line \x85 next' is 'line\nnext'
bare  'line\nnext' is 'line\nnext'
named 'line\nnext' is 'line\nnext'" ]
