"""gpt-oss checkpoints: OpenAI's `original` layout, Hugging Face's layout, and token codes."""

from reference_engine.checkpoint.loading import load_model
from reference_engine.checkpoint.reader import Checkpoint

__all__ = ["Checkpoint", "load_model"]
