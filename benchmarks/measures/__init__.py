"""One module a question; each docstring is the method."""
