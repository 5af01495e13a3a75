// The clip with what was found in it, drawn frame by frame on two canvases: the picture with its
// tint in the clip's pixels, and above it lines and names in the screen's.
const [width, height] = data.size;
const count = data.frames.length;
const shown = new Set(data.objects.map((one) => one.id));
const layers = { masks: true, outlines: true, boxes: false, names: true, tracks: false, prompts: false };
const state = { frame: 0, playing: false, tint: 0.45, began: 0, listeners: [] };
const objectOf = new Map(data.objects.map((one) => [one.id, one]));
const TAIL = 8; // frames of a track that are drawn behind its point
const HIDDEN = 65535; // where a track is not visible

const pictures = data.frames.map(() => null);
function picture(index) {
  if (!pictures[index]) {
    const image = new Image();
    image.src = "data:image/jpeg;base64," + data.frames[index];
    pictures[index] = { image, ready: image.decode().then(() => { pictures[index].done = true; }) };
  }
  return pictures[index];
}

const below = el("canvas", { width, height, className: "picture" });
const above = el("canvas", { className: "vectors" });
const brush = below.getContext("2d", { willReadFrequently: true });
const pen = above.getContext("2d");
const stage = el("div", { className: "stage", tabIndex: 0, role: "img", ariaLabel: "the clip with its moving objects" }, below, above);
stage.style.maxWidth = `calc(72vh * ${width / height})`;

const labels = new Uint8Array(width * height);
function readLabels(index) {
  const runs = data.masks[index];
  for (let k = 0, at = 0; k < runs.length; k += 2) {
    labels.fill(runs[k + 1], at, at + runs[k]);
    at += runs[k];
  }
  return runs.length > 2;
}

function channels(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}
const colours = new Map(data.objects.map((one) => [one.id, channels(one.colour)]));

function tint(pixels) {
  const [visible, red, green, blue] = [0, 1, 2, 3].map(() => new Uint8Array(256));
  for (const id of shown) [visible[id], red[id], green[id], blue[id]] = [1, ...colours.get(id)];
  const share = state.tint;
  for (let at = 0, k = 0; at < labels.length; at++, k += 4) {
    const label = labels[at];
    if (!visible[label]) continue;
    pixels[k] += (red[label] - pixels[k]) * share;
    pixels[k + 1] += (green[label] - pixels[k + 1]) * share;
    pixels[k + 2] += (blue[label] - pixels[k + 2]) * share;
  }
}

// The border of every shown object by marching squares: between pixels of which some are its own.
const SEGMENTS = [[], [3, 2], [2, 1], [3, 1], [0, 1], [0, 1, 3, 2], [0, 2], [0, 3],
  [0, 3], [0, 2], [0, 3, 2, 1], [0, 1], [3, 1], [2, 1], [3, 2], []];
const MIDDLES = [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]]; // of a square's top, right, bottom, left
function borders(scale) {
  const paths = new Map([...shown].map((id) => [id, new Path2D()]));
  for (let y = 0; y < height - 1; y++) {
    for (let x = 0, at = y * width; x < width - 1; x++, at++) {
      const a = labels[at], b = labels[at + 1], c = labels[at + width + 1], d = labels[at + width];
      if (a === b && b === c && c === d) continue;
      for (const label of new Set([a, b, c, d])) {
        const path = paths.get(label);
        if (!path) continue;
        const own = (a === label) * 8 + (b === label) * 4 + (c === label) * 2 + (d === label);
        const ends = SEGMENTS[own].map((side) => MIDDLES[side]);
        for (let k = 0; k < ends.length; k += 2) {
          path.moveTo((x + 0.5 + ends[k][0]) * scale, (y + 0.5 + ends[k][1]) * scale);
          path.lineTo((x + 0.5 + ends[k + 1][0]) * scale, (y + 0.5 + ends[k + 1][1]) * scale);
        }
      }
    }
  }
  return paths;
}

function drawOutlines(scale, unit) {
  pen.lineCap = "round";
  for (const [label, path] of borders(scale)) {
    // two tones, so that one of them shows on whatever lies below
    for (const [colour, wide] of [["#fff", 4.5], [objectOf.get(label).colour, 2.2]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = wide * unit;
      pen.stroke(path);
    }
  }
}

function draw() {
  const entry = picture(state.frame);
  if (!entry.done) {
    const wanted = state.frame;
    entry.ready.then(() => { if (wanted === state.frame) draw(); });
    return;
  }
  brush.drawImage(entry.image, 0, 0, width, height);
  if (readLabels(state.frame) && layers.masks) {
    const image = brush.getImageData(0, 0, width, height);
    tint(image.data);
    brush.putImageData(image, 0, 0);
  }
  drawVectors();
  document.documentElement.dataset.frame = state.frame;
}

function fit() {
  readLabels(state.frame);
  const ratio = window.devicePixelRatio || 1;
  above.width = Math.round(stage.clientWidth * ratio);
  above.height = Math.round(stage.clientHeight * ratio);
  drawVectors();
}

function drawVectors() {
  const scale = above.width / width;
  const unit = above.width / Math.max(1, stage.clientWidth); // a CSS pixel
  pen.clearRect(0, 0, above.width, above.height);
  if (layers.outlines) drawOutlines(scale, unit);
  if (layers.tracks) drawTracks(scale, unit);
  for (const one of data.objects) {
    const box = one.boxes[state.frame], name = one.names[state.frame];
    if (!shown.has(one.id)) continue;
    if (box && layers.boxes) drawBox(one, box, scale, unit);
    if (layers.prompts) drawPrompts(one, scale, unit);
    if (name && layers.names) drawName(one, name, scale, unit);
  }
}

function drawBox(one, [x, y, w, h], scale, unit) {
  for (const [colour, wide] of [["#000a", 4], [one.colour, 2]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = wide * unit;
    pen.strokeRect(x * scale, y * scale, w * scale, h * scale);
  }
}

// black or white, whichever contrasts more, as WCAG 2 measures it
function readableOn(colour) {
  const [red, green, blue] = colour.map((level) => (level > 10 ? ((level / 255 + 0.055) / 1.055) ** 2.4 : level / 3294.6));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

// above the point (x,y)
function drawName(one, [x, y], scale, unit) {
  const text = `${one.id}  ${one.score.toFixed(2)}`;
  pen.font = `600 ${12 * unit}px system-ui, sans-serif`;
  const wide = pen.measureText(text).width + 10 * unit, high = 18 * unit;
  const left = Math.min(Math.max(0, x * scale - wide / 2), above.width - wide);
  const top = Math.max(0, y * scale - high - 3 * unit);
  pen.fillStyle = one.colour;
  pen.beginPath();
  pen.roundRect(left, top, wide, high, 5 * unit);
  pen.fill();
  pen.fillStyle = readableOn(colours.get(one.id));
  pen.textBaseline = "middle";
  pen.fillText(text, left + 5 * unit, top + high / 2 + unit);
}

function drawPrompts(one, scale, unit) {
  for (const [x, y, inside] of one.clicks[data.chosen[state.frame]] || []) {
    const [cx, cy, r] = [x * scale, y * scale, 5 * unit];
    pen.beginPath();
    pen.arc(cx, cy, r, 0, 7);
    pen.fillStyle = inside ? one.colour : "#000";
    pen.fill();
    pen.lineWidth = 2 * unit;
    pen.strokeStyle = "#fff";
    pen.stroke();
    pen.beginPath();
    pen.moveTo(cx - r / 2, cy);
    pen.lineTo(cx + r / 2, cy);
    if (inside) { pen.moveTo(cx, cy - r / 2); pen.lineTo(cx, cy + r / 2); }
    pen.stroke();
  }
}

const tracks = decode(data.tracks.xy, Uint16Array);
function drawTracks(scale, unit) {
  const place = (track, frame) => {
    const at = 2 * (track * count + frame);
    if (tracks[at] === HIDDEN) return null;
    return [tracks[at] / 16 - 64, tracks[at + 1] / 16 - 64].map((value) => value * scale);
  };
  pen.lineWidth = 1.5 * unit;
  data.tracks.scores.forEach((score, track) => {
    const here = place(track, state.frame);
    if (!here) return;
    pen.strokeStyle = pen.fillStyle = scoreColour(score);
    pen.beginPath();
    pen.moveTo(...here);
    for (let frame = state.frame - 1; frame >= Math.max(0, state.frame - TAIL); frame--) {
      const before = place(track, frame);
      if (!before) break;
      pen.lineTo(...before);
    }
    pen.stroke();
    pen.beginPath();
    pen.arc(...here, 2.2 * unit, 0, 7);
    pen.fill();
  });
}
