// What the page is made of: elements from plain data. Text goes in as text, never as markup.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.querySelector("main");

function el(tag, options, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const card = (classes, title, ...children) =>
  el("section", { className: "card " + classes }, title ? el("h2", {}, ...title) : null, ...children);
const small = (text) => el("small", {}, text);
const chip = (colour) => {
  const node = el("span", { className: "chip" });
  node.style.background = colour;
  return node;
};

function decode(text, Type) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Type(bytes.buffer);
}

// still is blue, moving is orange; between them grey
function scoreColour(score) {
  const [still, middle, moving] = [[74, 134, 232], [170, 174, 182], [255, 122, 26]];
  const [from, to, share] = score < 0.5 ? [still, middle, score * 2] : [middle, moving, score * 2 - 1];
  return `rgb(${from.map((level, k) => Math.round(level + (to[k] - level) * share)).join(",")})`;
}

function table(pairs) {
  const rows = pairs.map(([name, value]) => el("tr", {}, el("td", {}, name), el("td", {}, value)));
  return el("table", { className: "plain" }, el("tbody", {}, ...rows));
}

const seconds = (value) => value.toFixed(2) + " s";
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
