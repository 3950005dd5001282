"""AIME, GPQA and HealthBench for any provider: sampling, scoring and comparison."""
