"""tinker-cookbook's renderer, from its wheel: its parser, and its prompts beside ours."""

from collections.abc import Mapping, Sequence
from zipfile import ZipFile

from real.wheels import Record, defined

from harmony.conformance import Chunks, Message, Parser
from harmony.conversation import (
    Answer,
    Call,
    Conversation,
    ConversationItem,
    Developer,
    Reasoning,
    User,
)
from harmony.render import render_prompt, written_tokens
from harmony.vocabulary import bytes_of

_FOLDER = "tinker_cookbook/renderers"
_DATE = "2026-11-30"
_HELPERS = (
    *("_json_type_to_typescript", "_json_schema_to_typescript", "_schema_comments"),
    *("_format_parameters_block", "_format_tool_definition"),
)
_THOUGHT = "They are polite."
_ASKED = {"role": "user", "content": "Hi!"}
_ANSWERED = [{"type": "thinking", "thinking": _THOUGHT}, {"type": "text", "text": "Hello."}]


class _Renderer:
    """Stands for the class above the renderer, which needs the package `tinker`."""

    def __init__(self, tokenizer: object) -> None:
        self.tokenizer = tokenizer


class _ToolCall(Record):
    FunctionBody = Record


def _decode(tokens: Sequence[int]) -> str:
    return b"".join(map(bytes_of, tokens)).decode("utf-8", "replace")


def _encode(text: str, **_: object) -> list[int]:
    return written_tokens(text)


def renderer(harness: ZipFile) -> Record:
    """The renderer with the system message that its authors recommend."""
    module, parts = f"{_FOLDER}/base.py", {"TextPart": dict, "ThinkingPart": dict, "Message": dict}
    names = ("ParseTermination", "UNTERMINATED_TOOL_BLOCK_ERROR", "ensure_list", "ensure_text")
    base = defined(harness, module, *names, **parts)
    given: dict[str, object] = {
        "Renderer": _Renderer,
        "ToolCall": _ToolCall,
        "UnparsedToolCall": Record,
    }
    given |= {"TrainOnWhat": Record(LAST_ASSISTANT_MESSAGE=None), "RenderedMessage": Record}
    given |= {"RendererError": ValueError, "tinker": Record(types=Record(EncodedTextChunk=Record))}
    given |= {name: base[name] for name in names} | parts
    made = defined(harness, f"{_FOLDER}/gpt_oss.py", "GptOssRenderer", *_HELPERS, **given)
    tokenizer = Record(encode=_encode, decode=_decode)
    found: Record = made["GptOssRenderer"](tokenizer, True, "medium", _DATE)
    return found


def parser(renderer: Record) -> Parser:
    """The parser of whole replies."""

    def parse(chunks: Chunks) -> Sequence[Message]:
        message, _ = renderer.parse_response([token for chunk in chunks for token in chunk])
        parts, found = message["content"], list[Message]()
        for part in parts if isinstance(parts, list) else [{"type": "text", "text": parts}]:
            kind = Reasoning if part["type"] == "thinking" else Answer
            found.append(kind(part.get("thinking") or part["text"]))
        calls = message.get("tool_calls", ())
        return [*found, *(Call(call.function.name, call.function.arguments) for call in calls)]

    return parse


def prompts(renderer: Record) -> Mapping[str, str]:
    """How its prompts of three conversations differ from those of openai-harmony."""
    tool = {"name": "now", "description": "Return the time."}
    with_tools = renderer.create_conversation_prefix_with_tools([tool], "Be terse.")
    conversations: Mapping[str, tuple[list[object], list[ConversationItem]]] = {
        "a question": ([_ASKED], [User("Hi!")]),
        "instructions and a tool": ([*with_tools, _ASKED], [Developer("Be terse."), User("Hi!")]),
        "a question after an answer": (
            [_ASKED, {"role": "assistant", "content": _ANSWERED}, _ASKED],
            [User("Hi!"), Reasoning(_THOUGHT), Answer("Hello."), User("Hi!")],
        ),
    }
    found: dict[str, str] = {}
    for name, (theirs, ours) in conversations.items():
        tokens: list[int] = []
        for message in [renderer._get_system_message(), *theirs]:
            rendered = renderer.render_message(message, Record(is_last=False))
            tokens += [*rendered.header.tokens, *rendered.output[0].tokens]
        text = _decode([*tokens, *_encode("<|start|>assistant")])
        right = _decode(render_prompt(Conversation(tuple(ours), current_date=_DATE)))
        systems = text.count("<|start|>system")
        wrong = [f"{systems} system messages"] if systems != 1 else []
        wrong += ["the CoT before the answer is kept"] if _THOUGHT in text else []
        found[name] = "; ".join(wrong) or ("equal" if text == right else "other texts")
    return found
