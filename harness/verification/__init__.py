"""The main job: cases and probes, asked of a provider and judged."""
