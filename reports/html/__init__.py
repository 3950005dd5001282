"""HTML reports: single files that need nothing from the network."""
