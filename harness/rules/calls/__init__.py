"""Tool calls: names, ids, arguments, choice, schemas and results."""
