"""The HTTP server: Chat Completions, Responses and raw completions.

Start-up: `settings` has the options, `serve` opens the engine and listens, `app` has the routes.

A request: `connection` reads it; `chat_request`, `responses.request` and `raw_completions` describe
its body, and `fields` what they share. The first two make a `GenerationRequest`, with a
`tool_choice` policy. `generation` renders its prompt, reads the engine's tokens, and passes the
parts of the answer (`pieces`) to the reply in `chat_completions` or `responses.handler`, which
emits them as events or collects them. `responses.steps` runs built-in tools between generations.
"""
