"""A readable gpt-oss: model, checkpoint, generation, harmony and a minimal server."""
