"""Built-in tools that the provider runs."""
