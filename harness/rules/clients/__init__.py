"""The forms of requests that real clients send."""
