"""The model: configuration, MXFP4, and the architecture."""
