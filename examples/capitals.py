"""Questions that a function marks: `gpt-oss-verify eval --eval examples/capitals.py`."""

import json

QUESTIONS = [
    {"question": "Capitals of France and Italy, as a JSON list?", "capitals": ["Paris", "Rome"]},
    {"question": "Capital of Peru, as a JSON list?", "capitals": ["Lima"]},
]


def score(question, answer):
    try:
        named = json.loads(answer)
    except ValueError:
        return 0
    return sum(name in named for name in question["capitals"]) / len(question["capitals"])
