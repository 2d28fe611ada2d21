"""Discount pricing: the closer its expiry date, the cheaper a batch."""
