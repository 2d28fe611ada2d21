"""redis-py's home: connections, the command ledger, keys, and the embedded server."""
