"""Texts of a model or provider that could break the pages and terminals that show them."""

import json

from healthy import json_response
from replies import Reply
from reporting import finding, rollout, score

HOSTILE = {
    "script": "<script>window.hacked = 1</script>",
    "closing": "</script><script>window.hacked = 2</script>",
    "comment": "<!--<script>",
    "cdata": "]]><![CDATA[",
    "handler": '"><img src=x onerror="window.hacked = 3">',
    "svg": "<svg onload=window.hacked=4><animate onbegin=window.hacked=5 /></svg>",
    "style": "</style><style>body { display: none }</style>",
    "textarea": "</textarea></title></template></noscript>",
    "link": '<a href="javascript:window.hacked=6">x</a> javascript:window.hacked=7',
    "frame": '<iframe src="http://127.0.0.1:9/"></iframe><base href="http://127.0.0.1:9/">',
    "template": "{{ 7 * 7 }} {% for x in y %} ${7 * 7} #{7 * 7} %s %(x)s {0}",
    "entity": "&lt;script&gt; &amp;lt; &#x202e;",
    "direction": "abc \u202egnp.exe\u202c \u2066isolated\u2069 \u200f",
    "control": "nul \x00 bell \x07 escape \x1b[31mred\x1b[0m \x7f \x85",
    "separators": "line\u2028paragraph\u2029end",
    "surrogate": "half \ud83d of a pair",
    "nonchar": "\ufffe \uffff \U0010ffff",
    "zalgo": "Z\u0351\u036b\u0343\u036a" * 200,
    "long": "x" * 1_000_000,
    "wide": "漢字 العربية עברית ไทย 👩‍👩‍👧‍👦" * 20,
    "quotes": "' \" ` \\ \\u003c \\x3c",
}


def hostile(text):
    """Scores and rollouts with a text wherever a model, server or scorer can write one."""
    escaped = json.dumps({"text": text})
    text = text.encode("utf-8", "replace").decode()
    called = Reply(call=(text, text), reasoning=text)
    body = {"error": {"message": text}}
    texts = {"detail": text, "expected": text, "got": text}
    scores = [
        score("weather", 1, "wrong_tool", **texts),
        score("weather", 2, "no_tool_call", **texts, findings=(finding("weather", got=text),)),
        score("weather", 3, "provider_error", detail=text),
        score("weather", 4, "invalid_response", detail=text),
        score("weather", 5, "invalid_response", detail=text),
    ]
    answers = [
        [called, Reply(text=text)],
        [Reply(text=text, reasoning=text)],
        [json_response(body, 500)],
        [json_response(text)],
        [json_response(escaped)],
    ]
    return scores, list(map(rollout, scores, answers))
