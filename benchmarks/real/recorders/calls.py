"""The calls that a recorder sees, made with OpenAI's SDK in the environment of the recorder.

Streams are read to their end. An error of a call is printed, and the next call follows.
"""

from collections.abc import Callable
from typing import Any


def question(number: int) -> list[dict[str, str]]:
    """A question of its own, so that no call is a copy of another."""
    return [{"role": "user", "content": f"What is 6 times {number}?"}]


def calls(client: Any, model: str = "openai/gpt-oss-20b") -> None:  # noqa: ANN401 (of any SDK)
    """Make two whole calls and two streams over Chat, and one of each over Responses."""
    chat: dict[str, Any] = {"model": model}
    streamed = chat | {"stream": True, "stream_options": {"include_usage": True}}
    chats = [
        *({"messages": question(number), **chat} for number in (2, 3)),
        *({"messages": question(number), **streamed} for number in (4, 5)),
    ]
    for body in chats:
        _tried(client.chat.completions.create, body)
    for stream in (False, True):
        asked = f"What is 6 times {8 + stream}?"
        _tried(client.responses.create, {"model": model, "input": asked, "stream": stream})


def _tried(create: Callable[..., Any], body: dict[str, Any]) -> None:
    try:
        made = create(**body)
        for _ in made if body.get("stream") else ():
            pass
    except Exception as error:  # noqa: BLE001 (each SDK and recorder raises its own)
        print(type(error).__name__, str(error)[:200])
