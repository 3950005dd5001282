"""The HTTP server: Chat Completions, Responses and raw completions.

Start-up: `settings` has the options, `serve` opens the engine and listens, `app` has the routes.

A request: `connection` reads it; `chat_request`, `responses.request` and `raw_completions` describe
its body, and `fields` what they share. The first two make a `GenerationRequest`, with a
`tool_choice` policy, and `generation` renders its prompt.

A token of the answer passes these places, in one call chain without queues:

1. `TokenSource.generate` of the engine or backend yields a `Token`.
2. `Generation` feeds it to the parser, which returns the events `Started`, `Delta` and `Ended`.
   The policy may replace the start of a message, and `VisibleText` holds back what may become a
   stop string, adds the logprobs and collects the messages.
3. The reply (`ChatReply` or `ResponsesReply`) adds the events to its response and returns chunks
   or stream events. `responses.steps` runs built-in tools between generations.
4. `Reply.stream` in `connection` encodes them, and `EventStream` sends them. `Reply.complete` drops
   them and returns the response at the end.

`raw_completions` has its own steps 2 and 3, because it returns the tokens without parsing them.
"""
