"""The steps of one response: the model writes, a tool of the server runs, the model continues."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from harmony.conversation import BuiltinCall, ConversationItem
from harmony.parse import Event
from reference_engine.builtin.browser import Ran
from reference_engine.builtin.tools import Toolbox
from reference_engine.server.api_error import ApiError
from reference_engine.server.generation import FinishReason, Generation, GenerationRequest

StepEvent = Event | Ran
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
        tools: Toolbox,
        most_calls: int,
    ) -> None:
        self._generate = generate
        self._request = request
        self._tools = tools
        self._most_calls = most_calls
        self.generations: list[Generation] = []
        self.history: list[tuple[ConversationItem, ...]] = []
        self.finish: FinishReason = "stop"

    async def run(self, take: Callable[[Sequence[StepEvent]], Awaitable[None]]) -> None:
        """Pass on the events of all steps and the results of tools.

        Raises ApiError if the conversation cannot be rendered or exceeds the context, or the engine
        fails or refuses the request.
        """
        self._start(self._request)
        while True:
            generation = self.generations[-1]
            await generation.run(take)
            self.finish = generation.finish
            items: list[ConversationItem] = [self._tools.item(item) for item in generation.items]
            self.history += [(item,) for item in items]
            if self.finish == "length" or not items or not isinstance(items[-1], BuiltinCall):
                return
            ran, result = await self._tools.run(items[-1])
            self.history[-1] = (items[-1], result)
            await take([ran])
            if not self._prepare_next([*items, result]):
                self.finish = "length"
                return

    def _prepare_next(self, new_items: Sequence[ConversationItem]) -> bool:
        """Prepare the next step; returns False if no tokens are left for it."""
        request, last = self._request, self.generations[-1]
        left = request.sampling.max_tokens - len(last.completion)
        if left < 1:
            return False
        sampling = replace(request.sampling, max_tokens=left)
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
        if len(self.generations) >= self._most_calls:
            request = replace(request, policy=replace(request.policy, used_up=True))
        self._request = request
        self.generations.append(self._generate(request))
