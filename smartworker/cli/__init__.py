"""The `smartworker` command."""
