"""Replies: objects that conform to their API, and ids that tell them apart."""
