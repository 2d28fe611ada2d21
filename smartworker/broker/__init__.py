"""kombu's home: the transport that takes messages without polling for them."""
