"""Complete small applications that run on smartworker."""
