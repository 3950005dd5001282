"""The steps of one response: the model writes, a built-in tool runs, the model continues."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from harmony.conversation import BuiltinCall, BuiltinResult, Call, ConversationItem
from harmony.parse import Ended, Started, item_of
from reference_engine.builtin.tools import Ran, Toolbox
from reference_engine.server.errors import ApiError
from reference_engine.server.generation import FinishReason, Generation, GenerationRequest
from reference_engine.server.pieces import Part, Piece

StepPart = Part | Ran
Generate = Callable[[GenerationRequest], Generation]


class Steps:
    """Generates until the model ends without a call of a built-in tool.

    Each step renders its prompt from the conversation, as it is rendered when a client sends the
    items back. After `most_calls` calls, the server replaces further ones by a final answer.

    Attributes:
        history: The conversation items of each output item: one, or a built-in call and its result.
        finish: The reason why the last step ended.
        prompt_tokens: The prompt tokens of all steps.
    """

    def __init__(
        self,
        generate: Generate,
        request: GenerationRequest,
        tools: Toolbox | None = None,
        most_calls: int = 0,
    ) -> None:
        """Render the first prompt.

        Raises:
            ApiError: The conversation cannot be rendered or exceeds the context.
        """
        self._generate = generate
        self._tools = tools or Toolbox()
        self._most_calls = most_calls
        self._generations: list[Generation] = []
        self._start(request)
        self._message: Started | None = None
        self._text: list[str] = []
        self.history: list[tuple[ConversationItem, ...]] = []
        self.finish: FinishReason = "stop"

    @property
    def prompt_tokens(self) -> int:
        """The tokens of all prompts."""
        return sum(len(each.prompt) for each in self._generations)

    @property
    def completion_tokens(self) -> int:
        """The tokens that the model generated in all steps."""
        return sum(len(each.completion) for each in self._generations)

    @property
    def reasoning_tokens(self) -> int:
        """Those in the text of the chain of thought."""
        return sum(each.reasoning_tokens for each in self._generations)

    async def run(self) -> AsyncGenerator[list[StepPart]]:
        """Yield the parts of all steps, and what the tools did.

        Raises:
            ApiError: The engine fails or refuses the request.
        """
        while True:
            generation = self._generations[-1]
            before = len(self.history)
            async with aclosing(generation.run()) as batches:
                async for parts in batches:
                    for part in parts:
                        self._note(part)
                    yield list(parts)
            self.finish = generation.finish
            last = self.history[-1][-1] if len(self.history) > before else None
            if self.finish == "length" or not isinstance(last, BuiltinCall):
                return
            ran = await self._tools.run(last)
            self.history[-1] = (last, BuiltinResult(last.name, ran.output))
            yield [ran]
            if not self._go_on(before):
                self.finish = "length"
                return

    def _note(self, part: Part) -> None:
        match part:
            case Started():
                self._message, self._text = part, []
            case Piece(_, text):
                self._text.append(text)
            case Ended():
                assert self._message
                item = item_of(self._message, "".join(self._text))
                if isinstance(item, Call) and self._tools.owns(item.name):
                    self.history.append((BuiltinCall(item.name, item.arguments),))
                else:
                    self.history.append((item,))

    def _go_on(self, before: int) -> bool:
        """Prepare the next step; False if no tokens are left for it."""
        request, last = self._request, self._generations[-1]
        sampling = request.sampling
        if sampling.max_tokens is not None:
            left = sampling.max_tokens - len(last.completion)
            if left < 1:
                return False
            sampling = replace(sampling, max_tokens=left)
        said = [item for items in self.history[before:] for item in items]
        conversation = request.conversation
        conversation = replace(conversation, items=(*conversation.items, *said))
        try:
            self._start(replace(request, conversation=conversation, sampling=sampling))
        except ApiError as error:
            if error.code == "context_length_exceeded":
                return False
            raise
        return True

    def _start(self, request: GenerationRequest) -> None:
        if len(self._generations) >= self._most_calls:
            request = replace(request, policy=replace(request.policy, used_up=True))
        self._request = request
        self._generations.append(self._generate(request))
