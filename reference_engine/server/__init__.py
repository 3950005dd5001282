"""An OpenAI-compatible server for one model: Chat Completions, Responses, raw completions."""
