"""The verification harness: sample a provider, record everything, judge the record."""
