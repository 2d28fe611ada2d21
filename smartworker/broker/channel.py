"""kombu's channel on our terms: nothing is popped, nothing is asked in vain."""

import itertools
from contextlib import suppress
from time import monotonic
from typing import Any

from kombu.transport import redis as stock
from kombu.transport.virtual.base import queue_declare_ok_t
from kombu.utils.json import dumps

from smartworker.broker import envelope
from smartworker.broker.batch import PublishBatch
from smartworker.broker.bindings import Bindings
from smartworker.broker.courier import Keep, Source, urgency
from smartworker.broker.envelope import Unreadable
from smartworker.broker.qos import QoS
from smartworker.broker.returns import dead
from smartworker.broker.together import collecting
from smartworker.logs import get_logger
from smartworker.store import keys, trigger
from smartworker.store.client import (
    COMMAND_TIMEOUT,
    LOST,
    MeteredConnection,
    MeteredSSLConnection,
    RedisError,
    connection_options,
    keepalive_options,
    metered,
    verified,
)
from smartworker.store.meter import because
from smartworker.store.once import publish_once
from smartworker.store.queues import Delivery

log = get_logger(__name__)

#: A property of every message that we publish: its sender hears of the result by
#: itself, where a stock sender waits for a PUBLISH.
OUR_MARK = "smartworker"

_tags = itertools.count(1)


class Channel(stock.Channel):
    """One consumer or producer on a connection; the transport owns the sockets."""

    QoS = QoS
    connection_class = MeteredConnection
    connection_class_ssl = MeteredSSLConnection
    socket_timeout = COMMAND_TIMEOUT
    socket_connect_timeout = COMMAND_TIMEOUT
    socket_keepalive = True
    socket_keepalive_options = keepalive_options()
    health_check_interval = 0
    keyprefix_fanout: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held: dict[str, Delivery] = {}
        self._begun: set[str] = set()
        self._accepted: set[str] = set()
        self._receivers: dict[str, tuple[Any, bool]] = {}
        self._bindings = Bindings()
        with because("boot"):
            super().__init__(*args, **kwargs)
        # kombu fills in the database where it makes a pool; ours is made only once.
        self.keyprefix_fanout = self.keyprefix_fanout.format(db=self.database)

    # -- consuming ---------------------------------------------------------------

    def sources(self) -> list[Source]:
        """The queue keys to take from, the most urgent first."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        found = [
            self._source(queue, step, self._receivers[queue][1])
            for step in self.priority_steps
            for queue in queues
            if queue in self._receivers
        ]
        # Stable: queues of one priority stay in the order of kombu's cycle.
        return sorted(found, key=urgency)

    def _source(self, queue: str, step: int, no_ack: bool) -> Source:
        priority = self.connection.queue_priorities.get(queue, 0)
        key = self.key_for(queue, step)
        return Source(key, queue, step, not no_ack, self, priority)

    def fanout_topics(self) -> list[str]:
        """The topics of broadcasts this channel listens to: remote control."""
        return [
            keys.literal(self.global_keyprefix) + topic
            for queue in self.active_fanout_queues
            for topic in self._get_subscribe_topics(queue)
        ]

    def broadcast_sources(self, topic: str) -> list[Source]:
        """Who here listens to a topic such as `/0.celery.pidbox` or `/0.name/key`."""
        name = topic.removeprefix(self.global_keyprefix)
        exchange = name.removeprefix(self.keyprefix_fanout).partition("/")[0]
        queue = self._fanout_to_queue.get(exchange)
        return [] if queue is None else [Source(topic, queue, 0, False, self)]

    def key_for(self, queue: str, step: int) -> str:
        """The full Redis key of a queue's priority step."""
        return str(self.global_keyprefix + self._q_for_pri(queue, step))

    def room(self) -> int | None:
        """How many more messages may be taken; None if there is no limit."""
        if not self.qos.can_consume():
            return 0
        if "can_consume" in vars(self.qos):
            return 1  # Celery's worker_disable_prefetch decides message by message
        estimate = self.qos.can_consume_max_estimate()
        return None if estimate is None else int(estimate)

    def receive(self, source: Source, delivery: Delivery, payload: Any) -> bool:
        """Hold a message and hand it to its consumer; false if there is none.

        Raises Unreadable before it holds anything.
        """
        if source.queue not in self._receivers:
            return False
        callback, no_ack = self._receivers[source.queue]
        # A tag of our own: two copies of one message may carry the same one.
        tag = f"{self.channel_id}.{next(_tags)}"
        payload["properties"]["delivery_tag"] = tag
        try:
            message = self.Message(payload, channel=self)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from error
        if not no_ack:
            self._held[tag] = delivery
            self.qos.append(message, tag)
            # Only now does the lease's thread see it: it may have ended meanwhile.
            self.connection.cycle.courier.on_hold()
        self._queue_cycle.rotate(source.queue)
        callback(message)
        return True

    def held(self) -> list[Delivery]:
        """The messages taken and not finished."""
        return list(self._held.values())

    def bury(self, tag: str, reason: str, detail: str) -> bool:
        """Move a held message to the dead letters; false once the pool has it."""
        if tag in self._begun:
            return False
        delivery = self._held.pop(tag, None)
        if delivery is not None:
            verdict = dead(delivery.raw, delivery.queue_key, reason, detail)
            self.connection.cycle.move(delivery, verdict)
        self.qos.forget(tag)
        return True

    def hold_back(self, tag: str) -> None:
        """Give a held message to another worker: its task is not known here."""
        delivery = self._held.pop(tag, None)
        if delivery is not None:
            self.connection.cycle.hold_back(delivery)
        self.qos.forget(tag)

    def begin(self, tag: str) -> None:
        """A held message is handed to the pool: it is not given back any more."""
        if tag in self._held:
            self._begun.add(tag)

    def accept(self, tag: str) -> None:
        """A message runs now; called from any thread of the pool."""
        if tag in self._held:
            self._accepted.add(tag)

    def in_pool(self) -> tuple[int, int]:
        """How many messages the pool has, and how many of them run."""
        return len(self._begun), len(self._accepted)

    def return_not_begun(self, keep: Keep = "begun") -> None:
        """Give back what is not to be kept."""
        if keep != "begun":
            self._begun &= self._accepted if keep == "accepted" else set()
        self.give_back([tag for tag in self._held if tag not in self._begun])

    def finish(self, tag: str, *, again: bool = False) -> None:
        """Take a held message out of flight; `again` puts it back into its queue."""
        delivery = self._held.pop(tag, None)
        self._begun.discard(tag)
        self._accepted.discard(tag)
        if delivery is not None:
            cycle = self.connection.cycle
            (cycle.refuse if again else cycle.finish)(delivery)

    def give_back(self, tags: list[str]) -> None:
        """Return held messages to where they came from, without a word if in vain."""
        found = {tag: self._held[tag] for tag in tags if tag in self._held}
        if found:
            self.connection.cycle.give_back([*found.values()])
        for tag in found:
            self._held.pop(tag, None)
            self.qos.forget(tag)

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, **kwargs: Any
    ) -> Any:
        """Start taking from `queue`."""
        self._receivers[queue] = (callback, no_ack)
        self._write_bindings()
        answer = super().basic_consume(queue, no_ack, callback, consumer_tag, **kwargs)
        self.connection.cycle.changed()
        return answer

    def basic_qos(self, *args: Any, **kwargs: Any) -> None:
        """Another prefetch limit: there may be room now."""
        super().basic_qos(*args, **kwargs)
        self.connection.cycle.wake()

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """One message if there is one, else None; at most 1 command per step."""
        got: list[Any] = []
        for step in self.priority_steps:
            source = self._source(queue, step, no_ack)
            delivery = self.connection.cycle.courier.take_one(source)
            if delivery is not None:
                outer = self._receivers.get(queue)
                self._receivers[queue] = (got.append, no_ack)
                try:
                    self.connection.cycle.courier.hand_over(source, delivery)
                finally:
                    self._receivers.pop(queue)
                    if outer:
                        self._receivers[queue] = outer
                return got[0] if got else None
        return None

    def _basic_cancel(self, consumer_tag: str) -> Any:
        self._receivers.pop(self._tag_to_queue.get(consumer_tag, ""), None)
        answer = super()._basic_cancel(consumer_tag)
        if self.connection is not None:
            self.connection.cycle.changed()
        return answer

    def _subscribe(self) -> None:
        """Broadcasts come through the doorbell's subscription."""

    def _unsubscribe_from(self, queue: str) -> None:
        """Broadcasts come through the doorbell's subscription."""

    # -- publishing --------------------------------------------------------------

    def basic_publish(self, message: Any, *args: Any, **kwargs: Any) -> Any:
        """Publish a message; what was declared before is known by then."""
        self._write_bindings()
        message["properties"][OUR_MARK] = True
        return super().basic_publish(message, *args, **kwargs)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        step, once = trigger.current(), envelope.once(message)
        alone, batched = step or once, "_publish_batch" in kwargs
        envelope.forget_deliveries(message)
        key = self.key_for(queue, self._get_message_priority(message, reverse=False))
        pushes = collecting(self.connection.client)
        if pushes is not None and not (alone or batched or queue in self._expires):
            pushes.add(self, key, dumps(message))
            return
        # A batch rings itself. Asked first: an error after a push would push again.
        must_ring = (alone or not batched) and self.must_ring()
        pushed, plain = True, self.connection.plain_client
        if step:
            pushed = trigger.take(plain(self), step, key, dumps(message))
        elif once:
            prefix = self.global_keyprefix
            pushed = publish_once(plain(self), once, key, dumps(message), prefix)
        else:
            with because("publish"):
                super()._put(queue, message, **kwargs)
        if pushed and must_ring:
            self.ring(key, 1)

    def _put_fanout(self, *args: Any, **kwargs: Any) -> None:
        with because("control"):
            super()._put_fanout(*args, **kwargs)

    def create_publish_batch(self, max_size: int) -> PublishBatch:
        """A batch that sends one LPUSH for all messages of a queue key."""
        return PublishBatch(self, max_size)

    def must_ring(self) -> bool:
        """Whether pushes are heard only if the producer rings."""
        return bool(self.connection.must_ring(self))

    def ring(self, queue_key: str, count: int) -> None:
        """Tell the workers of a push that the server does not tell of.

        A bell is a hint: were its loss an error, the publisher would publish again.
        """
        with suppress(*LOST, RedisError), because("publish"):
            self.connection.plain_client(self).publish(keys.bell(queue_key), count)

    # -- declaring ---------------------------------------------------------------

    def queue_declare(
        self, queue: str | None = None, passive: bool = False, **kwargs: Any
    ) -> Any:
        """Declare a queue; only a passive declaration asks for its length."""
        if passive or queue is None:
            return super().queue_declare(queue, passive, **kwargs)
        self._new_queue(queue, **kwargs)
        return queue_declare_ok_t(queue, 0, 0)

    def _queue_bind(
        self, exchange: str, routing_key: str, pattern: str, queue: str
    ) -> None:
        """Write a binding only where somebody will ever read it."""
        kind = self.typeof(exchange).type
        if kind == "fanout":
            self._fanout_queues[queue] = (exchange, routing_key.replace("#", "*"))
            # Nothing on the server, so nothing there to keep from expiring.
            self._expires.pop(queue, None)
            return
        if queue == routing_key and self._is_plain(exchange, routing_key):
            return
        if queue in self._expires:
            with because("control"):
                super()._queue_bind(exchange, routing_key, pattern, queue)
            # Just written: the next refresh is due in a while, not at once.
            self._binding_expiry_refreshed_at = self._bindings_swept_at = monotonic()
            return
        member = self.sep.join([routing_key or "", pattern or "", queue or ""])
        self._bindings.add(self.keyprefix_queue % exchange, member)
        # The second set keeps kombu's sweep from dropping the first.
        self._bindings.add(self.keyprefix_binding_permanent % exchange, member)

    def _write_bindings(self) -> None:
        self._bindings.write(self._create_client)

    def _is_plain(self, exchange: str, routing_key: str) -> bool:
        """Celery's default: a direct exchange of the queue's own name."""
        return exchange == routing_key and self.typeof(exchange).type == "direct"

    def _lookup(self, exchange: str, routing_key: str, default: Any = None) -> Any:
        with because("control"):
            queues = super()._lookup(exchange, routing_key, default)
        if exchange and self._is_plain(exchange, routing_key):
            # Its binding is never written.
            return list(dict.fromkeys([routing_key, *queues]))
        return queues

    def _delete(
        self,
        queue: str,
        exchange: str,
        routing_key: str,
        pattern: str,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Drop a queue; a broadcast's has nothing on the server."""
        self.auto_delete_queues.discard(queue)
        if self.typeof(exchange).type == "fanout":
            return
        with because("control"):
            super()._delete(queue, exchange, routing_key, pattern, *args, **kwargs)

    # -- connections -------------------------------------------------------------

    @property
    def database(self) -> int:
        """The number of the database."""
        return int(self.pool.connection_kwargs.get("db") or 0)

    @property
    def pool(self) -> Any:
        """The transport's connections: one set for all its channels."""
        return self.connection.pool_for(self)

    #: The same connections: no socket of ours ever blocks on a pop.
    async_pool = pool

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        params = super()._connparams(asynchronous=False)
        params["connection_class"] = metered(params["connection_class"])
        options = self.connection.client.transport_options
        verify = options.get("tls_verify", True)
        safe = verified(params, options.get("tls_ca"), verify=verify)
        return {**safe, **connection_options()}

    def _after_fork(self) -> None:
        if self.connection is not None:
            self.connection.disconnect_pool()

    def _disconnect_pools(self) -> None:
        """The sockets belong to the transport; it closes them."""

    def close(self) -> None:
        """Give back what is held."""
        if not self.closed and self.connection is not None:
            try:
                self._write_bindings()
            except (*LOST, RedisError) as error:
                log.warning("bindings_not_written", error=str(error)[:200])
        super().close()
