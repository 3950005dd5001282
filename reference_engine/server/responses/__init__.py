"""POST /v1/responses, and the responses kept for later."""
