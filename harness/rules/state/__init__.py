"""Conversations that the provider stores."""
