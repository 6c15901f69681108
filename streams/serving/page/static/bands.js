// The five bands: each function renders what the door has pushed of one.

import { bar, forestRow, forestScale, reliability } from "/page/static/charts.js";
import { clock, decimal, duration, h, part, percent, render, rough, signed, term, whole } from "/page/static/dom.js";

export const REASONS = {
  related: "goes with what was viewed", trending: "popular in this category", cart: "in the cart or viewed again",
  bought: "bought together with it", popular: "popular or new in the shop", caller: "named by the shop",
};
const VERBS = { view: "looked at", search: "searched", add_to_cart: "put in the cart", remove_from_cart: "took out of the cart",
  purchase: "bought", click: "clicked", rating: "rated" };

const tile = (value, label, note) => h("div", { class: "tile" }, h("strong", {}, value), label, note && h("small", {}, note));

function table(headers, rows, empty) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const head = headers.map((header, place) => h("th", { scope: "col", class: place ? "number" : "" }, header));
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {},
    rows.map((row) => h("tr", {}, row.map((cell, place) => h("td", { class: place ? "number" : "" }, cell)))))));
}

// Band 1.

const SALES = ["carts", "purchases", "money"];

const verdict = (over) => {
  if (!over.lift) return "too early";
  if (over.verdict !== "not distinguishable") return `decided: ${over.verdict}`;
  return over.more_users === null ? "no difference in sight" : `about ${rough(over.more_users)} more users`;
};

export function worth(data, control) {
  const leader = data.policies.find((policy) => policy.policy === data.leader);
  const over = leader?.over.find((each) => each.control === control);
  render(part("worth", "headline"), headline(leader, over, data.is_simulated));
  const compared = data.policies.map((policy) => [policy, policy.over.find((each) => each.control === control)]);
  const lifts = compared.map(([, each]) => each?.lift).filter(Boolean);
  const scale = forestScale(lifts);
  render(part("worth", "forest"), h("div", { class: "forest", role: "table", "aria-label": `Lift over ${control}` },
    h("div", { class: "row head", role: "row" }, [["policy", ""], ["lift", `Lift over ${control}`], ["verdict", "Decided?"],
      ["clicks-of-shown", "Clicks of shown"]].map(([anchor, text], place) =>
      h("span", { role: "columnheader" }, place ? term(anchor, text) : "Policy"))),
    compared.map(([policy, each]) => forestLine(policy, each, scale))));
  render(part("worth", "tiles"),
    over?.extra_clicks && tile(gain(over.extra_clicks[0]), term("extra-clicks", `clicks more than ${control}`), `at any time ${whole(over.extra_clicks[1][0])} to ${whole(over.extra_clicks[1][1])}`),
    over?.extra_sales && SALES.map((name, place) => tile(gain(over.extra_sales[place]), term("extra-sales", `${name} more than ${control}`),
      `of ${whole(leader.sales[place])}; counted, not tested`)));
}

const gain = (number) => `${number >= 0 ? "+" : "−"}${whole(Math.abs(number))}`;

function headline(leader, over, isSimulated) {
  if (!leader) return "No decisions yet.";
  const whose = isSimulated ? "made-up shoppers" : "shoppers";
  if (!over?.lift) return `${leader.policy} decides for most ${whose}; it is too early to say whether it earns more.`;
  const [low, high] = over.lift.anytime95;
  const more = `${leader.policy} brings ${signed(over.lift.estimate)} clicks per item that it shows to ${whose}, compared with ${over.control}`;
  return [`${more} (between ${signed(low)} and ${signed(high)}): `, h("strong", {}, verdict(over)), "."];
}

function forestLine(policy, over, scale) {
  const rate = policy.ctr && `${percent(policy.ctr.estimate)} of ${whole(policy.impressions)}`;
  const label = over?.lift && `${policy.policy}: ${signed(over.lift.estimate)}, at any time ${signed(over.lift.anytime95[0])} to ${signed(over.lift.anytime95[1])}`;
  return h("div", { class: "row", role: "row" }, h("span", { role: "cell", class: "name" }, policy.policy),
    h("span", { role: "cell", class: "plot" }, over?.lift ? forestRow(over.lift, scale, label) : h("span", { class: "empty" }, over ? "too early" : "a control"),
      over?.lift && h("span", { class: "figure" }, `${signed(over.lift.estimate)} (${signed(over.lift.anytime95[0])} to ${signed(over.lift.anytime95[1])})`)),
    h("span", { role: "cell", class: over?.verdict === "better" ? "good" : over?.verdict === "worse" ? "bad" : "" }, over ? verdict(over) : ""),
    h("span", { role: "cell" }, rate || "–"));
}

export function traffic(data, charts) {
  const shares = Object.entries(data.shares).map(([policy, values]) => [policy, values, (value) => percent(value, 0)]);
  if (data.times_s.length < 2) return;
  charts.shares.show(data.times_s, shares);
  charts.rates.show(data.times_s, [["events/s", data.events_per_s, whole], ["p50, ms", data.p50_ms, whole, "ms"]]);
}

// Band 2.

export const did = (before) => `${VERBS[before.kind] || before.kind} ${before.what}`;

function slot(each) {
  return h("li", { class: `slot ${each.outcome}` }, h("span", { class: "title" }, each.title),
    h("span", { class: "tag", title: REASONS[each.reason] || each.reason }, each.reason),
    h("span", { class: "propensity" }, bar(each.propensity), decimal(each.propensity, 2)),
    each.outcome && h("strong", { class: "outcome" }, each.outcome));
}

export function decisionRow(decision) {
  return h("li", { class: "decision", "data-key": decision.decision_id },
    h("button", { type: "button", class: "open", "data-open": decision.decision_id },
      h("span", { class: "who" }, decision.user_id), " ", h("span", { class: "tag policy" }, decision.policy),
      h("time", {}, clock(decision.timestamp_ms)), h("span", { class: "more" }, "Why?")),
    h("p", { class: "before" }, decision.before.length ? decision.before.map(did).join(" → ") : "a shopper of whom nothing is known yet"),
    h("ol", { class: "slate" }, decision.slots.length ? decision.slots.map(slot) : h("li", { class: "empty" }, "nothing to recommend")));
}

export function doing(data) {
  const rate = `${whole(data.per_s)} decisions a second${data.per_s > 2 ? "; these are a sample" : ""}. `;
  render(part("doing", "headline"), rate, "Each: what the shopper did, what was shown, ", term("propensity", "how likely that was"), ", and what came of it.");
  render(part("doing", "decisions"), data.decisions.map(decisionRow));
}

export function detail(data) {
  const { decision } = data;
  const targets = Object.entries(data.probabilities);
  render(document.querySelector('#drawer [data-part="detail"]'),
    h("p", { class: "lead" }, decision.user_id, " got this slate from ", h("strong", {}, decision.policy), ` at ${clock(decision.timestamp_ms)}.`),
    data.why.length > 0 && h("ol", { class: "why" }, data.why.map((sentences) => h("li", {}, sentences.join(" ")))),
    h("h3", {}, "The shopper before"), h("p", {}, decision.before.map(did).join(" → ") || "nothing is known"),
    h("h3", {}, term("probabilities", "What is expected of the shopper")),
    table(["", "probability", "moved most by"], targets.map(([target, probability]) => [target, percent(probability),
      (data.reasons[target] || []).slice(0, 3).map(([group, pull]) => `${group.replaceAll("_", " ")} ${pull >= 0 ? "+" : "−"}${Math.abs(pull).toFixed(2)}`).join(", ")]), "No prediction yet."),
    h("h3", {}, term("propensity", "The shortlist")),
    table(["item", "source", "slot", "score", "propensity"], (data.shortlist.length ? data.shortlist : decision.slots.map((each, place) => ({ ...each, slot: place })))
      .map((each) => [each.title, each.reason, each.slot === null ? "" : each.slot + 1, decimal(each.score), decimal(each.propensity)]), "The shortlist was empty."),
    data.shortlist.length === 0 && h("p", { class: "empty" }, "This decision was not logged, so only its slate is known."),
    Object.keys(data.shadows).length > 0 && [h("h3", {}, term("shadows", "What the shadows would have shown")),
      table(["policy", "slate"], Object.entries(data.shadows).map(([policy, titles]) => [policy, titles.join(", ")]), "")],
    h("h3", {}, term("model-versions", "Model versions")),
    h("p", {}, Object.entries(data.model_versions).map(([model, version]) => `${model} ${whole(version)}`).join(", ") || "none: this policy has no model"));
}

// Band 3.

export function belief(data) {
  if (!data.targets.length) return;
  render(part("belief", "targets"), data.targets.map(targetCard));
}

function targetCard(target) {
  const { quality } = target;
  const prior = target.from_prior / Math.max(1, target.from_prior + target.examples);
  const fact = (anchor, label, value, note) => h("p", { class: "fact" }, term(anchor, label), h("strong", {}, value), note && h("small", {}, note));
  return h("article", { class: "card", "data-key": target.target }, h("h3", {}, target.target),
    target.reliability.length > 0 && h("a", { href: "/help#reliability", "aria-label": "What a reliability diagram is" }, reliability(target.reliability)),
    quality && [fact("auc", "AUC", decimal(quality.auc)),
      fact("log-loss", "log loss", decimal(quality.log_loss), `the rate alone: ${decimal(quality.base_log_loss)}`)],
    target.error && fact("rmse", "RMSE", decimal(target.error[0], 2), `the mean alone: ${decimal(target.error[1], 2)}`),
    fact("calibration", "calibration", decimal(target.calibration, 2), "1 is right"),
    fact("from-the-prior", "served from the prior", percent(prior)),
    fact("label-delay", "label delay", duration(target.label_delay_s), `it waits ${duration(target.horizon_s)}`),
    fact("drift", "drift", target.is_drifting ? "open alarm" : target.alarms ? `${target.alarms} healed` : "none", `${whole(target.switches)} changes of champion`),
    target.models.length > 1 && table([term("champion", "model"), "AUC", "log loss"], target.models.map((each) =>
      [each.model === target.champion ? h("strong", {}, `${each.model} ★`) : each.model, decimal(each.auc), decimal(each.log_loss)]), ""),
    h("p", { class: "empty" }, `${whole(target.examples)} served with final labels, ${whole(target.positives)} positive`));
}

// Band 4.

export function who(data) {
  const funnel = Object.entries(data.funnel).sort(([, a], [, b]) => b.views - a.views).slice(0, 10);
  const most = Math.max(1, ...funnel.map(([, each]) => each.views));
  render(part("who", "funnel"), table(["category", "views", "carts", "purchases", "bought of viewed"], funnel.map(([category, each]) => [
    [category, bar(each.views / most)], whole(each.views), whole(each.carts), whole(each.purchases), percent(each.purchases / Math.max(1, each.views))]), "No views with a category yet."));
  const people = (listed, empty) => table(["shopper", "buys", "spends", "idle", "cart"], listed.map((each) =>
    [each.user_id, percent(each.probability, 0), decimal(each.spend, 1), duration(each.idle_s), each.cart]), empty);
  render(part("who", "buyers"), people(data.buyers, "Nobody was there in the last half hour."));
  render(part("who", "leavers"), people(data.leavers, "Nobody with something in the cart is idle."));
  render(part("who", "trending"), table(["item", "views", "usual"], data.trending.map((each) => [each.title, whole(each.views), decimal(each.before, 1)]), "Nothing stands out."));
  render(part("who", "new"), table(["item", "shown", "clicked"], data.new.map((each) => [each.title, whole(each.impressions), percent(each.ctr)]), "No item is known yet."));
}

// Band 5.

export function health(data) {
  render(part("health", "headline"), data.problems.length ? `${data.problems.length} thing${data.problems.length > 1 ? "s" : ""} to look at, at the top of the page.` : "All folds run and keep up.");
  render(part("health", "graph"), source("clickstream", "events of the shop"), data.folds.map((fold) => node(fold)));
  const { books } = data;
  const sum = books.applied + books.duplicates + books.dead_letters + books.skipped;
  const balance = books.read === null ? "" : books.read === sum ? "They balance." : `${whole(Math.abs(books.read - sum))} are not accounted for.`;
  render(part("health", "books"), `${whole(books.published)} published = ${whole(books.read)} read + ${whole(books.waiting)} waiting. Read = `,
    h("span", { class: "sum" }, `${whole(books.applied)} applied + ${whole(books.duplicates)} duplicates + ${whole(books.dead_letters)} dead letters`),
    books.skipped ? ` + ${whole(books.skipped)} offsets without a record. ` : ". ", h("strong", {}, balance), " ",
    term("late-share", `${percent(data.late_share, 2)} came late.`));
  render(part("health", "letters"), Object.keys(data.dead_letters).length ? table(["reason", "records"], Object.entries(data.dead_letters)
    .map(([reason, count]) => [[reason, h("code", {}, `headrace dead-letters export --reason ${reason}`)], whole(count)]), "") : h("p", { class: "empty" }, "None."));
  render(part("health", "workers"), table(["worker", "last word", "recovered"], data.workers.map((worker) => [[worker.worker, h("small", {}, worker.folds.join(", "))],
    `${Math.round(worker.age_s)} s ago`, worker.recovery ? `${whole(worker.recovery.rows)} rows in ${duration(worker.recovery.seconds)}` : "–"]), "No worker reports."));
}

const source = (name, note) => h("div", { class: "node topic" }, h("strong", {}, name), h("small", {}, note));

function node(fold) {
  const fact = (anchor, label, value) => [h("dt", {}, term(anchor, label)), h("dd", {}, value)];
  const rate = fold.workers ? `${whole(fold.records_per_s)}/s` : "stopped";
  return h("div", { class: `node fold ${fold.workers ? "" : "dead"}`, "data-key": fold.fold },
    h("strong", {}, fold.fold), h("small", {}, `reads ${fold.source}, ${fold.workers} worker${fold.workers === 1 ? "" : "s"}`),
    h("dl", {}, fact("events-per-second", "rate", rate), fact("latency", "p50", fold.latency_ms ? duration(fold.latency_ms.p50 / 1000) : "–"),
      fact("latency", "p99", fold.latency_ms ? duration(fold.latency_ms.p99 / 1000) : "–"), fact("lag", "lag", whole(fold.lag)),
      fold.watermark_age_s !== null && fact("watermark", "watermark", `${duration(fold.watermark_age_s)} behind`)));
}
