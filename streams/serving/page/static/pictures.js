// Drawn pictures of products: a shape by kind, a colour by product.

import { svg } from "/page/static/dom.js";

const SHAPES = {
  mug: "M16 20h26v24q0 8-8 8h-10q-8 0-8-8zM42 26h6q6 0 6 7t-6 7h-6M24 8q-3 3 0 6M32 8q-3 3 0 6",
  shoe: "M6 44v-18h8q4 8 12 8l14 6q14 2 16 10v2h-50zM26 34l4-4M32 37l4-4M6 46h50",
  lamp: "M22 10h20l8 22h-36zM32 32v20M20 54h24M32 6v4",
  chair: "M18 6h28v26h-28zM14 32h36v8h-36zM18 40v16M46 40v16M24 12v14M32 12v14M40 12v14",
  bag: "M12 22h40l4 34h-48zM22 28v-10q0-10 10-10t10 10v10",
  watch: "M20 20h24v24h-24zM24 20v-12h16v12M24 44v12h16v-12M32 26v6l5 4",
  plant: "M20 40h24l-4 16h-16zM32 40v-18M32 30q-16 0-16-16q16 0 16 16M32 24q14-2 14-16q-14 2-14 16",
  book: "M10 12q12-4 22 4q10-8 22-4v38q-12-4-22 4q-10-8-22-4zM32 16v38",
  bottle: "M26 6h12v12l6 8v30h-24v-30l6-8zM20 34h24v12h-24z",
  clock: "M32 8a24 24 0 1 0 .01 0M32 18v14l10 8",
  cap: "M10 38q0-24 24-24q18 0 20 24zM10 38h50q-4 6-14 4",
  guitar: "M40 8l14 14-18 16q4 16-10 18t-18-16q-2-12 14-14zM26 38a4 4 0 1 0 .01 0",
  ball: "M32 8a24 24 0 1 0 .01 0M32 18l12 9-5 14h-14l-5-14zM32 8v10M53 26l-9 1M46 52l-7-11M18 52l7-11M11 26l9 1",
  shirt: "M22 8l-16 10 6 12 8-4v30h24v-30l8 4 6-12-16-10q-10 8-20 0z",
  glasses: "M16 24a10 10 0 1 0 .01 0M48 24a10 10 0 1 0 .01 0M26 34q6-6 12 0M6 30l4-10M58 30l-4-10",
  kite: "M32 4l20 22-20 22-20-22zM32 4v44M12 26h40M32 48q-8 4 0 8t-4 6",
  teapot: "M18 26h26q6 8 0 26h-26q-6-18 0-26zM44 32q12-4 12 4q0 8-12 8M18 34l-12-8M26 26q5-8 10 0M31 20v-6",
  camera: "M8 20h12l4-8h16l4 8h12v32h-48zM32 26a10 10 0 1 0 .01 0",
  candle: "M24 26h16v28h-16zM32 26v-6M32 6q8 8 0 14q-8-6 0-14M18 56h28",
  umbrella: "M6 32q2-24 26-24t26 24q-6-6-13 0q-6-6-13 0q-7-6-13 0q-7-6-13 0M32 32v18q0 6-6 6t-6-6",
};
const KINDS = Object.keys(SHAPES);
const WORDS = { sneaker: "shoe", boot: "shoe", sandal: "shoe", slipper: "shoe", cup: "mug", stool: "chair", sofa: "chair", desk: "chair",
  backpack: "bag", tote: "bag", wallet: "bag", hat: "cap", vase: "bottle", flask: "bottle", notebook: "book", novel: "book", light: "lamp",
  jacket: "shirt", coat: "shirt", dress: "shirt", sweater: "shirt", sock: "shirt", kettle: "teapot", pot: "teapot", pan: "teapot", fern: "plant", flower: "plant" };

function hash(text) {
  let sum = 7;
  for (const character of text) sum = (sum * 31 + character.codePointAt(0)) >>> 0;
  return sum;
}

// A word of the title or category that names a shape decides; else the category always has the same one.
function shapeOf(product) {
  const words = `${product.title} ${product.category}`.toLowerCase().split(/[^a-z]+/).flatMap((word) => [word, word.replace(/e?s$/, ""), word.replace(/s$/, "")]);
  const found = words.map((word) => (SHAPES[word] ? word : WORDS[word])).find(Boolean);
  const number = /\d+$/.exec(product.category);
  return SHAPES[found || KINDS[(number ? Number(number[0]) : hash(product.category)) % KINDS.length]];
}

export function picture(product) {
  const group = svg("g", { class: `picture hue-${hash(product.item_id) % 8}` }, svg("path", { d: shapeOf(product) }));
  return svg("svg", { viewBox: "-6 -4 76 72", "aria-hidden": "true" }, group);
}
