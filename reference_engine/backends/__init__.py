"""Other engines behind the interface of the reference engine: token ids in, tokens out.

With every backend, this server renders the prompt, parses the answer and provides both APIs.
"""
