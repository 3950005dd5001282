"""POST /v1/responses, and stored responses."""
