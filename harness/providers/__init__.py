"""The user's configuration: `providers.yaml`, its entries, and gates in separate files."""
