"""What the logs say of a day: reading, counting, and the page made of it."""
