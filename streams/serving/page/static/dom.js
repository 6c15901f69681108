// Elements, their patching in place, and the form of numbers.

const SVG = "http://www.w3.org/2000/svg";

export function h(name, attributes, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Makes the children of `live` what is given, changing only what differs, so that focus and selection stay.
export function render(live, ...next) {
  const children = next.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  patchChildren(live, children.map((child) => (child instanceof Node ? child : document.createTextNode(child))));
}

function patchChildren(live, next) {
  const keyed = new Map([...live.children].filter((child) => child.dataset.key).map((child) => [child.dataset.key, child]));
  let place = live.firstChild;
  for (const child of next) {
    const known = keyed.get(child.dataset?.key);
    if (known && known !== place) live.insertBefore(known, place);
    else if (place && !known && place.dataset?.key && child.dataset?.key) {
      live.insertBefore(child, place);
      continue;
    }
    const current = known || place;
    if (!current) live.append(child);
    else {
      const after = current.nextSibling;
      patch(current, child);
      place = after;
    }
  }
  while (place) {
    const after = place.nextSibling;
    place.remove();
    place = after;
  }
}

function patch(live, next) {
  if (live.nodeName !== next.nodeName || live.dataset?.key !== next.dataset?.key) return live.replaceWith(next);
  if (live.nodeType === Node.TEXT_NODE) {
    if (live.data !== next.data) live.data = next.data;
    return undefined;
  }
  for (const { name } of [...live.attributes]) if (!next.hasAttribute(name)) live.removeAttribute(name);
  for (const { name, value } of [...next.attributes]) {
    if (live.getAttribute(name) !== value) live.setAttribute(name, value);
  }
  patchChildren(live, [...next.childNodes]);
  return undefined;
}

export const part = (section, name) => document.querySelector(`#${section} [data-part="${name}"]`);

export const whole = (number) => (number === null || number === undefined ? "–" : Math.round(number).toLocaleString("en"));

export const decimal = (number, digits = 3) => (number === null || number === undefined ? "–" : number.toFixed(digits));

export function percent(share, digits = 1) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`;
}

export function signed(share) {
  if (share > 9.99) return "> +999 %";
  return `${share >= 0 ? "+" : "−"}${Math.abs(100 * share).toFixed(0)} %`;
}

export function rough(number) {
  const unit = 10 ** Math.max(Math.floor(Math.log10(number)) - 1, 0);
  return whole(Math.round(number / unit) * unit);
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// A term with a link to its definition.
export const term = (anchor, text) => h("a", { href: `/help#${anchor}` }, text);

export const clock = (ms) => new Date(ms).toISOString().slice(11, 19);
