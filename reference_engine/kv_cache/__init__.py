"""The paged KV cache and its memory."""
