"""Private or undocumented names of kombu, Celery, redis-py and APScheduler we rely on.

`module:Class.name` -> its arguments, or None for what is no function. Where a new
release changes one, look at the class of ours that overrides or touches it.
"""

OVERRIDES: dict[str, str | None] = {
    # smartworker/broker/channel.py, overridden
    "kombu.transport.redis:Channel._after_fork": "(self)",
    "kombu.transport.redis:Channel._basic_cancel": "(self, consumer_tag)",
    "kombu.transport.redis:Channel._connparams": "(self, asynchronous=False)",
    "kombu.transport.redis:Channel._delete": (
        "(self, queue, exchange, routing_key, pattern, *args, **kwargs)"
    ),
    "kombu.transport.redis:Channel._disconnect_pools": "(self)",
    "kombu.transport.redis:Channel._put": "(self, queue, message, **kwargs)",
    "kombu.transport.redis:Channel._put_fanout": (
        "(self, exchange, message, routing_key, **kwargs)"
    ),
    "kombu.transport.redis:Channel._queue_bind": (
        "(self, exchange, routing_key, pattern, queue)"
    ),
    "kombu.transport.redis:Channel._subscribe": "(self)",
    "kombu.transport.redis:Channel._unsubscribe_from": "(self, queue)",
    "kombu.transport.virtual.base:Channel._lookup": (
        "(self, exchange, routing_key, default=None)"
    ),
    "kombu.transport.redis:Channel.create_publish_batch": "(self, max_size)",
    "kombu.transport.redis:Channel.basic_consume": "(self, queue, *args, **kwargs)",
    "kombu.transport.redis:Channel.close": "(self)",
    "kombu.transport.redis:Channel.pool": None,
    "kombu.transport.redis:Channel.async_pool": None,
    # smartworker/broker/channel.py and hearing.py, called or read
    "kombu.transport.redis:Channel._create_client": "(self, asynchronous=False)",
    "kombu.transport.redis:Channel._deliver_fanout_message": (
        "(self, message, exchange)"
    ),
    "kombu.transport.redis:Channel._get_pool": "(self, asynchronous=False)",
    "kombu.transport.redis:Channel._get_subscribe_topics": "(self, queue)",
    "kombu.transport.redis:Channel._new_queue": (
        "(self, queue, auto_delete=False, **kwargs)"
    ),
    "kombu.transport.redis:Channel._q_for_pri": "(self, queue, pri)",
    "kombu.transport.redis:Channel.maybe_refresh_binding_expiry": "(self)",
    "kombu.transport.virtual.base:Channel._get_message_priority": (
        "(self, message, reverse=False)"
    ),
    # smartworker/broker/channel.py, quality of service
    "kombu.transport.virtual.base:QoS.ack": "(self, delivery_tag)",
    "kombu.transport.virtual.base:QoS.reject": "(self, delivery_tag, requeue=False)",
    "kombu.transport.virtual.base:QoS.restore_unacked": "(self)",
    "kombu.transport.virtual.base:QoS._flush": "(self)",
    "kombu.transport.virtual.base:QoS.can_consume": "(self)",
    "kombu.transport.virtual.base:QoS.can_consume_max_estimate": "(self)",
    # smartworker/broker/transport.py, batch.py
    "kombu.transport.redis:Transport.__init__": "(self, *args, **kwargs)",
    "kombu.transport.redis:Transport.register_with_event_loop": (
        "(self, connection, loop)"
    ),
    "kombu.transport.virtual.base:Transport.close_connection": "(self, connection)",
    "kombu.transport.redis:PublishBatch.__init__": "(self, channel, max_size)",
    # smartworker/worker/groups.py, replaced
    "celery.canvas:group._apply_tasks": (
        "(self, tasks, producer=None, app=None, p=None, add_to_parent=None, "
        "chord=None, args=None, kwargs=None, group_index=None, **options)"
    ),
    # smartworker/worker/results.py and waiting.py, overridden
    "celery.backends.redis:ResultConsumer.consume_from": "(self, task_id)",
    "celery.backends.redis:ResultConsumer._drain_one": "(self, pubsub, timeout)",
    "celery.backends.redis:ResultConsumer._flush_pending_unsubscribe": "(self)",
    "celery.backends.redis:ResultConsumer._reconnect_pubsub": "(self)",
    "celery.backends.redis:ResultConsumer.on_wait_for_pending": (
        "(self, result, **kwargs)"
    ),
    "celery.backends.redis:RedisBackend._add_driver_info": "(self)",
    "celery.backends.redis:RedisBackend._params_from_url": "(self, url, defaults)",
    "celery.backends.redis:RedisBackend.on_connection_error": (
        "(self, max_retries, exc, intervals, retries)"
    ),
    "celery.backends.redis:RedisBackend._set": "(self, key, value, expires=None)",
    "celery.backends.redis:RedisBackend.on_task_call": "(self, producer, task_id)",
    "celery.backends.base:BaseKeyValueStoreBackend._store_result": (
        "(self, task_id, result, state, traceback=None, request=None, **kwargs)"
    ),
    "celery.backends.base:Backend.mark_as_done": (
        "(self, task_id, result, request=None, store_result=True, state='SUCCESS')"
    ),
    # smartworker/worker/results.py and waiting.py, called
    "celery.backends.redis:ResultConsumer._locked": "(self)",
    "celery.backends.redis:ResultConsumer.reconnect_on_error": "(self)",
    "celery.backends.base:Backend._get_result_meta": (
        "(self, result, state, traceback, request, format_date=True, encode=False)"
    ),
    "celery.backends.redis:RedisBackend.set": (
        "(self, key, value, expires=None, **retry_policy)"
    ),
    # smartworker/worker/program.py, bootstep.py, tally.py
    "celery.apps.worker:Worker.on_before_init": "(self, quiet=False, **kwargs)",
    "celery.apps.worker:Worker.install_platform_tweaks": "(self, worker)",
    "celery.worker.worker:WorkController.should_use_eventloop": "(self)",
    "celery.worker.worker:WorkController.prepare_args": "(self, **kwargs)",
    "celery.worker.worker:WorkController._process_task": "(self, req)",
    # smartworker/worker/luggage.py, made anew
    "celery.app.trace:trace_ok_t.__new__": "(_cls, retval, info, runtime, retstr)",
    # smartworker/worker/request.py
    "celery.worker.request:Request._context": None,
    "celery.worker.request:Request.acknowledged": None,
    "celery.worker.request:Request.delivery_info": None,
    "celery.worker.request:Request.request_dict": None,
    "celery.worker.request:Request.on_accepted": "(self, pid, time_accepted)",
    "celery.worker.request:Request.on_failure": (
        "(self, exc_info, send_failed_event=True, return_ok=False)"
    ),
    "celery.worker.request:Request.on_success": (
        "(self, failed__retval__runtime, **kwargs)"
    ),
    "celery.worker.request:Request.on_retry": "(self, exc_info)",
    "celery.worker.request:Request.on_timeout": "(self, soft, timeout)",
    "celery.worker.request:Request.reject": "(self, requeue=False)",
    "celery.worker.request:Request._announce_revoked": (
        "(self, reason, terminated, signum, expired)"
    ),
    "celery.worker.request:Request._announce_cancelled": "(self, emit_retry=True)",
    "celery.worker.request:Request._retry_worker_lost": "(self, exc, exc_info)",
    # smartworker/worker/overlap.py, which stands in front of `on_task_request`
    "celery.worker.consumer.consumer:Consumer.apply_eta_task": "(self, task)",
    "celery.worker.consumer.consumer:Consumer._limit_move_to_pool": "(self, request)",
    # smartworker/worker/consumer.py
    "celery.worker.consumer.consumer:Consumer.call_soon_ack": (
        "(self, p, *args, **kwargs)"
    ),
    "celery.worker.consumer.consumer:Consumer.update_strategies": "(self)",
    "celery.worker.consumer.consumer:Consumer.cancel_active_requests": "(self)",
    "celery.worker.consumer.consumer:Consumer.create_task_handler": (
        "(self, promise=<class 'vine.promises.promise'>)"
    ),
    "celery.worker.consumer.consumer:Consumer.on_close": "(self)",
    "celery.worker.consumer.consumer:Consumer.on_decode_error": "(self, message, exc)",
    "celery.worker.consumer.consumer:Consumer.on_invalid_task": (
        "(self, body, message, exc)"
    ),
    "celery.worker.consumer.consumer:Consumer.on_unknown_message": (
        "(self, body, message)"
    ),
    "celery.worker.consumer.consumer:Consumer.on_unknown_task": (
        "(self, body, message, exc)"
    ),
    # smartworker/broker/adoption.py, read
    "kombu.transport.redis:Channel.unacked_key": None,
    "kombu.transport.redis:Channel.unacked_index_key": None,
    "kombu.transport.redis:Channel.visibility_timeout": None,
    # smartworker/store/client.py
    "redis.connection:AbstractConnection._construct_command_packer": "(self, packer)",
    "redis.connection:AbstractConnection.send_packed_command": (
        "(self, command, check_health=True)"
    ),
}

#: Functions and variables of modules: `module:name` -> as above.
GLOBALS: dict[str, str | None] = {
    # smartworker/worker/luggage.py
    "billiard.common:terminate_handler_fired": "()",
    "billiard.process:current_process": "()",
    "celery.concurrency.prefork:process_initializer": "(app, hostname)",
    # smartworker/worker/program.py
    "kombu.utils.compat:detect_environment": "()",
    # smartworker/worker/groups.py
    "celery.app.amqp:_callback_publish_retry": None,
    "celery.app.amqp:_callback_publish_max_retries": "(retry_policy, default_policy)",
}

#: Attributes that exist on instances only: `module:Class` -> their names, which must
#: stand in the source of the class or of one of its parents.
TOUCHED: dict[str, set[str]] = {
    "kombu.transport.redis:Channel": {
        "_bindings_swept_at",
        "_binding_expiry_refreshed_at",
        "_expires",
        "_fanout_queues",
        "_fanout_to_queue",
        "_queue_cycle",
        "_tag_to_queue",
        "active_fanout_queues",
        "auto_delete_queues",
    },
    "kombu.transport.virtual.base:QoS": {"_delivered"},
    "kombu.transport.redis:PublishBatch": {"pipeline"},
    "celery.backends.redis:ResultConsumer": {
        "_get_key_for_task",
        "_lock_depth",
        "_pending_unsubscribe",
        "_pubsub",
        "_pubsub_lock",
        "subscribed_to",
    },
    "celery.backends.redis:RedisBackend": {"_transport_options", "retry_policy"},
    # smartworker/worker/program.py
    "celery.worker.worker:WorkController": {"pool_cls"},
    "celery.app.base:Celery": {"IS_WINDOWS"},
    # smartworker/worker/consumer.py
    "celery.concurrency.base:BasePool": {"_pool"},
    "billiard.pool:Pool": {"_cache"},
    "billiard.pool:ApplyResult": {"_accepted", "_write_to"},
    # smartworker/worker/luggage.py
    "celery.app.task:Task": {"__trace__"},
    # smartworker/worker/asking.py
    "celery.app.control:Inspect": {"_request"},
    # smartworker/worker/configuration.py
    "celery.utils.collections:ChainMap": {"maps", "defaults"},
    "redis.connection:AbstractConnection": {"_sock"},
}
