// The page: one stream, five bands, filters and the drawer.

import * as bands from "/page/static/bands.js";
import { SeriesChart } from "/page/static/charts.js";
import { h, part, render } from "/page/static/dom.js";
import { ask, follow } from "/page/static/stream.js";

const by = (id) => document.getElementById(id);
const charts = { shares: new SeriesChart(by("shares")), rates: new SeriesChart(by("rates")) };
const last = {};
const visible = new Set();
let control = "random";
let isPaused = false;
let isStreaming = false;
const PAGE = 10;
let n = PAGE;

const renderers = {
  worth: (data) => {
    controls(data);
    bands.worth(data, control);
  },
  doing: (data) => !isPaused && !isFiltered() && bands.doing(data),
  belief: bands.belief,
  who: bands.who,
  health: bands.health,
  series: (data) => bands.traffic(data, charts),
};
const SECTION = { series: ["worth", "health"] };

// What is not in view is not drawn; it is when it comes into view.
function show(band) {
  if (last[band] && (SECTION[band] || [band]).some((section) => visible.has(section))) renderers[band](last[band]);
}

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    visible[isIntersecting ? "add" : "delete"](target.id);
    if (isIntersecting) [target.id, "series"].forEach(show);
  }
}, { rootMargin: "200px" });
document.querySelectorAll(".band").forEach((section) => observer.observe(section));

follow("/page/events", Object.fromEntries(Object.keys(renderers).map((band) => [band, (data) => {
  last[band] = data;
  if (band === "health") status(data);
  if (band === "doing") policies();
  show(band);
}])), (state) => {
  isStreaming = state === "live";
  status(last.health);
});

function status(health) {
  const [text, kind] = !isStreaming ? ["The door does not answer; this page comes back by itself.", "bad"]
    : !health ? ["waiting for the first figures", ""]
    : !health.is_alive ? ["The worker is dead: events wait until one runs.", "bad"]
    : health.events_age_s > 10 ? ["No events come; all else is ready.", "warn"] : ["live", "good"];
  by("status").className = `status ${kind}`;
  render(by("status"), text);
  const problems = isStreaming && health ? health.problems : [];
  render(by("problems"), problems.map((problem) => h("li", {}, problem)));
}

function controls(data) {
  const names = [...new Set(data.policies.flatMap((policy) => policy.over.map((over) => over.control)))];
  if (!names.includes(control) && names.length) [control] = names;
  const legend = h("legend", {}, "Compared with");
  render(by("control"), legend, names.map((name) => h("label", {}, h("input", { type: "radio", name: "control", value: name }), ` ${name}`)));
  by("control").querySelectorAll("input").forEach((input) => { input.checked = input.value === control; });
}

by("control").addEventListener("change", (event) => {
  control = event.target.value;
  show("worth");
});

// Filters and paging: the door finds, since only a sample is pushed.

const filters = by("filters");
const isFiltered = () => n > PAGE || [...new FormData(filters).values()].some(Boolean);
let timer = null;

function policies() {
  const select = filters.elements.policy;
  for (const { policy } of last.worth?.policies || []) {
    if (![...select.options].some((option) => option.value === policy)) select.append(h("option", {}, policy));
  }
}

async function find() {
  clearTimeout(timer);
  by("older").hidden = !isFiltered();
  if (isFiltered() && !isPaused) {
    const asked = new URLSearchParams({ ...Object.fromEntries(new FormData(filters)), n });
    try {
      const found = await ask(`/page/decisions?${asked}`);
      if (!isPaused) render(part("doing", "decisions"), found.length ? found.map(bands.decisionRow) : h("li", { class: "empty" }, "No such decision is kept."));
    } catch {
      // The stream says that the door is gone, and when it is back.
    }
    timer = setTimeout(find, 2000);
  } else show("doing");
}

filters.addEventListener("input", () => {
  n = PAGE;
  find();
});
filters.addEventListener("submit", (event) => event.preventDefault());
by("older").addEventListener("click", () => {
  n = Math.min(n + PAGE, 100);
  find();
});
by("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  by("pause").setAttribute("aria-pressed", isPaused);
  by("pause").textContent = isPaused ? "Go on" : "Pause";
  find();
});

// The drawer.

part("doing", "decisions").addEventListener("click", async (event) => {
  const button = event.target.closest("[data-open]");
  if (!button) return;
  const place = document.querySelector('#drawer [data-part="detail"]');
  try {
    bands.detail(await ask(`/page/decision?${new URLSearchParams({ id: button.dataset.open })}`));
  } catch (error) {
    render(place, h("p", { class: "empty" }, `Nothing more is known: ${error.message}`));
  }
  if (!by("drawer").open) by("drawer").showModal();
});
by("drawer").addEventListener("click", (event) => event.target === by("drawer") && by("drawer").close());
