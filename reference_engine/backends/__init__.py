"""Other engines with the interface of the reference engine: they continue a list of token ids."""
