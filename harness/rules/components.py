"""The parts of a server that a rule can show to be at fault, and all that is known of them. No I/O.

What a defect of one part does to the rules of others is a member of the part; the verdict finds the
causes of a run from these members, and knows no part by name.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from harness.records.scores import Received


@dataclass(frozen=True)
class Component:
    """A part of a server: what it does wrong, what breaks in clients, and how it is corrected.

    `title` is a sentence, to which a cause adds when this happens. `engine` is how a server that
    runs the model corrects it; `gateway`, if that is not the same, how one that converts the
    replies of another server does: it forwards the `fields`. A rule may have a fix of its own.
    Defects of the components in `after` also fail the rules of this one, and those in `follows` do
    in the same replies; so do its own with the rules of those in `leads_to`.
    """

    id: str
    title: str
    effect: str
    engine: str
    gateway: str = ""
    fields: str = ""
    after: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    leads_to: tuple[str, ...] = ()
    is_returned: bool = False
    """Whether its defects show in texts, calls and counts, and so in what the model seems to do."""
    reads_returned: bool = False  # its rules judge what the model seems to do
    instead: Received | None = None
    """What requests get instead of a reply if this part is at fault, whatever they test."""
    expects: tuple[Received, ...] = ()
    """What the requests of its rules may get instead of a reply: its rules judge that, too."""
    only_counts: str | None = None  # the part at fault if only token counts show it
    one_api: str | None = None  # the part at fault if a probe fails over one API, and never else
    shown_by: str = ""  # what stands in one of two texts that a rule compares if it is at fault
    about_counts: bool = False  # its rules judge token counts
    changes_counts: bool = False  # its defects change token counts
    mixes_requests: bool = False
    """Its defects put one request's content into the reply to another: now and then, under load,
    and with any consequence."""
    repeats_requests: bool = False
    """Its defects give one reply to every request of a form, so that a rule may fail in all."""
    of_some_requests: bool = False
    """Its rules judge only requests that ask for it; other defects damage their replies, too."""
    of_behaviour: bool = False  # it changes what the model does with its prompt
    of_ends: bool = False  # its rules judge whether a reply says that a limit cut it
    of_builds: bool = False  # where equal requests differ, two builds may answer

    @property
    def fix(self) -> str:
        """How the defect is corrected, whichever field differs."""
        return self.fix_of(self.fields)

    def fix_of(self, fields: str) -> str:
        """How the defect is corrected in an engine, and in a gateway that these fields pass."""
        if not self.gateway:
            return self.engine
        gateway = self.gateway.format(fields=fields)
        return f"In an engine: {self.engine} In a gateway or bridge: {gateway}"


_NO_REPLY: tuple[Received, ...] = ("refused", "failed", "unrendered", "interrupted")
_FIELDS = (
    (re.compile(r"\breasoning"), "the reasoning"),
    (re.compile(r"\bmessage'|\bcontent\b"), "the content"),
    (re.compile(r"tool_call|function_call|\barguments\b"), "the calls"),
)
"""Patterns of JSON paths, and the fields that a gateway must forward."""


def fields_of(paths: Iterable[str]) -> str | None:
    """Return the field of a reply that differs, as the paths of the evidence name it."""
    found = list(paths)
    named = [name for pattern, name in _FIELDS if any(map(pattern.search, found))]
    return named[0] if len(named) == 1 else None


MODEL = "model"  # the component of what only another model, other weights or numerics show
_COMPONENTS = (
    Component(
        "refusals",
        "The server refuses valid requests.",
        "Clients get an error for requests that the API allows.",
        "Accept what the API allows, and ignore fields that the server does not use.",
        instead="refused",
        only_counts="history",
    ),
    Component(
        "failures",
        "The server fails on valid requests.",
        "Long agent runs break, and clients that retry get the same error.",
        "fix the exception in its log, often of the parser or template.",
        "return its status and error.",
        instead="failed",
        is_returned=True,
    ),
    Component(
        "template",
        "The server's chat template fails on valid requests.",
        "Requests with some tools, or with the turns of an agent, never get a reply.",
        "Correct the template at the exception that the error names: it must render every schema, "
        "and an earlier message with CoT, text and calls.",
        instead="unrendered",
    ),
    Component(
        "interrupted",
        "The server's streams fail midway.",
        "Clients show half an answer, or wait for an end that never comes.",
        "fix the exception in its log.",
        "forward the upstream error, and keep the numbering of this stream.",
        follows=("failures",),
        instead="interrupted",
        is_returned=True,
    ),
    Component(
        "unreadable",
        "The server sends bodies or events that no client can read as a reply.",
        "Clients stop with an error, or take an error for an empty reply.",
        "Send errors with a 4xx or 5xx status and a JSON body, and replies in the form of the API.",
        follows=("failures", "interrupted", "streamed", "format", "events", "calls"),
        instead="unreadable",
        is_returned=True,
    ),
    Component(
        "streamed",
        "The server answers with a stream where none was asked for.",
        "Clients that read one JSON object stop with an error.",
        "Stream only if the request sets `stream` to true.",
        is_returned=True,
    ),
    Component(
        "prompt",
        "The server's prompts deviate from the harmony format.",
        "The model sees a format that it was not trained on, so answers and calls get worse "
        "although every reply looks valid.",
        "Render prompts with openai-harmony, or compare them with its output token by token.",
        reads_returned=True,
    ),
    Component(
        "messages",
        "The server changes or shortens the texts of messages before they reach the model.",
        "The model answers a different question, or repeats names, code and quotations wrongly.",
        "render texts unchanged: no limits, trimming, escaping or replacement.",
        "forward {fields} unchanged.",
        "messages",
        reads_returned=True,
    ),
    Component(
        "history",
        "The server changes earlier turns before they reach the model.",
        "Agents repeat calls, contradict results, or forget why they called a tool.",
        "render every part of every earlier turn.",
        "send {fields} both ways.",
        "calls, results and reasoning",
        reads_returned=True,
    ),
    Component(
        "tools",
        "The server changes or drops the tools of a request before they reach the model.",
        "The model does not see what the client offers, so it makes no calls or wrong ones.",
        "render all names, descriptions and schemas unchanged.",
        "forward {fields} unchanged.",
        "tools",
        reads_returned=True,
    ),
    Component(
        "storage",
        "The server does not store or continue responses correctly.",
        "Conversations that name an earlier response by its id lose turns or instructions.",
        "Store every completed response with its input before its last event is sent, where "
        "every replica finds it.",
        reads_returned=True,
        expects=_NO_REPLY,
    ),
    Component(
        MODEL,
        "The model, its weights or their numerics differ from gpt-oss.",
        "Scores drop and the model obeys less, although every reply looks valid.",
        "Compare the logprobs layer by layer with the reference, for the same prompt tokens; "
        "check weights, number formats and caches first.",
        after=("prompt", "messages", "history", "tools", "sampling", "logprobs"),
        one_api="logprobs",
        of_behaviour=True,
        of_builds=True,
        is_returned=True,
    ),
    Component(
        "sampling",
        "The server does not sample as requested.",
        "Replies have tokens that the model would not choose, or options have no effect.",
        "Apply the sampling options of the request, and add no penalties or filters by default.",
        after=("events", "output", "text", "shared", "cache", "unreadable", "streamed"),
        reads_returned=True,
    ),
    Component(
        "logprobs",
        "The server's logprobs are missing or wrong.",
        "Clients that rank or verify answers by their logprobs get errors or wrong results.",
        "return each token's log-probability at temperature 1.",
        "forward {fields} unchanged.",
        "logprobs",
        follows=("events", "output", "text", "sampling"),
    ),
    Component(
        "structured",
        "The server does not constrain answers or calls to their schemas correctly.",
        "Clients cannot parse what should conform to a schema.",
        "Render the schema into the developer message, and apply the grammar to the final "
        "channel only, after its header.",
        reads_returned=True,
        of_some_requests=True,
    ),
    Component(
        "choice",
        "The server does not follow tool_choice or parallel_tool_calls.",
        "Clients wait for calls that never come, or get calls that they did not allow.",
        "Force or forbid calls before sampling, as tool_choice says.",
        reads_returned=True,
    ),
    Component(
        "ends",
        "The server ends replies at the wrong place, or does not report why they end.",
        "Clients get more or less text than they requested, and cannot tell that it was truncated.",
        "Stop at <|return|>, at <|call|> and at the limits of the request, and at nothing else.",
        follows=("text", "filter", MODEL),
        of_some_requests=True,
        of_ends=True,
        is_returned=True,
    ),
    Component(
        "output",
        "The server loses parts of the model's output, or returns them in the wrong field.",
        "Clients show the CoT to users, wait for calls that never come, or get empty answers.",
        "parse the tokens with openai-harmony, one parser per request.",
        "forward {fields}.",
        "reasoning, content and calls",
        follows=("format", "events", "structured", "choice"),
        reads_returned=True,
        is_returned=True,
    ),
    Component(
        "text",
        "The server changes the text that the model wrote.",
        "Answers arrive with errors that the model did not make.",
        "return the decoded tokens unchanged.",
        "forward {fields} unchanged.",
        "texts",
        follows=("events", "output", "filter", "structured", "model"),
        is_returned=True,
    ),
    Component(
        "characters",
        "The server breaks characters that reach it in pieces.",
        "Emoji, dashes and letters beyond ASCII arrive as U+FFFD, and are lost.",
        "decode the tokens of a reply together.",
        "decode incrementally: a read may end within a character.",
        follows=("output", "filter", "structured", MODEL),
        leads_to=("text", "events", "calls", "logprobs"),
        is_returned=True,
        shown_by="\N{REPLACEMENT CHARACTER}",
    ),
    Component(
        "filter",
        "A filter of the server blocks replies, or replaces words in them.",
        "Harmless requests get no answer, or an answer with gaps.",
        "Switch the filter off, or report in the finish reason that it acted.",
        is_returned=True,
    ),
    Component(
        "calls",
        "The server changes the names, ids or arguments of the model's calls.",
        "Clients cannot match or run calls, or run them with wrong arguments.",
        "return calls unchanged, each with an id of its own.",
        "forward {fields} unchanged.",
        "names, ids and arguments",
        follows=("format", "events", "structured"),
        reads_returned=True,
        is_returned=True,
    ),
    Component(
        "format",
        "The server builds replies that deviate from the API.",
        "Clients that read replies by the types of the API fail, or read the wrong part.",
        "Build replies with the types of the openai package, which state the type of each field.",
        follows=("failures", "interrupted", "unreadable", "events", "calls"),
    ),
    Component(
        "events",
        "The server does not stream correctly.",
        "Clients that read streams lose text or calls, or wait for an end that never comes.",
        "make events add up to the non-streaming reply.",
        "forward each event with {fields}.",
        "its index, id and type",
        follows=("failures", "interrupted", "unreadable", "format", "calls"),
    ),
    Component(
        "usage",
        "The server's token counts are missing or wrong.",
        "Costs, limits and context lengths that clients compute from them are wrong.",
        "count the rendered prompt and the whole output with its CoT.",
        "forward the engine's {fields}.",
        "usage",
        follows=("sampling",),
        reads_returned=True,
        about_counts=True,
        changes_counts=True,
    ),
    Component(
        "options",
        "The server does not use the options of the request, or reports different values.",
        "What the client sets has no effect, or it reads a setting that was not used.",
        "Pass every option on to the engine, and repeat in the response what was used.",
    ),
    Component(
        "errors",
        "The server does not report errors correctly.",
        "Clients cannot tell their own mistakes from failures of the server.",
        "Map each kind of error to its 4xx or 5xx status with a JSON body, and refuse invalid "
        "requests before sampling.",
        expects=_NO_REPLY,
    ),
    Component(
        "shared",
        "The server mixes up requests, or answers from another request's cache entry.",
        "Users get replies to other users' requests, and a retry works.",
        "Look for state that requests share: parsers, stores, caches of prefixes and of replies.",
        expects=_NO_REPLY,
        changes_counts=True,
        mixes_requests=True,
        leads_to=(MODEL, "ends", "text", "characters", "events"),
        is_returned=True,
    ),
    Component(
        "cache",
        "The server answers requests with stored replies to different ones.",
        "Questions get the answers to others, options have no effect, and retries change nothing.",
        "Return a stored reply only to a request with the same conversation and the same options, "
        "and only at temperature 0.",
        expects=_NO_REPLY,
        changes_counts=True,
        mixes_requests=True,
        repeats_requests=True,
        leads_to=(
            *(MODEL, "logprobs", "ends", "text", "characters", "format", "events", "options"),
            "shared",
        ),
        is_returned=True,
    ),
    Component(
        "replicas",
        "A different model, or a different version of the server, answers some requests.",
        "Results differ from request to request, and do not come from the requested model.",
        "Send every request to replicas with the same model, version and settings.",
        expects=_NO_REPLY,
    ),
    Component(
        "builtin",
        "The server does not run the browser and Python tools as gpt-oss expects.",
        "The model does not get its results, or clients do not see what it did.",
        "Declare the tools as harmony does, and return their calls and results as items.",
        reads_returned=True,
    ),
)

COMPONENTS = {component.id: component for component in _COMPONENTS}


def follow(rules_of: str, at_fault: str) -> bool:
    """Whether defects of one component also fail the rules of another one in the same replies."""
    judged, cause = COMPONENTS[rules_of], COMPONENTS[at_fault]
    if judged is not cause and judged.reads_returned and cause.is_returned:
        return True
    return at_fault in judged.follows or rules_of in cause.leads_to


INSTEAD = {component.instead: component for component in _COMPONENTS if component.instead}
"""The components at fault, by what requests get instead of a reply."""
MARKED = tuple(component for component in _COMPONENTS if component.shown_by)
"""The components that a character in one of two texts shows."""
