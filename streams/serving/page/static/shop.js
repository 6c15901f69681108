// The sample shop: the visitor is the shopper. Events go to the door's own API, and the slate comes by the stream.

import { REASONS, did } from "/page/static/bands.js";
import { bar } from "/page/static/charts.js";
import { h, percent, render, term } from "/page/static/dom.js";
import { picture } from "/page/static/pictures.js";
import { ask, follow } from "/page/static/stream.js";

const by = (id) => document.getElementById(id);
const KEY = "headrace-visitor";
const TARGETS = { purchase: "you buy", cart: "you put something into the cart", click: "you click on what is shown" };
const known = new Map();
const reported = new Set();
let you = null;
let before = [];
const looks = new Map();
let looked = "";

async function visitor() {
  const stored = JSON.parse(localStorage.getItem(KEY) || "null");
  if (stored) return stored;
  const drawn = await ask("/page/visitor");
  localStorage.setItem(KEY, JSON.stringify(drawn));
  return drawn;
}

async function post(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (response.status === 401) throw new Error("this door needs its secret key: open /login first");
  if (!response.ok) throw new Error(`the door refused it (${response.status})`);
  return response.json();
}

// Sends events; their time is the shop's, which is not the clock's where the other shoppers are simulated.
async function send(...events) {
  try {
    const { event_time_ms } = await ask("/page/clock");
    await post("/v1/events", events.map((event, place) => ({ event_id: `${user.user_id}-${crypto.randomUUID()}`,
      timestamp_ms: event_time_ms + place, user_id: user.user_id, surface: "shop", ...event })));
    status("live", "good");
  } catch (error) {
    status(`Not sent: ${error.message}`, "bad");
  }
}

function status(text, kind) {
  by("status").className = `status ${kind}`;
  render(by("status"), text);
}

const of = (product) => ({ item_id: product.item_id, category: product.category || undefined, price: product.price });

function look(product, decision, position) {
  looked = product.item_id;
  looks.set(product.category, (looks.get(product.category) || 0) + 1);
  const click = decision ? [{ kind: "click", decision_id: decision, item_id: product.item_id, position }] : [];
  send(...click, { kind: "view", ...of(product) });
  highlight();
}

const highlight = () => document.querySelectorAll(".product").forEach((card) => card.classList.toggle("looked", card.dataset.item === looked));

function card(product, slot, decision, place) {
  known.set(product.item_id, product);
  return h("li", { class: "product", "data-item": product.item_id, "data-key": `${decision || ""}${product.item_id}` },
    h("button", { type: "button", class: "look", "data-look": product.item_id, "data-decision": decision, "data-place": place },
      picture(product), h("strong", {}, product.title)),
    slot && h("span", { class: "why" }, REASONS[slot.reason] || slot.reason, bar(slot.propensity), `shown with probability ${slot.propensity.toFixed(2)}`),
    h("span", { class: "buy" }, product.price ? product.price.toFixed(2) : "", h("button", { type: "button", "data-cart": product.item_id }, "Add", h("span", { class: "hidden" }, ` ${product.title} to the cart`))));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const { look: item, decision, place, cart, buy } = button?.dataset || {};
  if (item) look(known.get(item), decision, decision ? Number(place) : undefined);
  if (cart) send({ kind: "add_to_cart", ...of(known.get(cart)) });
  if (buy) send(...(you?.cart || []).map((product) => ({ kind: "purchase", quantity: 1, ...of(product) })));
});

// Says how the slate has moved towards the kind of thing that was looked at most.
function moved(slate, fresh, reasons) {
  const [[kind, times] = []] = [...looks].sort(([, a], [, b]) => b - a);
  const alike = slate.filter((product) => product.category === kind).length;
  const kinds = kind ? `${alike} of ${slate.length} are of ${kind}, which you looked at ${times} time${times > 1 ? "s" : ""}. ` : "";
  return `${kinds}${before.length ? `${fresh} of ${slate.length} are new. ` : ""}Why: ${reasons.join("; ")}.`;
}

function show(data) {
  you = data;
  const { decision } = data;
  if (decision?.slots.length) {
    const items = data.slate.map((product) => product.item_id);
    const fresh = data.slate.filter((product) => !before.includes(product.item_id));
    if (items.join() !== before.join()) {
      render(by("moved"), moved(data.slate, fresh.length, [...new Set(decision.slots.map((slot) => REASONS[slot.reason] || slot.reason))]));
      before = items;
    }
    render(by("slate"), data.slate.map((product, place) => card(product, decision.slots[place], decision.decision_id, place)));
    if (!reported.has(decision.decision_id)) {
      reported.add(decision.decision_id);
      send({ kind: "impression", decision_id: decision.decision_id });
    }
  } else render(by("slate"), h("li", { class: "empty" }, "Nothing yet: the shop knows only what was looked at."));
  const expected = Object.entries(data.probabilities).map(([target, probability]) => {
    const [strongest] = data.reasons[target] || [];
    return h("p", {}, `${TARGETS[target] || target}: `, h("strong", {}, percent(probability, 0)), bar(probability),
      strongest && h("small", {}, `${strongest[1] >= 0 ? "raised" : "lowered"} most by ${strongest[0].replaceAll("_", " ")}`));
  });
  const spend = Object.entries(data.amounts).map(([target, amount]) => h("p", {}, `${target}: `, h("strong", {}, amount.toFixed(2))));
  render(by("expected"), expected.length ? [expected, spend] : h("p", { class: "empty" }, "Nothing yet: look at something."));
  render(by("before"), decision?.before.map(did).join(" → ") || "none");
  render(by("cart"), data.cart.length ? [h("ul", {}, data.cart.map((product) => h("li", {}, product.title))), h("button", { type: "button", "data-buy": "all" }, "Buy it all")]
    : h("p", { class: "empty" }, "It is empty."));
  data.cart.forEach((product) => known.set(product.item_id, product));
  highlight();
}

const SAMPLES = { mugs: ["Blue mug", "Tall cup", "Camping mug", "Espresso cup"], shoes: ["Running shoe", "Hiking boot", "Sandals", "Slippers"],
  lamps: ["Desk lamp", "Reading light", "Floor lamp", "Night light"], bags: ["Backpack", "Tote bag", "Travel bag", "Wallet"],
  books: ["Cook book", "Novel", "Notebook", "Atlas book"], plants: ["Fern", "Cactus plant", "Flower pot plant", "Palm plant"] };

async function fill() {
  const products = Object.entries(SAMPLES).flatMap(([category, titles]) => titles.map((title, place) =>
    ({ item_id: `sample-${title.toLowerCase().replaceAll(" ", "-")}`, title, category, price: 9.9 + 7 * place })));
  try {
    await post("/v1/items", products);
    by("fill").hidden = true;
    setTimeout(stock, 1500);
  } catch (error) {
    status(`Not written: ${error.message}`, "bad");
  }
}

async function stock() {
  try {
    const shelf = await ask("/page/shelf");
    render(by("shelf"), shelf.products.length ? shelf.products.map((product) => card(product)) : h("li", { class: "empty" }, "The shop has no products yet."));
    by("fill").hidden = !shelf.is_new;
    if (shelf.products.length < 24) setTimeout(stock, 3000);
  } catch {
    setTimeout(stock, 3000);
  }
}

by("fill").addEventListener("click", fill);
by("anew").addEventListener("click", () => {
  localStorage.removeItem(KEY);
  location.reload();
});

const user = await visitor();
render(by("visitor"), h("strong", {}, user.user_id), `, for whom ${user.policy} decides. `, term("sample-shop", "Why not a control?"));
follow(`/page/events?${new URLSearchParams({ user_id: user.user_id })}`, { you: show },
  (state) => (state === "live" ? status("live", "good") : status("The door does not answer; the shop comes back by itself.", "bad")));
await stock();
send({ kind: "decide" });
