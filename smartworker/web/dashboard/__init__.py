"""The page at `/`: what the workers do, what it costs, and what needs attention."""
