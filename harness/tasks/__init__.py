"""What is asked of the model: cases and their tools, as attempts."""
