"""Prompt tokens of a conversation: in every healthy rendering, and after a server's mistakes.

`harmony.render` renders the prompts, message by message. It does not drop stale chain of thought
here: callers that expect this leave the CoT out. `Rendering` lists how healthy servers deviate, and
`explanation` names mistakes that would give the number of tokens that a prompt has.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import chain, product
from typing import Any, Literal

import openai_harmony as oh

from harmony import conversation as harmony
from harmony.conversation import texts_of
from harmony.parse import END, START
from harmony.render import developer_content, message_tokens, text_tokens
from harmony.vocabulary import encode, harmony_encoding
from harness.api.harmony import items_of
from harness.api.items import (
    ConversationItem,
    Message,
    Reasoning,
    Reply,
    Tool,
    ToolCall,
    ToolResult,
    text_parts,
)
from harness.rules.account.differences import CHANGES
from harness.text import shared_beginning

_AS_WRITTEN = oh.RenderConversationConfig(auto_drop_analysis=False)
_SOME_DATE = "2026-01-31"  # all dates have the same number of tokens
_HEADING = "# Instructions\n\n"

Arguments = Literal["as sent", "spaced", "compact", "ascii", "html"]
Quoted = Literal["", "unicode", "ascii", "html"]
"""The notations of JSON; `html` escapes what HTML knows, as minijinja's `tojson` does (3.1.0)."""
_FOR_HTML = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "<>&'"})


@dataclass(frozen=True)
class Rendering:
    """How a healthy rendering deviates; the defaults are openai-harmony's."""

    separator: str = "\n\n"
    """Between the parts of a text, and between the instructions of several messages."""
    instructions_end: str = ""  # what the Hugging Face template appends to instructions
    separate: bool = False  # whether each message with instructions remains a separate message
    instructions_last: bool = False
    """Whether instructions follow the tools, after a blank line, as in Ollama's template. The blank
    line also precedes instructions without tools."""
    call_type: str = "<|constrain|>json"
    """The content type of an earlier tool call (openai/harmony issue 91)."""
    arguments: Arguments = "as sent"  # how the arguments of an earlier tool call are written
    quoted_results: Quoted = ""
    """Whether a tool result is written as a JSON string, as in OpenAI's and Ollama's templates, and
    in which notation."""
    comment_once: bool = False
    """Whether only the first line of a tool's description begins with `// `, as in OpenAI's chat
    template."""


_LIBRARY = Rendering()
_SEPARATORS, _INSTRUCTIONS_ENDS = ("", "\n", "\n\n"), ("", "\n\n")
_CALL_TYPES = ("<|constrain|>json", "json", "")
_ARGUMENTS: tuple[Arguments, ...] = ("as sent", "spaced", "compact", "ascii", "html")
_EITHER = (False, True)
_QUOTED: tuple[Quoted, ...] = ("", "unicode", "ascii", "html")
DEVIATIONS = (
    *(_SEPARATORS, _INSTRUCTIONS_ENDS, _EITHER, _EITHER),
    *(_CALL_TYPES, _ARGUMENTS, _QUOTED, _EITHER),
)
"""What was observed on healthy servers, for each member of `Rendering`."""


@dataclass(frozen=True)
class Prompt:
    """A conversation and the offered tools."""

    turns: tuple[ConversationItem, ...]
    tools: tuple[Tool, ...] = ()

    @cached_property
    def functions(self) -> str:
        """The tools as JSON, by which equal prompts are rendered once."""
        return json.dumps([(tool.name, tool.description, tool.parameters) for tool in self.tools])


def after_calls(before: Prompt, reply: Reply) -> Prompt:
    """Return the conversation after a reply with calls, and the results of its tools."""
    outputs = {tool.name: tool.output for tool in before.tools}
    thought = (Reasoning(reply.reasoning),) if reply.reasoning else ()
    preamble = (Message("assistant", reply.text),) if reply.text else ()
    results = (ToolResult(call.id, outputs.get(call.name, "")) for call in reply.calls)
    return replace(before, turns=(*before.turns, *thought, *preamble, *reply.calls, *results))


def differences(
    longer: Prompt,
    shorter: Prompt,
    *,
    instructions_last: bool = True,
    quoted_results: bool = True,
) -> frozenset[int]:
    """How many tokens one prompt may be longer than the other in the same rendering.

    These are all combinations of the deviations observed on healthy servers: those that change the
    instructions, and those that change earlier calls and results. With `instructions_last`, the
    instructions may also follow the tools; with `quoted_results`, tool results may also be JSON
    strings. Raises RenderError and VocabularyError.
    """
    sizes: set[int] = set()
    lines = any("\n" in tool.description for tool in (*longer.tools, *shorter.tools))
    comments = _EITHER if lines else (False,)
    for separator in DEVIATIONS[0]:
        beginnings = {
            len(_beginning(longer, how)) - len(_beginning(shorter, how))
            for end, separate, last, once in product(
                _INSTRUCTIONS_ENDS, _EITHER, (False, instructions_last), comments
            )
            for how in [Rendering(separator, end, separate, last, comment_once=once)]
        }
        more, fewer = (_items(prompt, separator) for prompt in (longer, shorter))
        begin = shared_beginning(more, fewer)
        histories = {
            _length(more[begin:], how) - _length(fewer[begin:], how)
            for call_type, arguments, quoted in product(_CALL_TYPES, _ARGUMENTS, _QUOTED)
            if quoted_results or not quoted
            for how in [Rendering(separator, "", False, False, call_type, arguments, quoted)]
        }
        sizes.update(map(sum, product(beginnings, histories)))
    return frozenset(sizes)


def bare_lengths(prompt: Prompt) -> frozenset[int]:
    """Tokens of a bare prompt, with and without a date. Raises VocabularyError."""
    return frozenset(count(prompt, date=date) for date in (None, _SOME_DATE))


def count(prompt: Prompt, how: Rendering = _LIBRARY, date: str | None = None) -> int:
    """Tokens of the prompt up to where the model continues. Raises as `tokens` does."""
    return len(tokens(prompt, how, date))


def added_text(longer: Prompt, shorter: Prompt) -> str:
    """What one prompt has between the beginning and the end that it shares with the other."""
    more, fewer = tokens(longer), tokens(shorter)
    begin = shared_beginning(more, fewer)
    end = min(shared_beginning(more[::-1], fewer[::-1]), len(fewer) - begin)
    added: str = harmony_encoding().decode(more[begin : len(more) - end])
    return added


def tokens(prompt: Prompt, how: Rendering = _LIBRARY, date: str | None = None) -> list[int]:
    """Return the prompt up to where the model continues. Raises RenderError, VocabularyError."""
    messages = [_message(item, how) for item in _items(prompt, how.separator)]
    return [*_beginning(prompt, how, date), *chain(*messages), *encode("<|start|>assistant")]


def _beginning(prompt: Prompt, how: Rendering, date: str | None = None) -> Sequence[int]:
    """Return the system message, and the developer messages with instructions and tools."""
    items = items_of(list(filter(instructs, prompt.turns)), separator=how.separator)
    texts = tuple(text + how.instructions_end for item in items for text in texts_of(item))
    if texts and not how.separate:
        texts = (how.separator.join(texts),)
    return _rendered(prompt.functions, texts, how.instructions_last, how.comment_once, date)


@lru_cache(maxsize=2048)  # rendering tools is slow, and a mistake is tried in many prompts
def _rendered(
    functions: str,
    texts: tuple[str, ...],
    instructions_last: bool,
    comment_once: bool,
    date: str | None,
) -> Sequence[int]:
    tools = [harmony.FunctionTool(*function) for function in json.loads(functions)]
    system = oh.SystemContent.new()
    if date is not None:
        system = system.with_conversation_start_date(date)
    messages = [oh.Message.from_role_and_content(oh.Role.SYSTEM, system)]
    if texts or tools:
        content = developer_content("".join(texts[:1]), tuple(tools))
        messages.append(oh.Message.from_role_and_content(oh.Role.DEVELOPER, content))
    encoding = harmony_encoding()
    conversation = oh.Conversation.from_messages(messages)
    rendered: list[int] = encoding.render_conversation(conversation, config=_AS_WRITTEN)
    for text in texts[1:]:
        rendered += message_tokens(harmony.Developer(text))
    if comment_once and tools:
        rendered = _with_developer_text(rendered, lambda text: _commented_once(text, tools))
    if instructions_last and texts:
        instructions = f"{_HEADING}{texts[0]}"
        rendered = _with_developer_text(
            rendered,
            lambda text: f"{text.removeprefix(instructions).lstrip()}\n\n{instructions}",
        )
    return rendered


def _with_developer_text(rendered: Sequence[int], change: Callable[[str], str]) -> list[int]:
    """Return a prompt with the text of its first developer message changed."""
    begin = rendered.index(START, 1) + 3  # after `<|start|>developer<|message|>`
    end = rendered.index(END, begin)
    text = change(harmony_encoding().decode(list(rendered[begin:end])))
    return [*rendered[:begin], *text_tokens(text), *rendered[end:]]


def _commented_once(text: str, tools: Iterable[harmony.FunctionTool]) -> str:
    for tool in tools:
        lines = "\n// ".join(tool.description.split("\n"))
        text = text.replace(f"// {lines}\n", f"// {tool.description}\n")
    return text


def _items(prompt: Prompt, separator: str) -> Sequence[harmony.ConversationItem]:
    """Return what its messages other than instructions are rendered from."""
    return items_of([turn for turn in prompt.turns if not instructs(turn)], separator=separator)


def _length(items: Iterable[harmony.ConversationItem], how: Rendering) -> int:
    return sum(len(_message(item, how)) for item in items)


def _message(item: harmony.ConversationItem, how: Rendering) -> Sequence[int]:
    match item:
        case harmony.Call(name, arguments):
            written = harmony.Call(name, _written(arguments, how.arguments))
            return _message_tokens(written, how.call_type)
        case harmony.Result(name, output) if how.quoted_results:
            quoted = _noted(output, how.quoted_results)
            return _message_tokens(harmony.Result(name, quoted))
    return _message_tokens(item)


_message_tokens = lru_cache(maxsize=4096)(message_tokens)  # most prompts share their messages


def _written(arguments: str, how: Arguments) -> str:
    if how == "as sent":
        return arguments
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments  # A model wrote them, and no server can write them in another way.
    return _noted(value, how)


def _noted(value: object, how: Arguments | Quoted) -> str:
    separators = (",", ":") if how in ("compact", "html") else None
    text = json.dumps(value, ensure_ascii=how == "ascii", separators=separators)
    return text.translate(_FOR_HTML) if how == "html" else text


def instructs(turn: ConversationItem) -> bool:
    """Whether an item is a message with instructions."""
    return isinstance(turn, Message) and turn.role in ("system", "developer")


_KEPT_COT = "earlier CoT is kept, or becomes an answer of the assistant"
"""The channels final and analysis have as many tokens."""
_PARTS_AS_JSON = "the parts of a tool result are JSON text"
_COT_OF_USER = "CoT is a message of the user"
_PUBLISHED = (
    "nested fields are written as in OpenAI's chat template: without descriptions, and longer "
    "items of lists as any"
)
CERTAIN = frozenset({_PARTS_AS_JSON, _COT_OF_USER})
"""Mistakes that one number shows: none of the others adds these tokens."""


def explanations(longer: Prompt, shorter: Prompt, got: int) -> list[str]:
    """Return the mistakes that would give this difference. Raises VocabularyError."""
    if count(longer, _LIBRARY) - count(shorter, _LIBRARY) == got:  # The whole prompt is rendered.
        return [_KEPT_COT] if any(isinstance(turn, Reasoning) for turn in longer.turns) else []
    named = [name for name, counted in _mistakes() if counted(longer) - counted(shorter) == got]
    return [*named, *_lost_channels(longer, shorter, got)]


def _lost_channels(longer: Prompt, shorter: Prompt, got: int) -> Iterator[str]:
    """The messages whose `<|channel|>` and its name are missing, if that explains a difference."""
    tokens = 2
    for name, has in (
        ("tool results", lambda turn: isinstance(turn, ToolResult)),
        ("earlier answers", lambda turn: isinstance(turn, Message) and turn.role == "assistant"),
    ):
        number = sum(map(has, longer.turns)) - sum(map(has, shorter.turns))
        if number > 0 and got + tokens * number in differences(longer, shorter):
            yield f"{name} have no channel"


def with_texts(prompt: Prompt, change: Callable[[str], str]) -> Prompt:
    """Return the prompt with every text of messages, results and tool descriptions changed."""
    tools = (replace(tool, description=change(tool.description)) for tool in prompt.tools)
    return Prompt(tuple(_with_text(turn, change) for turn in prompt.turns), tuple(tools))


def _with_text(turn: ConversationItem, change: Callable[[str], str]) -> ConversationItem:
    match turn:
        case Message(text=str(text)) | ToolResult(text=str(text)) | Reasoning(text):
            return replace(turn, text=change(text))
        case Message(text=tuple(parts)) | ToolResult(text=tuple(parts)):
            return replace(turn, text=tuple(map(change, parts)))
        case _:
            return turn


def _mistakes() -> Iterator[tuple[str, Callable[[Prompt], int]]]:
    """Every known mistake but kept CoT, and the tokens that a prompt has with it."""

    def counted(change: Callable[[Prompt], Prompt]) -> Callable[[Prompt], int]:
        return lambda prompt: count(change(prompt), _LIBRARY)

    for name, unwanted in _LOST.items():
        yield f"{name} missing", counted(_without(unwanted))
    yield "the last message appears twice", counted(_doubled(lambda prompt: prompt.turns[-1:]))
    yield "instructions appear twice", counted(_doubled(lambda p: filter(instructs, p.turns)))
    yield "only the first part of a text is read", counted(_first_parts)
    yield "every part of a text is a message", counted(_split_parts)
    yield _COT_OF_USER, counted(_with_cot_of_user)
    for kind, separators in product(("text", "input_text"), (None, (",", ":"))):
        yield _PARTS_AS_JSON, counted(partial(_with_parts_as_json, kind, separators))
    yield "the developer message appears twice", _with_developer_twice
    yield "instructions are system messages", _with_system_messages
    yield "the heading '# Instructions' is missing", _without_heading
    yield "words are split at combining marks", _split_at_marks
    yield _PUBLISHED, _with_published_tools
    for what, change in CHANGES.items():
        yield what.words, counted(partial(with_texts, change=change))


def _announces(turn: ConversationItem, after: ConversationItem | None) -> bool:
    return isinstance(turn, Message) and isinstance(after, ToolCall)


_Unwanted = Callable[[ConversationItem, ConversationItem | None, ConversationItem | None], bool]
"""Whether a turn is left out, from the turn and those after and before it."""
_LOST: Mapping[str, _Unwanted] = {
    "CoT is": lambda turn, *_: isinstance(turn, Reasoning),
    "instructions are": lambda turn, *_: instructs(turn),
    "text before a tool call is": lambda turn, after, _: _announces(turn, after),
    "text between CoT and a tool call is": lambda turn, after, before: (
        _announces(turn, after) and isinstance(before, Reasoning)
    ),
    "CoT and text before a tool call are": lambda turn, after, _: (
        isinstance(turn, Reasoning) or _announces(turn, after)
    ),
    "tool results are": lambda turn, *_: isinstance(turn, ToolResult),
    "tool calls and their results are": lambda turn, *_: isinstance(turn, ToolCall | ToolResult),
    "earlier answers are": lambda turn, *_: isinstance(turn, Message) and turn.role == "assistant",
}


def _without(unwanted: _Unwanted) -> Callable[[Prompt], Prompt]:
    def change(prompt: Prompt) -> Prompt:
        turns = prompt.turns
        around = zip(turns, (*turns[1:], None), (None, *turns[:-1]), strict=True)
        return replace(prompt, turns=tuple(place[0] for place in around if not unwanted(*place)))

    return change


def _doubled(
    chosen: Callable[[Prompt], Iterable[ConversationItem]],
) -> Callable[[Prompt], Prompt]:
    return lambda prompt: replace(prompt, turns=(*prompt.turns, *chosen(prompt)))


def _first_parts(prompt: Prompt) -> Prompt:
    turns = (
        replace(turn, text=turn.text[0])
        if isinstance(turn, Message | ToolResult) and isinstance(turn.text, tuple)
        else turn
        for turn in prompt.turns
    )
    return replace(prompt, turns=tuple(turns))


def _with_cot_of_user(prompt: Prompt) -> Prompt:
    turns = (
        Message("user", turn.text) if isinstance(turn, Reasoning) else turn for turn in prompt.turns
    )
    return replace(prompt, turns=tuple(turns))


def _with_parts_as_json(kind: str, separators: tuple[str, str] | None, prompt: Prompt) -> Prompt:
    """Return the prompt with the parts of each tool result as one text, as a client sent them."""

    def change(turn: ConversationItem) -> ConversationItem:
        if not (isinstance(turn, ToolResult) and isinstance(turn.text, tuple)):
            return turn
        return replace(turn, text=json.dumps(text_parts(turn.text, kind), separators=separators))

    return replace(prompt, turns=tuple(map(change, prompt.turns)))


def _split_parts(prompt: Prompt) -> Prompt:
    turns: list[ConversationItem] = []
    for turn in prompt.turns:
        if isinstance(turn, Message) and isinstance(turn.text, tuple):
            turns += [replace(turn, text=part) for part in turn.text]
        else:
            turns.append(turn)
    return replace(prompt, turns=tuple(turns))


def _with_developer_twice(prompt: Prompt) -> int:
    """The tokens of a prompt with two copies of all that follows its system message."""
    beginning = _beginning(prompt, _LIBRARY, None)
    return count(prompt, _LIBRARY) + len(beginning) - beginning.index(END) - 1


def _with_system_messages(prompt: Prompt) -> int:
    """The tokens of a prompt with `<|start|>system<|message|>…<|end|>` for each instruction."""
    frame = 4
    texts = [
        "".join(turn.text) for turn in prompt.turns if isinstance(turn, Message) and instructs(turn)
    ]
    others = _without(lambda turn, *_: instructs(turn))(prompt)
    return count(others, _LIBRARY) + sum(frame + len(text_tokens(text)) for text in texts)


def _without_heading(prompt: Prompt) -> int:
    heading = len(harmony_encoding().encode("# Instructions\n\n"))
    return count(prompt, _LIBRARY) - heading * any(map(instructs, prompt.turns))


def _split_at_marks(prompt: Prompt) -> int:
    """The tokens from a tokenizer that takes combining marks for punctuation, as llama.cpp's."""
    rendered = tokens(prompt, _LIBRARY)
    text = harmony_encoding().decode(rendered)
    marked = (f"\0{sign}" if unicodedata.category(sign)[0] == "M" else sign for sign in text)
    parts = "".join(marked).split("\0")
    return sum(len(encode(part)) for part in parts) if len(parts) > 1 else len(rendered)


_LONGEST_ITEM = 50  # characters of the type of an item; that template writes longer ones as `any`
_PUBLISHED_TYPES = {
    **{kind: kind for kind in ("string", "number", "boolean", "object")},
    "integer": "number",
    "array": "any[]",
}
_BEFORE_TYPE = "\n" + 16 * " "  # what that template writes before the type of a nested field


def _with_published_tools(prompt: Prompt) -> int:
    """The tokens of a prompt whose tools are written as in OpenAI's chat template of gpt-oss.

    The template is that of llama.cpp, `models/templates/openai-gpt-oss-120b.jinja` (in the source
    of llama_cpp_python 0.3.36).
    """

    def change(text: str) -> str:
        instructions, heading, _ = text.partition("# Tools\n\n")
        written = "".join(map(_published_tool, prompt.tools))
        return (
            f"{instructions}{heading}## functions\n\nnamespace functions {{\n\n{written}"
            "} // namespace functions"
        )

    rendered = tokens(prompt, _LIBRARY)
    return len(_with_developer_text(rendered, change) if prompt.tools else rendered)


def _published_tool(tool: Tool) -> str:
    properties = tool.parameters.get("properties") or {}
    if not properties:
        return f"// {tool.description}\ntype {tool.name} = () => any;\n\n"
    fields = []
    for name, field in properties.items():
        text = f"// {field['description']}\n" if field.get("description") else ""
        default = field.get("default")
        shown = default if field.get("enum") else json.dumps(default, ensure_ascii=False)
        ending = f", // default: {shown}" if "default" in field else ""
        label = _label(name, tool.parameters)
        fields.append(f"{text}{label}: {_published_type(field)}{ending},\n")
    lines = "".join(fields)
    return f"// {tool.description}\ntype {tool.name} = (_: {{\n{lines}}}) => any;\n\n"


def _published_type(field: Mapping[str, Any]) -> str:
    kind, items, properties = (field.get(name) for name in ("type", "items", "properties"))
    if kind == "array" and items:
        inner = _published_type(items)
        return "any[]" if len(inner) > _LONGEST_ITEM else f"{inner}[]"
    if kind == "object" and properties:
        fields = (
            f"{_label(name, field)}: {_BEFORE_TYPE}{_published_type(each)}"
            for name, each in properties.items()
        )
        return f"{{\n{', '.join(fields)}}}"
    if kind == "string" and field.get("enum"):
        return " | ".join(f'"{choice}"' for choice in field["enum"])
    if isinstance(kind, list):
        return " | ".join(kind)
    return _PUBLISHED_TYPES.get(str(kind), "any")


def _label(name: str, schema: Mapping[str, Any]) -> str:
    return name if name in (schema.get("required") or ()) else f"{name}?"
