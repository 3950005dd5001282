"""A server that people already have reads replies instead of a model in this process.

- `server`: one HTTP server, its refusals and retries
- `forms`: the requests with which servers return the logprobs of given tokens
- `places`: what such values say of a token, and how much of the distribution they show
- `reader`: reads passages with a server, a few requests at a time
- `selfcheck`: whether the server reads as it writes, with the expected weights
- `connect`: finds the form in which a server reads, and checks it
"""
