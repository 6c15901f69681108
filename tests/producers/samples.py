"""Small files in the shape of each format, and the events in them as plain Python counts them."""

import csv
import io
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

BEGIN_S = 1_570_000_000


class Action(NamedTuple):
    """What an event says, without its id."""

    timestamp_ms: int
    kind: str
    user_id: str
    item_id: str | None
    category: str | None = None
    price: float | None = None
    quantity: int | None = None
    query: str | None = None
    session_id: str | None = None
    decision_id: str | None = None
    position: int | None = None
    rating: float | None = None


class Sample(NamedTuple):
    """Files of one format.

    Attributes:
        write: Writes a file with what the format is known to have.
        actions: Lists the actions in a file, in the order of its lines.
    """

    write: Callable[[random.Random], str]
    actions: Callable[[str], list[Action]]


N_ROWS = 60


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def written(rows: list[list[object]], delimiter: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue()


def read(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


REES46 = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"


def write_rees46(draw: random.Random) -> str:
    rows: list[list[object]] = [list(REES46.split(","))]
    for number in range(N_ROWS):
        at = datetime.fromtimestamp(BEGIN_S + 7 * number, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        kind = draw.choice(["view", "view", "cart", "remove_from_cart", "purchase"])
        code = draw.choice(["", "electronics.clocks"])
        rows.append(
            [at, kind, draw.randrange(9), 2053013, code, "", f"{draw.randrange(1, 999) / 100}", number % 5, "s"]
        )
    return written(rows)


def count_rees46(text: str) -> list[Action]:
    kinds = {"cart": "add_to_cart"}
    return [
        Action(
            int(datetime.strptime(row["event_time"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC).timestamp()) * 1000,
            kinds.get(row["event_type"], row["event_type"]),
            row["user_id"],
            row["product_id"],
            category=row["category_code"] or row["category_id"],
            price=float(row["price"]),
            session_id=row["user_session"],
        )
        for row in read(text)
    ]


def write_retailrocket(draw: random.Random) -> str:
    """Not in the order of time."""
    rows: list[list[object]] = [["timestamp", "visitorid", "event", "itemid", "transactionid"]]
    for _ in range(N_ROWS):
        kind = draw.choice(["view", "view", "addtocart", "transaction"])
        at_ms = BEGIN_S * 1000 + draw.randrange(10_000_000)
        rows.append([at_ms, draw.randrange(5), kind, draw.randrange(9), 7 if kind == "transaction" else ""])
    return written(rows)


def count_retailrocket(text: str) -> list[Action]:
    kinds = {"view": "view", "addtocart": "add_to_cart", "transaction": "purchase"}
    return [Action(int(row["timestamp"]), kinds[row["event"]], row["visitorid"], row["itemid"]) for row in read(text)]


def write_yoochoose_clicks(draw: random.Random) -> str:
    """Without a header, session after session, so not in the order of time; category 0 is none, S a special offer."""
    lines = []
    for session in range(N_ROWS // 4):
        begin_s = BEGIN_S + draw.randrange(1000)
        for number in range(4):
            at = datetime.fromtimestamp(begin_s + number, UTC).strftime("%Y-%m-%dT%H:%M:%S.277Z")
            lines.append(f"{session},{at},{214_536_500 + draw.randrange(9)},{draw.choice(['0', 'S', '12'])}\n")
    return "".join(lines)


def yoochoose_ms(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp() * 1000)


def count_yoochoose_clicks(text: str) -> list[Action]:
    return [
        Action(
            yoochoose_ms(at), "view", session, item, category=None if category == "0" else category, session_id=session
        )
        for session, at, item, category in csv.reader(io.StringIO(text))
    ]


def write_yoochoose_buys(draw: random.Random) -> str:
    """Half of the prices and quantities are 0, which means unknown."""
    lines = []
    for session in range(N_ROWS // 2):
        at = datetime.fromtimestamp(BEGIN_S + draw.randrange(1000), UTC).strftime("%Y-%m-%dT%H:%M:%S.804Z")
        price, quantity = draw.choice([("0", "0"), ("12462", "1"), ("523", "2")])
        lines.append(f"{session},{at},{214_536_500 + draw.randrange(9)},{price},{quantity}\n")
    return "".join(lines)


def count_yoochoose_buys(text: str) -> list[Action]:
    return [
        Action(
            yoochoose_ms(at),
            "purchase",
            session,
            item,
            price=None if price == "0" else float(price),
            quantity=None if quantity == "0" else int(quantity),
            session_id=session,
        )
        for session, at, item, price, quantity in csv.reader(io.StringIO(text))
    ]


def write_diginetica_views(draw: random.Random) -> str:
    rows: list[list[object]] = [["sessionId", "userId", "itemId", "timeframe", "eventdate"]]
    for number in range(N_ROWS):
        user = draw.choice(["NA", "NA", "7"])
        rows.append([number // 4, user, draw.randrange(9), draw.randrange(900_000), f"2016-05-0{1 + number % 9}"])
    return written(rows, ";")


def write_diginetica_purchases(draw: random.Random) -> str:
    rows: list[list[object]] = [["sessionId", "userId", "timeframe", "eventdate", "ordernumber", "itemId"]]
    for number in range(N_ROWS):
        user = draw.choice(["NA", "7"])
        day = f"2016-05-0{1 + number % 9}"
        rows.append([number // 4, user, draw.randrange(900_000), day, number, draw.randrange(9)])
    return written(rows, ";")


def count_diginetica(text: str) -> list[Action]:
    actions = []
    for row in read(text, ";"):
        midnight = datetime.strptime(row["eventdate"], "%Y-%m-%d").replace(tzinfo=UTC)
        is_purchase = "ordernumber" in row
        actions.append(
            Action(
                int(midnight.timestamp()) * 1000 + int(row["timeframe"]),
                "purchase" if is_purchase else "view",
                f"session-{row['sessionId']}" if row["userId"] == "NA" else row["userId"],
                row["itemId"],
                quantity=1 if is_purchase else None,
                session_id=row["sessionId"],
            )
        )
    return actions


def write_otto(draw: random.Random) -> str:
    """One session a line; they overlap in time."""
    lines = []
    for session in range(N_ROWS // 3):
        at_ms = BEGIN_S * 1000 + draw.randrange(100_000)
        events = [
            {"aid": draw.randrange(9), "ts": at_ms + 10_000 * n, "type": draw.choice(["clicks", "carts", "orders"])}
            for n in range(3)
        ]
        lines.append(json.dumps({"session": session, "events": events}) + "\n")
    return "".join(lines)


def count_otto(text: str) -> list[Action]:
    kinds = {"clicks": "view", "carts": "add_to_cart", "orders": "purchase"}
    return [
        Action(e["ts"], kinds[e["type"]], str(session["session"]), str(e["aid"]), session_id=str(session["session"]))
        for session in map(json.loads, text.splitlines())
        for e in session["events"]
    ]


def write_taobao(draw: random.Random) -> str:
    lines = [
        f"{draw.randrange(5)},{draw.randrange(9)},{n % 3},{draw.choice(['pv', 'cart', 'buy', 'fav'])},{BEGIN_S + n}\n"
        for n in range(N_ROWS)
    ]
    return "".join(lines)


def count_taobao(text: str) -> list[Action]:
    kinds = {"pv": "view", "cart": "add_to_cart", "buy": "purchase", "fav": "rating"}
    return [
        Action(int(at) * 1000, kinds[kind], user, item, category=category, rating=5.0 if kind == "fav" else None)
        for user, item, category, kind, at in csv.reader(io.StringIO(text))
    ]


TRIVAGO = (
    "user_id,session_id,timestamp,step,action_type,reference,platform,city,device,current_filters,impressions,prices"
)


def write_trivago(draw: random.Random) -> str:
    """Slates of two to four items; some clicks are on an item that is not in the slate."""
    rows: list[list[object]] = [list(TRIVAGO.split(","))]
    for number in range(N_ROWS):
        action = draw.choice(
            ["clickout item", "interaction item image", "search for poi", "filter selection", "change of sort order"]
        )
        slate = [str(item) for item in draw.sample(range(5000, 5020), draw.randint(2, 4))]
        prices = [str(draw.randrange(30, 300)) for _ in slate]
        reference = {"search for poi": "Opera, Sydney"}.get(action, "Focus on Distance")
        if "item" in action:
            reference = draw.choice([*slate, "4999"])
        shown = ["|".join(slate), "|".join(prices)] if action == "clickout item" else ["", ""]
        person = [f"u{number % 4}", f"s{number % 4}", BEGIN_S + number, number + 1]
        rows.append([*person, action, reference, "AU", "Sydney, Australia", "mobile", "", *shown])
    return written(rows)


def count_trivago(text: str) -> list[Action]:
    actions = []
    for row in read(text):
        person: dict[str, Any] = {"user_id": row["user_id"], "session_id": row["session_id"]}
        at_ms, reference = int(row["timestamp"]) * 1000, row["reference"]
        if row["action_type"].startswith("interaction"):
            actions.append(Action(at_ms, "view", item_id=reference, **person))
        elif row["action_type"].startswith("search"):
            actions.append(Action(at_ms, "search", item_id=reference, query=reference, **person))
        elif row["action_type"] == "clickout item":
            slots = list(zip(row["impressions"].split("|"), map(float, row["prices"].split("|")), strict=True))
            decision = f"{row['session_id']}-{row['step']}"
            shown = [
                Action(at_ms, "impression", item_id=item, price=price, decision_id=decision, position=n, **person)
                for n, (item, price) in enumerate(slots)
            ]
            actions += shown
            actions += [action._replace(kind="click") for action in shown if action.item_id == reference]
    return actions


def write_movielens(draw: random.Random) -> str:
    rows: list[list[object]] = [["userId", "movieId", "rating", "timestamp"]]
    rows += [[draw.randrange(5), draw.randrange(9), draw.randrange(1, 11) / 2, BEGIN_S - n] for n in range(N_ROWS)]
    return written(rows)


def write_movielens_1m(draw: random.Random) -> str:
    lines = [f"{draw.randrange(5)}::{draw.randrange(9)}::{draw.randint(1, 5)}::{BEGIN_S + n}\n" for n in range(N_ROWS)]
    return "".join(lines)


def write_movielens_100k(draw: random.Random) -> str:
    return write_movielens_1m(draw).replace("::", "\t")


def count_movielens(text: str) -> list[Action]:
    lines = text.replace("::", ",").replace("\t", ",").splitlines()
    rows = [line.split(",") for line in lines if not line.startswith("userId")]
    return [Action(int(at) * 1000, "rating", user, item, rating=float(rating)) for user, item, rating, at in rows]


def write_segment(draw: random.Random) -> str:
    """Orders of several products, numbers as text, anonymous shoppers, lists with and without a decision."""
    lines = []
    for number in range(N_ROWS):
        product = {"product_id": f"p{draw.randrange(9)}", "category": "Games", "price": "18.99", "quantity": 1}
        name, properties = draw.choice(
            [
                ("Product Viewed", {**product, "price": 18.99}),
                ("Product Clicked", product),
                ("Product Clicked", {**product, "decision_id": "d1", "position": 2}),
                ("Product Added", {**product, "quantity": "2"}),
                ("Products Searched", {"query": "blue hotpants"}),
                ("Order Completed", {"order_id": "o", "products": [product, {**product, "sku": "x", "price": None}]}),
                ("Product List Viewed", {"list_id": "hot", "products": [product]}),
                ("Product List Viewed", {"decision_id": "d1", "products": [product, {**product, "position": 2}]}),
                ("Product Reviewed", {"product_id": "p1", "rating": "4"}),
                ("Order Refunded", {"order_id": "o", "products": [product]}),
            ]
        )
        person: dict[str, str | None] = {"userId": f"u{number % 4}"} if number % 3 else {"userId": None}
        message = {"type": "track", "event": name, "messageId": f"m{number}", "anonymousId": "a", **person}
        lines.append(json.dumps({**message, "properties": properties, "timestamp": iso(BEGIN_S + number)}) + "\n")
    lines.append(json.dumps({"type": "identify", "messageId": "m", "userId": "u", "timestamp": iso(BEGIN_S)}) + "\n")
    return "".join(lines)


def count_segment(text: str) -> list[Action]:
    actions = []
    kinds = {"Product Viewed": "view", "Product Added": "add_to_cart", "Product Reviewed": "rating"}
    for message in map(json.loads, text.splitlines()):
        at_ms = int(datetime.fromisoformat(message["timestamp"]).timestamp()) * 1000
        user, name, properties = message["userId"] or "a", message.get("event"), message.get("properties", {})
        decision = properties.get("decision_id")

        def of(kind: str, product: dict[str, Any], **more: Any) -> Action:
            price, quantity = product.get("price"), product.get("quantity")
            return Action(
                at_ms,  # noqa: B023  # used within the iteration
                kind,
                user,  # noqa: B023
                product.get("product_id"),
                category=product.get("category"),
                price=None if price is None else float(price),
                quantity=None if quantity is None else int(quantity),
                **more,
            )

        if name in kinds:
            rating = properties.get("rating")
            actions.append(of(kinds[name], properties, rating=None if rating is None else float(rating)))
        elif name == "Product Clicked":
            more = {"decision_id": decision, "position": 1} if decision else {}
            actions.append(of("click" if decision else "view", properties, **more))
        elif name == "Products Searched":
            actions.append(of("search", {}, query=properties["query"]))
        elif name == "Order Completed":
            actions += [of("purchase", product) for product in properties["products"]]
        elif name == "Product List Viewed" and decision:
            actions += [
                of("impression", product, decision_id=decision, position=product.get("position", number + 1) - 1)
                for number, product in enumerate(properties["products"])
            ]
    return actions


def write_ga4(draw: random.Random) -> str:
    """Integers as text, parameters as a list of keys and values, ``(not set)``, events without a place here."""
    lines = []
    for number in range(N_ROWS):
        items = [
            {
                "item_id": f"SKU_{n}",
                "item_category": draw.choice(["Apparel", "(not set)"]),
                "price": 10.01,
                "quantity": "3",
                "item_list_index": draw.choice(["(not set)", "1"]),
            }
            for n in range(draw.randint(1, 3))
        ]
        params = [param("ga_session_id", int_value=str(77 + number % 2)), param("search_term", string_value="mug")]
        if draw.random() < 0.5:
            params.append(param("decision_id", string_value="d1"))
        name = draw.choice(
            [
                "view_item",
                "select_item",
                "view_item_list",
                "add_to_cart",
                "purchase",
                "view_search_results",
                "page_view",
            ]
        )
        line = {
            "event_date": "20191002",
            "event_timestamp": str((BEGIN_S + number) * 1_000_000 + 123_999),
            "event_name": name,
            "event_params": params,
            "user_id": draw.choice([None, "u1"]),
            "user_pseudo_id": f"1026454.{number % 3}",
            "event_bundle_sequence_id": str(number),
            "items": [] if name in {"view_search_results", "page_view"} else items,
        }
        lines.append(json.dumps(line) + "\n")
    return "".join(lines)


def param(key: str, **value: str) -> dict[str, object]:
    types = dict.fromkeys(["string_value", "int_value", "float_value", "double_value"])
    return {"key": key, "value": {**types, **value}}


def count_ga4(text: str) -> list[Action]:
    actions = []
    kinds = {"view_item": "view", "add_to_cart": "add_to_cart", "purchase": "purchase"}
    for row in map(json.loads, text.splitlines()):
        params = {each["key"]: next(filter(None, each["value"].values())) for each in row["event_params"]}
        at_ms, user = int(row["event_timestamp"]) // 1000, row["user_id"] or row["user_pseudo_id"]
        decision, session, name = params.get("decision_id"), params["ga_session_id"], row["event_name"]
        if name == "view_search_results":
            search = Action(at_ms, "search", user, None, query="mug", session_id=session, decision_id=decision)
            actions.append(search)
        for number, item in enumerate(row["items"]):
            index = None if item["item_list_index"] == "(not set)" else int(item["item_list_index"])
            kind = kinds.get(name, "")
            if name == "view_item_list":
                kind = "impression" if decision else ""
                index = number if index is None else index
            elif name == "select_item":
                kind = "click" if decision and index is not None else "view"
            if kind:
                category = None if item["item_category"] == "(not set)" else item["item_category"]
                actions.append(
                    Action(
                        at_ms,
                        kind,
                        user,
                        item["item_id"],
                        category=category,
                        price=10.01,
                        quantity=3,
                        session_id=session,
                        decision_id=decision,
                        position=index,
                    )
                )
    return actions


def write_headrace(draw: random.Random) -> str:
    lines = []
    for number in range(N_ROWS):
        event = {"event_id": f"e{number}", "user_id": f"u{number % 3}", "timestamp_ms": (BEGIN_S + number) * 1000}
        event |= draw.choice([{"kind": "view", "item_id": "i1", "price": 5}, {"kind": "search", "query": "mug"}])
        lines.append(json.dumps(event) + "\n")
    return "".join(lines)


def count_headrace(text: str) -> list[Action]:
    return [
        Action(
            row["timestamp_ms"],
            row["kind"],
            row["user_id"],
            row.get("item_id"),
            price=row.get("price"),
            query=row.get("query"),
        )
        for row in map(json.loads, text.splitlines())
    ]


SAMPLES = {
    "diginetica.purchases": Sample(write_diginetica_purchases, count_diginetica),
    "diginetica.views": Sample(write_diginetica_views, count_diginetica),
    "ga4": Sample(write_ga4, count_ga4),
    "headrace": Sample(write_headrace, count_headrace),
    "movielens": Sample(write_movielens, count_movielens),
    "movielens.100k": Sample(write_movielens_100k, count_movielens),
    "movielens.1m": Sample(write_movielens_1m, count_movielens),
    "otto": Sample(write_otto, count_otto),
    "rees46": Sample(write_rees46, count_rees46),
    "retailrocket": Sample(write_retailrocket, count_retailrocket),
    "segment": Sample(write_segment, count_segment),
    "taobao": Sample(write_taobao, count_taobao),
    "trivago": Sample(write_trivago, count_trivago),
    "yoochoose.buys": Sample(write_yoochoose_buys, count_yoochoose_buys),
    "yoochoose.clicks": Sample(write_yoochoose_clicks, count_yoochoose_clicks),
}
