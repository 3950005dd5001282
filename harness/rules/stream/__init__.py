"""Streams: framing and grammar of events, and whether they agree with other replies."""
