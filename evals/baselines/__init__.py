"""What scores are compared with: published figures with their sources, and measured runs."""
