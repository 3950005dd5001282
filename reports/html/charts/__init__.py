"""Charts as inline SVG: small multiples of one width, equally readable on every screen."""
