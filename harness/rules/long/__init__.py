"""Long prompts and replies: tokens, code words, cached prefixes, tool loops, copies and limits.

Three kinds of evidence do not depend on the model: prompt tokens that differ from harmony's, words
that only another request contained, and other logprobs for the same prompt. Whether the model finds
a word in a long text also depends on its ability, and never fails a server.
"""
