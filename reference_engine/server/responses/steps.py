"""The steps of one response: the model writes, a tool of the server runs, the model continues."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from harmony.conversation import BuiltinCall, Call, ConversationItem
from harmony.parse import Ended, Started, item_of
from reference_engine.builtin.browser import Ran
from reference_engine.builtin.tools import Toolbox
from reference_engine.server.api_error import ApiError
from reference_engine.server.generation import FinishReason, Generation, GenerationRequest
from reference_engine.server.pieces import Part, Piece

StepPart = Part | Ran
Generate = Callable[[GenerationRequest], Generation]


class Steps:
    """Generates until the model ends without calling a tool that the server runs.

    Each step renders its prompt from the conversation in the same way as if a client had sent the
    items back. After `most_calls` calls, the server replaces further calls by a final answer.
    `history` has the conversation items of each output item: one, or two for a call and its result.
    """

    def __init__(
        self,
        generate: Generate,
        request: GenerationRequest,
        tools: Toolbox | None = None,
        most_calls: int = 0,
    ) -> None:
        self._generate = generate
        self._request = request
        self._tools = tools or Toolbox()
        self._most_calls = most_calls
        self._generations: list[Generation] = []
        self._message: Started | None = None
        self._text: list[str] = []
        self.history: list[tuple[ConversationItem, ...]] = []
        self.finish: FinishReason = "stop"

    @property
    def prompt_tokens(self) -> int:
        """The number of tokens of all prompts."""
        return sum(len(each.prompt) for each in self._generations)

    @property
    def cached_tokens(self) -> int:
        """The number of tokens of all prompts that the engine did not compute again."""
        return sum(each.cached_tokens for each in self._generations)

    @property
    def completion_tokens(self) -> int:
        """The number of tokens that the model generated in all steps."""
        return sum(len(each.completion) for each in self._generations)

    @property
    def reasoning_tokens(self) -> int:
        """The number of generated tokens in the text of the chain of thought."""
        return sum(each.reasoning_tokens for each in self._generations)

    async def run(self, take: Callable[[Sequence[StepPart]], Awaitable[None]]) -> None:
        """Pass on the parts of all steps and the results of tools.

        Raises ApiError if the conversation cannot be rendered or exceeds the context, or the engine
        fails or refuses the request.
        """

        async def take_noted(parts: Sequence[Part]) -> None:
            for part in parts:
                self._note(part)
            await take(parts)

        self._start(self._request)
        while True:
            generation = self._generations[-1]
            before = len(self.history)
            await generation.run(take_noted)
            self.finish = generation.finish
            last = self.history[-1][-1] if len(self.history) > before else None
            if self.finish == "length" or not isinstance(last, BuiltinCall):
                return
            ran, result = await self._tools.run(last)
            self.history[-1] = (last, result)
            await take([ran])
            if not self._prepare_next(before):
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
                self.history.append((self._tools.item(item) if isinstance(item, Call) else item,))

    def _prepare_next(self, before: int) -> bool:
        """Prepare the next step; returns False if no tokens are left for it."""
        request, last = self._request, self._generations[-1]
        left = request.sampling.max_tokens - len(last.completion)
        if left < 1:
            return False
        sampling = replace(request.sampling, max_tokens=left)
        new_items = [item for items in self.history[before:] for item in items]
        conversation = request.conversation
        conversation = replace(conversation, items=(*conversation.items, *new_items))
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
