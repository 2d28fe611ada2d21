"""What the doorbell tells about the queues, without any server."""

from smartworker.broker.bells import DISAPPOINTMENTS, MOST_AT_ONCE, Bells

KEY, OTHER = "celery", "mail"


def test_silence_is_worth_no_command() -> None:
    """Nothing was heard, so nothing is wished."""
    bells = Bells()
    assert not bells.any
    assert bells.wishes([KEY, OTHER], 10) == []


def test_each_push_is_one_wish() -> None:
    """Three pushes are three wishes; a fulfilled one is not wished again."""
    bells = Bells()
    bells.pushed(KEY)
    bells.pushed(KEY, 2)
    assert bells.wishes([KEY], 10) == [KEY] * 3
    assert not bells.answered(KEY, 3, 3)
    assert not bells.any


def test_wishes_never_exceed_the_room() -> None:
    """A full prefetch wishes for nothing, and the bell is remembered."""
    bells = Bells()
    bells.pushed(KEY, 5)
    assert bells.wishes([KEY], 0) == []
    assert bells.wishes([KEY], 2) == [KEY] * 2
    bells.answered(KEY, 2, 2)
    assert bells.any
    assert bells.wishes([KEY], 10) == [KEY] * 3


def test_the_first_keys_are_served_first() -> None:
    """The order of the keys is the order of urgency, whatever rang first."""
    bells = Bells()
    bells.pushed(OTHER, 2)
    bells.pushed(KEY, 1)
    assert bells.wishes([KEY, OTHER], 2) == [KEY, OTHER]
    assert bells.wishes([OTHER, KEY], 2) == [OTHER, OTHER]


def test_a_key_that_nobody_consumes_is_left_alone() -> None:
    """A bell of a queue that is not asked for costs nothing."""
    bells = Bells()
    bells.pushed(OTHER)
    assert bells.wishes([KEY], 10) == []


def test_an_unknown_length_is_asked_in_doubling_chunks() -> None:
    """After a look: 1, 2, 4 ... up to the most, and back to nothing when dry."""
    bells = Bells()
    bells.look_everywhere([KEY])
    asked = []
    for _ in range(8):
        wishes = len(bells.wishes([KEY], 1000))
        asked.append(wishes)
        bells.answered(KEY, wishes, wishes)
    assert asked == [1, 2, 4, 8, 16, 32, MOST_AT_ONCE, MOST_AT_ONCE]
    assert not bells.answered(KEY, MOST_AT_ONCE, 3), "a look is no promise"
    assert not bells.any
    bells.look_everywhere([KEY])
    assert bells.wishes([KEY], 1000) == [KEY], "the chunk begins anew"


def test_a_promise_that_is_broken_is_told() -> None:
    """A bell that somebody else answered first: true, and no further wish."""
    bells = Bells()
    bells.pushed(KEY)
    assert bells.answered(KEY, 1, 0)
    assert not bells.any


def test_a_foreign_pop_cancels_the_wish() -> None:
    """Push, foreign pop, empty: nothing is left to wish for."""
    bells = Bells()
    bells.pushed(KEY)
    bells.popped(KEY)
    bells.emptied(KEY)
    bells.settle()
    assert bells.foreign_pops == 1
    assert not bells.any


def test_our_own_pop_is_told_apart_by_count() -> None:
    """The echo of a take is no foreign pop; the next pop is."""
    bells = Bells()
    bells.pushed(KEY, 2)
    bells.answered(KEY, 1, 1)
    bells.popped(KEY)
    bells.settle()
    assert bells.foreign_pops == 0
    assert bells.wishes([KEY], 10) == [KEY], "the second push is still expected"
    bells.popped(KEY)
    assert bells.foreign_pops == 1


def test_without_echo_every_pop_is_foreign() -> None:
    """Where our pops are not heard none is expected."""
    bells = Bells()
    bells.pushed(KEY)
    bells.answered(KEY, 1, 1, echo=False)
    bells.popped(KEY)
    assert bells.foreign_pops == 1


def test_a_pop_without_end_means_more() -> None:
    """One push of many rings once: a pop that left something is the only sign."""
    bells = Bells()
    bells.pushed(KEY)
    bells.answered(KEY, 1, 1)
    bells.popped(KEY)
    bells.settle()
    assert bells.wishes([KEY], 100) == [KEY]
    bells.answered(KEY, 1, 1)
    assert bells.wishes([KEY], 100) == [KEY] * 2


def test_a_pop_that_emptied_means_no_more() -> None:
    """`del` after the pop: the queue is empty, not one command more."""
    bells = Bells()
    bells.pushed(KEY)
    bells.answered(KEY, 1, 1)
    bells.popped(KEY)
    bells.emptied(KEY)
    bells.settle()
    assert not bells.any


def disappoint(bells: Bells) -> None:
    """A pop without `del`, and then nothing there."""
    bells.pushed(KEY)
    bells.answered(KEY, 1, 1)
    bells.popped(KEY)
    bells.settle()
    asked = len(bells.wishes([KEY], 100))
    assert asked == 1
    bells.answered(KEY, asked, 0)


def test_a_server_without_del_disappoints_twice_only() -> None:
    """After two vain guesses a pop is no sign any more; a take is asked on instead."""
    bells = Bells()
    for _ in range(DISAPPOINTMENTS):
        disappoint(bells)
    bells.popped(KEY)
    bells.settle()
    assert not bells.any
    bells.pushed(KEY)
    bells.answered(KEY, 1, 1)
    assert bells.wishes([KEY], 100) == [KEY], "until the queue answers: empty"
    bells.answered(KEY, 1, 0)
    assert not bells.any


def test_a_server_that_sent_del_once_is_believed() -> None:
    """Vain guesses do not count where `del` is known to come."""
    bells = Bells()
    bells.emptied(KEY)
    for _ in range(DISAPPOINTMENTS + 3):
        disappoint(bells)
    bells.popped(KEY)
    bells.settle()
    assert bells.any


def test_looking_everywhere_forgets_the_rest() -> None:
    """Keys that are not consumed any more are not expected any more."""
    bells = Bells()
    bells.pushed(OTHER, 7)
    bells.look_everywhere([KEY])
    assert bells.wishes([KEY, OTHER], 100) == [KEY]


def test_where_others_were_faster_less_is_asked() -> None:
    """One message, then twice as many with each success, up to the usual most."""
    bells = Bells()
    bells.pushed(KEY, 100)
    assert len(bells.wishes([KEY], 8)) == 8
    bells.answered(KEY, 8, 3)
    asked = []
    for _ in range(4):
        bells.pushed(KEY, 100)
        asked.append(len(bells.wishes([KEY], 8)))
        bells.answered(KEY, asked[-1], asked[-1])
    assert asked == [3, 6, 8, 8]
    bells.answered(KEY, 8, 0)
    bells.pushed(KEY, 100)
    assert len(bells.wishes([KEY], 8)) == 1


def test_a_few_and_many() -> None:
    """Eight messages are few; nine, or some that nobody counted, are not."""
    bells = Bells()
    bells.pushed(KEY, 8)
    assert bells.few
    bells.pushed(OTHER)
    assert not bells.few
    bells.look_everywhere([KEY])
    assert not bells.few


def test_what_was_left_to_others_may_be_looked_for() -> None:
    """Its own bell says nothing; a look costs one command where it is gone."""
    bells = Bells()
    bells.leave_to_others(KEY)
    bells.pushed(KEY)
    assert not bells.any
    bells.look_into(KEY)
    assert bells.wishes([KEY, OTHER], 10) == [KEY]
    assert not bells.answered(KEY, 1, 0)
    assert not bells.any
