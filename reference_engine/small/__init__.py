"""The small gpt-oss checkpoint of this repository: its weights and token codes."""

from pathlib import Path

SMALL_CHECKPOINT = Path(__file__).parent / "checkpoint"
