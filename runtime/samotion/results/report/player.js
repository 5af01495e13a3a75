// The player: what is shown, which frame, and how mouse and keys change that.

// Which object lies under the pointer: it alone is shown, or all again.
above.addEventListener("click", (event) => {
  const box = above.getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / box.width * width);
  const y = Math.floor((event.clientY - box.top) / box.height * height);
  readLabels(state.frame);
  const label = labels[y * width + x];
  if (label) showOnly(label);
  else toggle();
});

function showOnly(id) {
  const alone = shown.size === 1 && shown.has(id);
  shown.clear();
  for (const one of data.objects) if (alone || one.id === id) shown.add(one.id);
  changed();
}

function changed() {
  for (const listener of state.listeners) listener();
  draw();
}

function seek(frame) {
  state.frame = Math.max(0, Math.min(count - 1, frame));
  if (state.playing) state.began = performance.now() - 1000 * data.times[state.frame];
  changed();
}

function toggle() {
  state.playing = !state.playing;
  if (state.playing && state.frame === count - 1) state.frame = 0;
  state.began = performance.now() - 1000 * data.times[state.frame];
  if (state.playing) requestAnimationFrame(tick);
  changed();
}

function tick(now) {
  if (!state.playing) return;
  const period = count > 1 ? data.times[count - 1] / (count - 1) : 1;
  let time = (now - state.began) / 1000;
  if (time >= data.times[count - 1] + period) {
    state.began = now;
    time = 0;
  }
  let frame = time <= 0 ? 0 : state.frame;
  while (frame + 1 < count && data.times[frame + 1] <= time) frame++;
  picture((frame + 1) % count);
  if (frame !== state.frame && picture(frame).done) {
    state.frame = frame;
    changed();
  }
  requestAnimationFrame(tick);
}

function pressed(name, text) {
  const button = el("button", { type: "button", onclick: () => { layers[name] = !layers[name]; changed(); } }, text);
  state.listeners.push(() => button.setAttribute("aria-pressed", layers[name]));
  return button;
}

function player() {
  const play = el("button", { type: "button", className: "play", onclick: toggle });
  const slider = el("input", { type: "range", min: 0, max: count - 1, ariaLabel: "frame",
    oninput: () => seek(Number(slider.value)) });
  const clock = el("span", { className: "clock" });
  const tinted = el("input", { type: "range", min: 0, max: 100, value: 45,
    oninput: () => { state.tint = tinted.value / 100; changed(); } });
  const ramp = el("i");
  ramp.style.background = `linear-gradient(90deg, ${[0, 0.5, 1].map(scoreColour).join(",")})`;
  const legend = el("span", { className: "legend" }, "still", ramp, "moving");
  state.listeners.push(() => {
    play.textContent = state.playing ? "❚❚" : "▶";
    play.ariaLabel = state.playing ? "pause" : "play";
    slider.value = state.frame;
    slider.ariaValueText = clock.textContent = `frame ${data.numbers[state.frame]} · ${seconds(data.times[state.frame])}`;
    legend.hidden = !layers.tracks;
  });
  const buttons = [pressed("masks", "Masks"), pressed("outlines", "Outlines"), pressed("boxes", "Boxes"),
    pressed("names", "Names"), data.tracks.scores.length ? pressed("tracks", "Tracks") : null,
    data.objects.some((one) => one.prompts.length) ? pressed("prompts", "Prompts") : null, legend];
  const step = data.chosen[1] - data.chosen[0];
  const held = el("p", { className: "soft held" }, `The page holds 1 of every ${step} frames; where objects are seen and how large they are is told of all.`);
  return el("section", { className: "card player" }, el("div", { className: "screen" }, stage),
    el("div", { className: "bar" }, play, slider, clock),
    el("div", { className: "layers" }, ...buttons, el("label", { className: "tint" }, "tint", tinted)),
    step > 1 ? held : null);
}

// Space presses a control that was reached by keyboard, and plays after a click on one.
let pointed = false;
document.addEventListener("pointerdown", () => { pointed = true; }, true);

function keys(event) {
  if (event.key === "Tab") pointed = false;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest(".tint") && /^(Arrow|Home|End)/.test(event.key)) return;
  const actions = {
    " ": toggle, ArrowLeft: () => seek(state.frame - 1), ArrowRight: () => seek(state.frame + 1),
    Home: () => seek(0), End: () => seek(count - 1),
    m: () => { layers.masks = !layers.masks; changed(); }, t: () => { layers.tracks = !layers.tracks; changed(); },
    a: () => { data.objects.forEach((one) => shown.add(one.id)); changed(); },
  };
  const digit = data.objects.find((one) => String(one.id) === event.key);
  const action = actions[event.key] || (digit && (() => showOnly(digit.id)));
  if (!action) return;
  if (event.key === " " && !pointed && event.target.matches("button, summary, input[type=checkbox]")) return;
  event.preventDefault();
  action();
}
