// Beside the clip: its objects, when they are seen, scores, times, and how to run it again.
function objectList() {
  const rows = data.objects.map((one) => {
    const box = el("input", { type: "checkbox",
      onchange: () => { box.checked ? shown.add(one.id) : shown.delete(one.id); changed(); } });
    const row = el("li", {}, el("label", {}, box, chip(one.colour), el("b", {}, `object ${one.id}`),
      el("span", { className: "score", title: "mean motion score of its tracks" }, one.score.toFixed(2)),
      el("span", { className: "more" }, describe(one))));
    state.listeners.push(() => {
      box.checked = shown.has(one.id);
      row.classList.toggle("gone", !one.boxes[state.frame]);
    });
    return row;
  });
  const choose = (all) => () => { shown.clear(); if (all) data.objects.forEach((one) => shown.add(one.id)); changed(); };
  const both = el("div", { className: "all" }, el("button", { type: "button", onclick: choose(true) }, "All"),
    el("button", { type: "button", onclick: choose(false) }, "None"));
  const help = el("p", { className: "keys" }, el("kbd", {}, "space"), " play, ", el("kbd", {}, "←"), " ", el("kbd", {}, "→"),
    " frame, ", el("kbd", {}, "1"), "–", el("kbd", {}, "9"), " one object, ", el("kbd", {}, "a"), " all, ",
    el("kbd", {}, "m"), " masks, ", el("kbd", {}, "t"), " tracks");
  const nothing = el("p", { className: "soft" }, "Nothing moves in this clip.");
  const list = card("", ["Objects", small(data.objects.length ? "mean motion score" : "")],
    ...(data.objects.length ? [both, el("ul", { className: "objects" }, ...rows)] : [nothing]), help);
  return el("div", { className: "side" }, list);
}

function describe(one) {
  const parts = [`in ${one.seen} of ${data.allNumbers.length} frames`, `${Number((100 * one.area).toPrecision(2))} % of the picture`];
  if (one.tracks) parts.push(plural(one.tracks, "track"));
  parts.push(`confidence ${one.confidence.toFixed(2)}`);
  return parts.join(" · ");
}

function timeline() {
  if (!data.objects.length) return null;
  const rows = data.objects.map((one) => {
    const row = el("div", { className: "row" }, el("span", { className: "name" }, chip(one.colour), String(one.id)), lane(one));
    state.listeners.push(() => row.classList.toggle("off", !shown.has(one.id)));
    return row;
  });
  const head = el("div", { className: "playhead" });
  const last = count - 1;
  const axis = el("div", { className: "axis" },
    ...[0, 0.25, 0.5, 0.75, 1].map((share) => el("span", {}, seconds(data.times[Math.round(share * last)]))));
  const body = el("div", { className: "timeline" }, ...rows, axis, head);
  const lanes = () => rows[0].querySelector("svg").getBoundingClientRect();
  const place = () => {
    const area = lanes(), left = area.left - body.getBoundingClientRect().left;
    head.style.left = `${left + (state.frame + 0.5) / count * area.width}px`;
  };
  const follow = (event) => {
    const area = lanes();
    seek(Math.floor((event.clientX - area.left) / area.width * count));
  };
  body.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("svg")) return;
    body.setPointerCapture(event.pointerId);
    follow(event);
  });
  body.addEventListener("pointermove", (event) => { if (body.hasPointerCapture(event.pointerId)) follow(event); });
  state.listeners.push(place);
  new ResizeObserver(place).observe(body);
  const sample = (...shapes) => svg("svg", { viewBox: "0 0 22 14" }, ...shapes);
  const key = el("div", { className: "key" },
    el("span", {}, sample(svg("path", { d: "M0 14V8L8 4L15 9L22 6V14Z", fill: data.objects[0].colour })), "mask area, of its largest"),
    data.objects.some((one) => one.sureness.length)
      ? el("span", {}, sample(svg("path", { d: "M0 9L8 4L14 5L22 3", fill: "none", stroke: "currentColor" })), "how sure its tracks are, 0 to 1") : null,
    data.objects.some((one) => one.prompts.length)
      ? el("span", {}, sample(svg("path", { d: "M5 10V14M11 10V14M17 10V14", stroke: "currentColor", "stroke-width": 1.5 })), "prompted here") : null,
    data.cuts.length
      ? el("span", {}, sample(svg("path", { d: "M11 0V14", stroke: "currentColor", "stroke-width": 1.5, "stroke-dasharray": "3 2" })), "another scene begins") : null);
  return card("wide", ["Timeline", small("where each object is seen")], body, key);
}

function lane(one) {
  const HIGH = 28;
  const most = Math.max(...one.areas, 1e-9);
  const parts = [];
  one.areas.forEach((area, frame) => {
    if (area > 0) parts.push(`M${frame} ${HIGH}V${(HIGH - 3 - 22 * area / most).toFixed(2)}h1.02V${HIGH}z`);
  });
  const drawing = svg("svg", { viewBox: `0 0 ${count} ${HIGH}`, preserveAspectRatio: "none" },
    svg("path", { d: parts.join(""), fill: one.colour, "shape-rendering": "crispEdges" }));
  let line = "", on = false;
  one.sureness.forEach((value, frame) => {
    if (value === null) { on = false; return; }
    line += `${on ? "L" : "M"}${frame + 0.5} ${(HIGH - 2 - 24 * value).toFixed(2)}`;
    on = true;
  });
  drawing.append(svg("path", { d: line, class: "sure" }));
  for (const frame of one.prompts) {
    drawing.append(svg("line", { class: "prompt", x1: frame + 0.5, x2: frame + 0.5, y1: HIGH - 5, y2: HIGH }));
  }
  for (const frame of data.cuts) drawing.append(svg("line", { class: "cut", x1: frame, x2: frame, y1: 0, y2: HIGH }));
  return drawing;
}

function histogram() {
  const { counts, threshold, total } = data.histogram;
  const [WIDE, HIGH, LEFT] = [400, 170, 34];
  const most = Math.max(...counts, 1);
  const x = (score) => LEFT + score * (WIDE - LEFT - 6);
  const y = (value) => HIGH - Math.sqrt(value / most) * (HIGH - 24);
  const step = 1 / counts.length;
  const chart = svg("svg", { class: "chart", viewBox: `0 0 ${WIDE} ${HIGH + 36}`, role: "img",
    "aria-label": `Histogram of the motion scores of ${plural(total, "track")}` });
  for (const share of [1, 0.25]) {
    const value = Math.round(most * share), at = y(value);
    chart.append(svg("line", { class: "axisline", x1: LEFT, x2: WIDE - 6, y1: at, y2: at }),
      svg("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, String(value)));
  }
  counts.forEach((value, k) => {
    const bar = svg("rect", { x: x(k * step) + 0.5, y: y(value), width: x(step) - LEFT - 1, height: HIGH - y(value),
      fill: scoreColour((k + 0.5) * step) });
    bar.append(svg("title", {}, `${(k * step).toFixed(3)} to ${((k + 1) * step).toFixed(3)}: ${plural(value, "track")}`));
    chart.append(bar);
  });
  for (const score of [0, 0.25, 0.5, 0.75, 1]) {
    chart.append(svg("text", { x: x(score), y: HIGH + 16, "text-anchor": "middle" }, String(score)));
  }
  chart.append(svg("text", { x: (LEFT + WIDE) / 2, y: HIGH + 34, "text-anchor": "middle" }, "motion score"));
  if (threshold !== null) {
    chart.append(svg("line", { class: "threshold", x1: x(threshold), x2: x(threshold), y1: 14, y2: HIGH }),
      svg("text", { x: x(threshold) - 5, y: 12, "text-anchor": "end" }, `moving above ${threshold}`));
  }
  return card("", ["Scores of tracks", small(`${total} tracks, heights by square root`)], chart);
}

function stages() {
  const entries = Object.entries(data.stages), total = entries.reduce((sum, [, ms]) => sum + ms, 0);
  const most = Math.max(...entries.map(([, ms]) => ms), 1e-9);
  const rows = entries.map(([name, ms]) => {
    const fill = el("div", { className: "fill" });
    fill.style.width = `${100 * ms / most}%`;
    return el("tr", {}, el("td", {}, name), el("td", {}, fill), el("td", {}, seconds(ms / 1000)));
  });
  return card("", ["Time", small(`${seconds(total / 1000)} in all, without writing`)],
    el("table", { className: "stages" }, el("tbody", {}, ...rows)));
}

function maps() {
  const strip = (title, about, pictures) => pictures.length ? [el("h2", {}, title, small(about)),
    el("div", { className: "strip" }, ...pictures.map(([frame, jpeg]) =>
      el("button", { type: "button", title: "show this frame", onclick: () => seek(nearest(frame)) },
        el("img", { src: "data:image/jpeg;base64," + jpeg, alt: `${title}, frame ${data.allNumbers[frame]}` }), `frame ${data.allNumbers[frame]}`)))] : [];
  const both = [...strip("Motion map", "brighter moves more surely", data.motion), ...strip("Depth", "brighter is nearer", data.depth)];
  return both.length ? card("wide", null, ...both) : null;
}

function nearest(frame) {
  let best = 0;
  data.chosen.forEach((one, k) => { if (Math.abs(one - frame) < Math.abs(data.chosen[best] - frame)) best = k; });
  return best;
}

function again() {
  const code = el("pre", {}, data.command);
  const copy = el("button", { type: "button", className: "copy", onclick: async () => {
    copy.textContent = await copied(code) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { copy.textContent = "Copy"; }, 3000);
  } }, "Copy");
  const more = (title, pairs) => pairs.length ? el("details", {}, el("summary", {}, title), table(pairs)) : null;
  return card("", ["Run it again"], code, copy, more("Settings", data.settings), more("Engines", data.engines),
    more("Versions", data.versions));
}

async function copied(node) {
  getSelection().selectAllChildren(node);
  try {
    await navigator.clipboard.writeText(node.textContent);
    return true;
  } catch { // over plain http there is no clipboard
    return document.execCommand("copy");
  }
}

function start() {
  root.append(el("div", { className: "grid" }, player(), objectList(), ...[timeline()].filter(Boolean),
    ...[maps()].filter(Boolean), el("div", { className: "three" }, histogram(), stages(), again())));
  document.addEventListener("keydown", keys);
  new ResizeObserver(fit).observe(stage);
  changed();
  picture(0).ready.then(() => { document.documentElement.dataset.ready = "yes"; });
  let next = 1; // the rest is decoded while nothing else is to do
  const ahead = () => { if (next < Math.min(count, 120)) picture(next++).ready.then(() => setTimeout(ahead, 0)); };
  picture(0).ready.then(ahead);
}

start();
