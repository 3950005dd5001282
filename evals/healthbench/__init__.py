"""HealthBench: health conversations whose answers a grader judges by physicians' rubrics."""
