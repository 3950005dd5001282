"""Engines that are not ours, behind the interface that ours has: token ids in, tokens out.

Harmony stays on our side: the prompt is rendered here, the answer is parsed here, and both APIs are
ours, whatever computes the tokens.
"""
