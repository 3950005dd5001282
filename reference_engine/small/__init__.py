"""The small gpt-oss checkpoint of this repository: its weights, token codes and export."""
