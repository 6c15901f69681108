"""Folds and the whole pipeline in memory, for the tests of those who write folds or settings.

The folds and the commit protocol are the real ones: only topics and tables are in memory. Time and crashes are values
that the caller hands in, so nothing waits, and the same calls give the same rows.

>>> from streams.contract.events import Event
>>> def view(user_id: str, item_id: str, at_s: int) -> Event:
...     event_id, at_ms = f"{user_id}-{at_s}", 1_736_121_600_000 + 1000 * at_s
...     return Event(event_id=event_id, timestamp_ms=at_ms, kind="view", user_id=user_id, item_id=item_id)

Two shoppers look at a lamp and a desk. After that both items are known, and a third shopper is recommended one of them
at the other:

>>> pipeline = Pipeline()
>>> for event in [view("ann", "lamp", 0), view("ann", "desk", 1), view("ben", "desk", 2), view("ben", "lamp", 3)]:
...     _ = pipeline.publish(event)
>>> pipeline.run()
>>> partition = pipeline.publish(view("cem", "lamp", 9))
>>> pipeline.run()
>>> [item.item_id for each in pipeline.recommendations() if each.user_id == "cem" for item in each.items]
['desk']

A worker can be cut off at any point of a batch. Here it delivers two records of one and loses its process
and its disk. A new one recovers from the changelog, and the row is as if nothing had happened:

>>> partition = pipeline.publish(view("ann", "lamp", 10))
>>> try:
...     pipeline.behaviour.drain(crash=Crash(after="fold", records=2))
... except Crashed:
...     pipeline.behaviour.restart(empty_table=True)
>>> pipeline.behaviour.drain()
1
>>> pipeline.behaviour.row(b"ann").session.views
3
"""

from streams.testing.pipeline import Example, GlobalTables, Outcome, Pipeline
from streams.testing.topics import MemoryReader, MemoryRecord, MemoryTopics
from streams.testing.worker import Crash, Crashed, MemoryTable, MemoryWorker

__all__ = [
    "Crash",
    "Crashed",
    "Example",
    "GlobalTables",
    "MemoryReader",
    "MemoryRecord",
    "MemoryTable",
    "MemoryTopics",
    "MemoryWorker",
    "Outcome",
    "Pipeline",
]
