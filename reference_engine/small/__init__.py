"""The small gpt-oss that ships in this repository: its data, training, codes and export."""
