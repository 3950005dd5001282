"""Load eval questions from the Hugging Face hub, local files or the shipped samples."""
