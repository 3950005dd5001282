"""An OpenAI-compatible server for one model: Chat Completions and Responses."""
