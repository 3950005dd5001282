"""A readable implementation of gpt-oss with an API server, which also works with other engines.

    model        the architecture in PyTorch, its configuration, MXFP4
    checkpoint   read, write, convert and download checkpoints
    kernels      the operations of a GPU, in PyTorch and in Triton
    kv_cache     pages of keys and values, and their users
    generation   forward passes, sampling, the scheduler and its runner, the engine
    backends     other engines with the same interface
    server       Chat Completions, Responses and raw completions
    builtin      the tools that the server can run for the model
    faults       known defects of servers that can be turned on
    small        the bundled checkpoint
    chat, scoring, metrics

The prompt format is in the package `harmony`.
"""
