"""A marketplace of lessons: bookings, letters, notices and figures on seven queues."""
