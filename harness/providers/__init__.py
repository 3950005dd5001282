"""The user's configuration: `providers.yaml`, its entries, and gates in their own files."""
