"""A shop that talks to Headrace over HTTP, with Python's standard library alone.

Start a broker, a worker and a door, as the README says; then::

    python examples/shop.py http://127.0.0.1:8080

It prints two slates: one chosen from candidates of the shop, as after a search, and one that retrieval proposes, as for
a home page.
"""

import itertools
import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

DOOR = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
SHOES = ["boots", "sandals", "sneakers"]


def post(path: str, body: dict[str, Any]) -> Any:
    """Sends a request, and returns its answer."""
    request = urllib.request.Request(DOOR + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def publish(kind: str, user_id: str, **fields: Any) -> Any:
    """Sends an event. Should it fail, it may be sent again with the same event_id, and counts once."""
    event = {"event_id": str(uuid.uuid4()), "timestamp_ms": time.time_ns() // 10**6, "kind": kind, "user_id": user_id}
    return post("/v1/events", event | fields)


def shown_and_clicked(slate: dict[str, Any]) -> None:
    """Reports what the shopper did with a slate; from that the policies learn."""
    first = slate["items"][0]["item_id"]
    post("/v1/reward", {"decision_id": slate["decision_id"], "kind": "impression"})
    post("/v1/reward", {"decision_id": slate["decision_id"], "kind": "click", "item_id": first})


def main() -> None:
    """Asks for both slates."""
    # With candidates: a search found these items, and "slippers" is new. Asking again with the same event_id has the
    # same slate, so a page that was slow to get one may ask again.
    search: dict[str, Any] = {"event_id": str(uuid.uuid4()), "user_id": "ann", "surface": "search"}
    search |= {"candidates": [*SHOES, "slippers"], "n": 2}
    slate = post("/v1/rank", search)
    while slate["source"] != "live":  # popular items, until a worker runs
        slate = post("/v1/rank", search)
    print(json.dumps(slate))
    shown_and_clicked(slate)

    # Without candidates: a new shop knows no items, so its first slates are empty.
    for item in itertools.cycle(SHOES):
        publish("view", "ben", item_id=item, category="shoes", price=79.9)
        slate = post("/v1/rank", {"user_id": "ben", "surface": "home", "timeout_ms": 2000})
        if slate["source"] == "live" and slate["items"]:
            break
    print(json.dumps(slate))
    shown_and_clicked(slate)


try:
    main()
except urllib.error.HTTPError as error:
    sys.exit(f"{error.url}: {error.code} {error.read().decode()}")
except urllib.error.URLError as error:
    sys.exit(f"{DOOR}: {error.reason}")
except KeyboardInterrupt:
    sys.exit(130)
