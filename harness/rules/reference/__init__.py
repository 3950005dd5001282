"""Replies as the model itself would have written them; judged if `rescore` has read them."""
