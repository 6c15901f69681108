"""Departure from a consumer group during a rebalance."""

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaConsumer
from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

_ANSWER_S = 3.0


async def leave_rebalance(consumer: AIOKafkaConsumer) -> None:
    """Cancels a pending join and leaves the group; does nothing if no join is pending.

    The broker answers a join when every member has joined or lost its session, and aiokafka would wait for that before
    it stops. Until then the broker reads nothing more from that connection, so another one is used to leave. A static
    member does not leave: it may be back before its session ends.
    """
    coordinator = consumer._coordinator
    if coordinator is None or not consumer._subscription.reassignment_in_progress:
        return
    task = coordinator._coordination_task
    task.cancel()
    await asyncio.wait([task])
    if coordinator.member_id and coordinator.coordinator_id is not None and not coordinator._group_instance_id:
        leave = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
        with suppress(KafkaError, TimeoutError):  # then the session expires
            sent = consumer._client.send(coordinator.coordinator_id, leave, group=ConnectionGroup.DEFAULT)
            await asyncio.wait_for(sent, _ANSWER_S)
    coordinator.reset_generation()
