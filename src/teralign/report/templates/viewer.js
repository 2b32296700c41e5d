// Draws two grey images in colours, as checkerboard, behind a wipe or blinking; no library, no network.
"use strict";

const PALETTES = {
  "magenta-green": { first: [255, 0, 255], second: [0, 255, 0], words: ["magenta", "green"] },
  "orange-blue": { first: [255, 140, 0], second: [0, 115, 255], words: ["orange", "blue"] },
};
const VERDICT_COLOURS = { good: "#009e73", doubtful: "#e69f00", bad: "#d55e00", unknown: "#999999" };
const BLINK_MS = 600; // slower than three flashes a second, which may harm
const ORDER = ["z", "y", "x"];
const ACROSS = { xy: "z", xz: "y", zy: "x" };
const SIDES = { xy: ["x", "y"], xz: ["x", "z"], zy: ["z", "y"] }; // along columns, along rows

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const pictures = new Map();
function picture(uri) {
  if (!pictures.has(uri)) {
    const image = new Image();
    image.src = uri;
    pictures.set(uri, image.decode().then(() => image));
  }
  return pictures.get(uri);
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

function inMicrometres(value) {
  const size = Math.abs(value);
  return `${value.toFixed(size >= 100 ? 0 : size >= 1 ? 1 : 2)} µm`;
}

function nearest(values, wanted) {
  let best = 0;
  values.forEach((value, index) => {
    if (Math.abs(value - wanted) < Math.abs(values[best] - wanted)) best = index;
  });
  return best;
}

let numbered = 0;
function labelled(text, control, note = "") {
  control.id = control.id || `control-${++numbered}`;
  return element("div", { class: "control" }, element("label", { for: control.id }, text), control, note);
}

function choice(name, options, chosen, onchange) {
  const select = element("select", { name });
  for (const [value, text] of options) select.append(element("option", { value, selected: value === chosen }, text));
  select.addEventListener("change", () => onchange(select.value));
  return select;
}

function slider(name, low, high, step, value, oninput) {
  const input = element("input", { type: "range", name, min: low, max: high, step, value });
  input.addEventListener("input", () => oninput(Number(input.value)));
  return input;
}

// One plane: its canvas, the slider below it, and the sprites it cuts slices from.
class PlaneView {
  constructor(viewer, plane) {
    this.viewer = viewer;
    this.plane = plane;
    this.index = plane.at.length >> 1;
    this.scale = Math.max(1, Math.round(viewer.finest / Math.max(plane.width, plane.height))); // sharp lines on small tiles
    this.canvas = element("canvas", {
      width: plane.width * this.scale, height: plane.height * this.scale, tabindex: "0", role: "img", "data-plane": plane.name,
    });
    this.context = this.canvas.getContext("2d");
    this.scratch = new OffscreenCanvas(plane.width, plane.height).getContext("2d", { willReadFrequently: true });
    this.where = element("output", { class: "where" });
    const axis = ACROSS[plane.name];
    this.slider = slider(`slice-${plane.name}`, 0, plane.at.length - 1, 1, this.index, (value) => this.goTo(value));
    this.slider.setAttribute("aria-label", `slice of the ${plane.name} plane, along ${axis}`);
    this.figure = element("div", { class: `plane plane-${plane.name}` },
      element("div", { class: "frame" }, this.canvas),
      element("div", { class: "slice" }, element("span", {}, plane.name), this.slider, this.where));
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.pointed(event);
    });
    this.canvas.addEventListener("pointermove", (event) => event.buttons && this.pointed(event));
    this.canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== this.canvas) return; // the page scrolls until a plane is chosen
      event.preventDefault();
      this.goTo(this.index + Math.sign(event.deltaY));
    }, { passive: false });
    this.canvas.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      this.goTo(this.index + steps[event.key]);
    });
  }

  get position() {
    return this.plane.at[this.index];
  }

  goTo(index) {
    this.index = clamp(Math.round(index), 0, this.plane.at.length - 1);
    this.slider.value = this.index;
    this.viewer.draw();
  }

  pointed(event) {
    const box = this.canvas.getBoundingClientRect();
    const across = clamp((event.clientX - box.left) / box.width, 0, 1);
    const down = clamp((event.clientY - box.top) / box.height, 0, 1);
    this.viewer.pointed(this, across, down);
  }

  slice(image) {
    const { width, height, columns } = this.plane;
    this.scratch.drawImage(image, (this.index % columns) * width, Math.floor(this.index / columns) * height,
      width, height, 0, 0, width, height);
    return this.scratch.getImageData(0, 0, width, height).data;
  }

  draw(first, second, look) {
    const { width, height } = this.plane;
    const a = this.slice(first).slice();
    const b = this.slice(second);
    const made = this.scratch.createImageData(width, height);
    compose(made.data, a, b, width, look);
    this.scratch.putImageData(made, 0, 0);
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(this.scratch.canvas, 0, 0, this.canvas.width, this.canvas.height);
    this.where.textContent = `${ACROSS[this.plane.name]} ${inMicrometres(this.position)}`;
    const text = `${look.description}, ${this.plane.name} plane at ${this.where.textContent}`;
    this.canvas.setAttribute("aria-label", text);
    this.slider.setAttribute("aria-valuetext", this.where.textContent);
  }

  line(x1, y1, x2, y2, colour, dash = []) {
    this.context.save();
    this.context.strokeStyle = colour;
    this.context.lineWidth = 1;
    this.context.setLineDash(dash);
    this.context.beginPath();
    this.context.moveTo(x1, y1);
    this.context.lineTo(x2, y2);
    this.context.stroke();
    this.context.restore();
  }

  // The place of a position in µm on this canvas, or the other way round.
  toPixel(axis, um) {
    return (um - this.viewer.data.corner[ORDER.indexOf(axis)]) / this.viewer.data.pixel * this.scale;
  }

  toUm(axis, pixel) {
    return this.viewer.data.corner[ORDER.indexOf(axis)] + pixel / this.scale * this.viewer.data.pixel;
  }
}

function compose(out, a, b, width, look) {
  const { mode, first, second, gains, wipe, checks, shown } = look;
  const edge = wipe * width;
  for (let i = 0, pixel = 0; i < out.length; i += 4, pixel++) {
    const f = Math.min(255, a[i] * gains[0]);
    const m = Math.min(255, b[i] * gains[1]);
    let red, green, blue;
    if (mode === "overlay") {
      red = (f * first[0] + m * second[0]) / 255;
      green = (f * first[1] + m * second[1]) / 255;
      blue = (f * first[2] + m * second[2]) / 255;
    } else if (mode === "difference") {
      red = green = blue = Math.abs(f - m);
    } else {
      const x = pixel % width;
      const y = (pixel - x) / width;
      const fixed = mode === "checkerboard" ? ((Math.floor(x / checks) + Math.floor(y / checks)) & 1) === 0
        : mode === "wipe" ? x < edge
          : shown === "fixed";
      red = green = blue = fixed ? f : m;
    }
    out[i] = red;
    out[i + 1] = green;
    out[i + 2] = blue;
    out[i + 3] = 255;
  }
}

// Three planes of two images with their controls. `sets` are the places to choose from (one for the whole volume).
class Viewer {
  constructor(root, sets, options = {}) {
    this.root = root;
    this.sets = sets;
    this.options = options;
    this.gains = [1, 1];
    this.wipe = 0.5;
    this.finest = options.row ? 320 : 640; // pixels along the longest side of a canvas, at least about
    this.checks = 16;
    this.mode = "overlay";
    this.palette = "magenta-green";
    this.shown = "fixed";
    this.lines = true;
    this.blocks = false;
    this.state = null;
    this.toolbar = element("div", { class: "toolbar" });
    this.stage = element("div", { class: options.row ? "planes row" : "planes" });
    this.legend = element("p", { class: "legend", "aria-live": "polite" });
    root.append(this.toolbar, this.stage, this.legend);
    this.controls();
    this.choose(0);
  }

  controls() {
    const redraw = (name) => (value) => { this[name] = value; this.draw(); };
    if (this.sets.length > 1) {
      const names = this.sets.map((set, index) => [String(index), set.title]);
      this.toolbar.append(labelled("Place", choice("place", names, "0", (value) => this.choose(Number(value)))));
    }
    this.stateSelect = choice("state", [], null, redraw("state"));
    const modes = [["overlay", "Overlay"], ["checkerboard", "Checkerboard"], ["wipe", "Wipe"],
      ["difference", "Difference"], ["single", "One image"]];
    this.modeSelect = choice("mode", modes, this.mode, (value) => { this.mode = value; this.stop(); this.update(); });
    const palettes = Object.entries(PALETTES).map(([key, value]) => [key, value.words.join(" and ")]);
    this.colours = labelled("Colours", choice("palette", palettes, this.palette, redraw("palette")));
    this.wipeControl = labelled("Wipe", slider("wipe", 0, 1, 0.005, this.wipe, redraw("wipe")));
    this.checksControl = labelled("Squares", slider("checks", 4, 64, 2, this.checks, redraw("checks")));
    this.swap = element("button", { type: "button", name: "swap", onclick: () => this.flip() }, "Show the other");
    this.blink = element("button", { type: "button", name: "blink", "aria-pressed": "false", onclick: () => this.toggle() },
      "Blink");
    this.toolbar.append(labelled("Moving volume", this.stateSelect), labelled("View", this.modeSelect), this.colours,
      this.wipeControl, this.checksControl, this.swap, this.blink,
      labelled("Fixed brightness", slider("fixed-gain", 0, 4, 0.05, 1, (value) => { this.gains[0] = value; this.draw(); })),
      labelled("Moving brightness", slider("moving-gain", 0, 4, 0.05, 1, (value) => { this.gains[1] = value; this.draw(); })));
    this.toolbar.append(this.checkbox("lines", "Position lines", this.lines));
    if (this.options.blocks) this.toolbar.append(this.checkbox("blocks", "Blocks and their verdicts", this.blocks));
    this.update();
  }

  checkbox(name, text, checked) {
    const input = element("input", { type: "checkbox", name, checked });
    input.addEventListener("change", () => { this[name] = input.checked; this.draw(); });
    return element("label", { class: "control check" }, input, text);
  }

  choose(number) {
    this.data = this.sets[number];
    this.views = this.data.planes.map((plane) => new PlaneView(this, plane));
    const [xy, xz, zy] = ["xy", "xz", "zy"].map((name) => this.views.find((view) => view.plane.name === name));
    if (this.options.row) {
      this.stage.replaceChildren(xy.figure, xz.figure, zy.figure);
      this.stage.style.gridTemplateColumns = [xy, xz, zy].map((view) => `minmax(0, ${view.plane.width}fr)`).join(" ");
    } else {
      this.fold(xy, xz, zy);
    }
    this.chooseState();
    this.draw();
  }

  // Unfolds the planes like a box: the same rows for xy and zy, the same columns for xy and xz.
  fold(xy, xz, zy) {
    this.stage.replaceChildren(xy.figure, zy.figure, xz.figure);
    const wide = Math.max(zy.plane.width, 0.18 * xy.plane.width); // a thin stack stays visible
    this.stage.style.gridTemplateColumns = `minmax(0, ${xy.plane.width}fr) minmax(0, ${wide}fr)`;
  }

  chooseState() {
    const states = this.data.states.map((state) => [state.name, state.title]);
    const wanted = states.some(([name]) => name === this.state) ? this.state : states[states.length - 1][0];
    this.state = wanted;
    this.stateSelect.replaceChildren(...states.map(([value, text]) =>
      element("option", { value, selected: value === wanted }, text)));
  }

  update() {
    this.colours.hidden = this.mode !== "overlay";
    this.wipeControl.hidden = this.mode !== "wipe";
    this.checksControl.hidden = this.mode !== "checkerboard";
    this.swap.hidden = this.mode !== "single";
    if (this.data) this.draw();
  }

  flip() {
    this.shown = this.shown === "fixed" ? "moving" : "fixed";
    this.draw();
  }

  toggle() {
    if (this.timer) {
      this.stop();
      return;
    }
    this.mode = this.modeSelect.value = "single";
    this.update();
    this.timer = setInterval(() => this.flip(), BLINK_MS);
    this.blink.setAttribute("aria-pressed", "true");
    this.blink.textContent = "Stop blinking";
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.blink.setAttribute("aria-pressed", "false");
    this.blink.textContent = "Blink";
  }

  pointed(view, across, down) {
    if (this.mode === "wipe") {
      this.wipe = across;
      this.wipeControl.querySelector("input").value = across;
      this.draw();
      return;
    }
    const [horizontal, vertical] = SIDES[view.plane.name];
    const at = { [horizontal]: view.toUm(horizontal, across * view.canvas.width),
      [vertical]: view.toUm(vertical, down * view.canvas.height) };
    for (const other of this.views) {
      const axis = ACROSS[other.plane.name];
      if (axis in at) other.goTo(nearest(other.plane.at, at[axis]));
    }
  }

  description(title) {
    const [one, two] = PALETTES[this.palette].words;
    return {
      overlay: `fixed in ${one}, moving (${title}) in ${two}, white where they agree`,
      checkerboard: `squares of the fixed and of the moving volume (${title}) in turn; edges run on where they agree`,
      wipe: `fixed to the left of the line, moving (${title}) to its right; drag the line`,
      difference: `difference of brightness of fixed and moving (${title}); black where they agree`,
      single: this.shown === "fixed" ? "the fixed volume" : `the moving volume (${title})`,
    }[this.mode];
  }

  draw() {
    if (this.waiting) {
      this.again = true;
      return;
    }
    this.waiting = true;
    requestAnimationFrame(() => this.paint().catch((error) => console.error(error)).finally(() => {
      this.waiting = false;
      if (this.again) {
        this.again = false;
        this.draw();
      }
    }));
  }

  async paint() {
    const data = this.data;
    const state = data.states.find((one) => one.name === this.state);
    const description = this.description(state.title.toLowerCase());
    for (const view of this.views) {
      const name = view.plane.name;
      const [first, second] = await Promise.all([picture(data.fixed[name]), picture(state.sprites[name])]);
      view.draw(first, second, {
        mode: this.mode, ...PALETTES[this.palette], gains: this.gains, wipe: this.wipe, checks: this.checks,
        shown: this.shown, description,
      });
      this.decorate(view);
    }
    this.legend.textContent = description[0].toUpperCase() + description.slice(1) + ".";
    this.root.dataset.painted = Number(this.root.dataset.painted || 0) + 1; // for whoever waits for the picture
  }

  decorate(view) {
    const { width, height } = view.canvas;
    const { name } = view.plane;
    if (this.mode === "wipe") view.line(this.wipe * width, 0, this.wipe * width, height, "#fff");
    if (this.blocks) this.drawBlocks(view);
    if (this.lines && this.views.some((other) => other.plane.at.length > 1)) {
      for (const other of this.views) {
        const axis = ACROSS[other.plane.name];
        const at = view.toPixel(axis, other.position);
        if (axis === SIDES[name][0]) view.line(at, 0, at, height, "rgba(255,255,255,.55)", [3, 5]);
        if (axis === SIDES[name][1]) view.line(0, at, width, at, "rgba(255,255,255,.55)", [3, 5]);
      }
    }
    if (name === "xy") this.drawScale(view);
  }

  drawScale(view) {
    const { width, height } = view.canvas;
    const pixel = this.data.pixel / view.scale;
    const third = (width * pixel) / 3;
    const power = 10 ** Math.floor(Math.log10(third));
    const length = [5, 2, 1].map((step) => step * power).find((um) => um <= third * (1 + 1e-9));
    const pixels = length / pixel;
    const unit = width / 480;
    const context = view.context;
    context.fillStyle = "rgba(0,0,0,.6)";
    context.fillRect(6 * unit, height - 34 * unit, pixels + 12 * unit, 28 * unit);
    context.fillStyle = "#fff";
    context.fillRect(12 * unit, height - 14 * unit, pixels, 3 * unit);
    context.font = `${13 * unit}px system-ui, sans-serif`;
    context.fillText(`${length} µm`, 12 * unit, height - 19 * unit);
  }

  drawBlocks(view) {
    const axis = ORDER.indexOf(ACROSS[view.plane.name]);
    const [horizontal, vertical] = SIDES[view.plane.name];
    const [h, v] = [ORDER.indexOf(horizontal), ORDER.indexOf(vertical)];
    const pixel = this.data.pixel / view.scale;
    for (const block of this.options.blocks) {
      if (view.position < block.start[axis] || view.position >= block.start[axis] + block.size[axis]) continue;
      const left = view.toPixel(horizontal, block.start[h]);
      const top = view.toPixel(vertical, block.start[v]);
      view.context.strokeStyle = VERDICT_COLOURS[block.verdict];
      view.context.lineWidth = block.verdict === "good" ? 1 : 2.5;
      view.context.setLineDash(block.verdict === "doubtful" ? [4, 3] : []);
      view.context.strokeRect(left + 1.5, top + 1.5, block.size[h] / pixel - 3, block.size[v] / pixel - 3);
    }
    view.context.setLineDash([]);
  }
}
