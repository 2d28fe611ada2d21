"""The seven queues: how urgent each is, and what goes where."""

#: A queue with a higher number is emptied before all that have a lower one.
PRIORITIES = {
    "bookings": 7,
    "email": 5,
    "notifications": 5,
    "cache": 4,
    "analytics": 3,
    "maintenance": 1,
    "celery": 0,
}
#: Task names to their queues.
ROUTES = {
    "lessons.settle_booking": {"queue": "bookings"},
    "lessons.remind_of_bookings": {"queue": "bookings"},
    "lessons.check_no_shows": {"queue": "bookings"},
    "lessons.send_letter": {"queue": "email"},
    "lessons.notify": {"queue": "notifications"},
    "lessons.warm_availability": {"queue": "cache"},
    "lessons.count": {"queue": "analytics"},
    "lessons.daily_analytics": {"queue": "analytics"},
    "lessons.clean_up_*": {"queue": "maintenance"},
    "lessons.check_health": {"queue": "celery"},
}
