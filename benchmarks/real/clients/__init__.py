"""The bench of real clients, which benchmarks/real_clients.py runs.

`packages` installs the releases of clients.yaml; `replies` serves recorded replies with damages;
`conversations` lets the clients talk to it, each in a `client_process`; `tables` makes rows of what
they did, `requests` of what they sent, and `differences` compares rows. The clients themselves are
`python`, with `sdks`, `frameworks` and `commands`, in environments of their own, and
javascript.mjs.
"""
