"""What the user configured: `providers.yaml`, its entries, and gates in files of their own."""
