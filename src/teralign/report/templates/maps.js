// Draws the layers of maps over a slice of the fixed volume, with a colour bar and the value under the pointer.
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const DIVERGING = ["#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b"];
const CATEGORY_COLOURS = {
  ...VERDICT_COLOURS, ok: "#009e73", kept: "#56b4e9", empty: "#8a939b", masked: "#b9c0c6", outside: "#5f686f",
  outlier: "#e69f00", failed: "#d55e00",
};

function rgb(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

function colourAt(anchors, share) {
  const at = clamp(share, 0, 1) * (anchors.length - 1);
  const below = Math.min(anchors.length - 2, Math.floor(at));
  const [from, to] = [rgb(anchors[below]), rgb(anchors[below + 1])];
  return from.map((value, channel) => Math.round(value + (to[channel] - value) * (at - below)));
}

class MapViewer {
  constructor(root, maps, whole) {
    this.root = root;
    this.maps = maps;
    this.whole = whole;
    this.plane = whole.planes.find((plane) => plane.name === "xy");
    this.opacity = 0.65;
    this.canvas = element("canvas", { width: this.plane.width, height: this.plane.height, tabindex: "0", role: "img" });
    this.context = this.canvas.getContext("2d");
    this.key = element("div", { class: "colour-key" });
    this.note = element("p", { class: "legend" });
    this.readout = element("output", { class: "readout" });
    const groups = maps.map((map, index) => [String(index), map.title]);
    this.layerSlider = slider("layer", 0, 0, 1, 0, (value) => { this.layer = value; this.draw(); });
    const toolbar = element("div", { class: "toolbar" },
      labelled("Map", choice("map", groups, "0", (value) => this.choose(Number(value)))),
      labelled("Layer", this.layerSlider),
      labelled("Strength", slider("opacity", 0, 1, 0.05, this.opacity, (value) => { this.opacity = value; this.draw(); })));
    const stage = element("div", { class: "map" }, element("div", { class: "frame" }, this.canvas), this.key);
    root.append(toolbar, stage, this.readout, this.note);
    this.canvas.addEventListener("pointermove", (event) => this.read(event));
    this.canvas.addEventListener("pointerleave", () => this.describe());
    this.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.layer = clamp(this.layer + step, 0, this.layers - 1);
      this.layerSlider.value = this.layer;
      this.draw();
    });
    this.choose(0);
  }

  get layers() {
    return this.map.edges[0].length - 1;
  }

  async choose(index) {
    const map = this.maps[index];
    const image = await picture(map.sprite);
    const scratch = new OffscreenCanvas(image.width, image.height).getContext("2d", { willReadFrequently: true });
    scratch.drawImage(image, 0, 0);
    const pixels = scratch.getImageData(0, 0, image.width, image.height).data;
    const height = this.middle === undefined ? null : this.middle;
    this.map = map;
    this.levels = { pixels, width: image.width };
    const middles = map.edges[0].slice(0, -1).map((low, i) => (low + map.edges[0][i + 1]) / 2);
    this.layer = height === null ? middles.length >> 1 : nearest(middles, height);
    this.layerSlider.max = middles.length - 1;
    this.layerSlider.value = this.layer;
    this.drawKey();
    this.note.textContent = map.note;
    this.draw();
  }

  level(z, y, x) {
    const [rows, columns] = [this.map.edges[1].length - 1, this.map.edges[2].length - 1];
    const left = (z % this.map.columns) * columns + x;
    const top = Math.floor(z / this.map.columns) * rows + y;
    return this.levels.pixels[(top * this.levels.width + left) * 4];
  }

  value(level) {
    return this.map.low + ((level - 1) / 254) * (this.map.high - this.map.low);
  }

  colour(level) {
    const { categories, diverging } = this.map;
    if (categories.length) return rgb(CATEGORY_COLOURS[categories[level - 1]]);
    return colourAt(diverging ? DIVERGING : VIRIDIS, (level - 1) / 254);
  }

  text(level) {
    if (level === 0) return "unknown";
    const { categories, unit, low, high } = this.map;
    if (categories.length) return categories[level - 1];
    const value = this.value(level);
    const beyond = level === 255 ? "≥ " : level === 1 && low !== 0 ? "≤ " : "";
    return `${beyond}${value.toFixed(high - low > 20 ? 1 : 2)}${unit ? ` ${unit}` : ""}`;
  }

  toPixel(axis, um) {
    return (um - this.whole.corner[axis]) / this.whole.pixel;
  }

  async draw() {
    const { map, context, canvas, plane } = this;
    const [low, high] = [map.edges[0][this.layer], map.edges[0][this.layer + 1]];
    this.middle = (low + high) / 2;
    const index = nearest(plane.at, this.middle);
    const image = await picture(this.whole.fixed.xy);
    context.globalAlpha = 1;
    context.drawImage(image, (index % plane.columns) * plane.width, Math.floor(index / plane.columns) * plane.height,
      plane.width, plane.height, 0, 0, plane.width, plane.height);
    context.globalAlpha = this.opacity;
    const [rows, columns] = [map.edges[1], map.edges[2]];
    for (let y = 0; y + 1 < rows.length; y++) {
      for (let x = 0; x + 1 < columns.length; x++) {
        const level = this.level(this.layer, y, x);
        if (level === 0) continue;
        const [left, top] = [this.toPixel(2, columns[x]), this.toPixel(1, rows[y])];
        const [right, bottom] = [this.toPixel(2, columns[x + 1]), this.toPixel(1, rows[y + 1])];
        const gap = right - left > 12 ? 1 : 0;
        context.fillStyle = `rgb(${this.colour(level).join(",")})`;
        context.fillRect(Math.round(left), Math.round(top), Math.round(right) - Math.round(left) - gap,
          Math.round(bottom) - Math.round(top) - gap);
      }
    }
    context.globalAlpha = 1;
    canvas.setAttribute("aria-label", `${map.title}${map.unit ? ` in ${map.unit}` : ""} over the xy plane at z ${inMicrometres(this.middle)}`);
    this.describe();
    this.root.dataset.painted = Number(this.root.dataset.painted || 0) + 1;
  }

  describe() {
    const edges = this.map.edges[0];
    this.readout.textContent = `Layer ${this.layer + 1} of ${this.layers}, z ${inMicrometres(edges[this.layer])} to ` +
      `${inMicrometres(edges[this.layer + 1])}. Point at a box to read its value.`;
  }

  read(event) {
    const box = this.canvas.getBoundingClientRect();
    const at = [0, (event.clientY - box.top) / box.height * this.plane.height, (event.clientX - box.left) / box.width * this.plane.width];
    const um = at.map((pixel, axis) => this.whole.corner[axis] + pixel * this.whole.pixel);
    const place = [1, 2].map((axis) => this.map.edges[axis].findIndex((edge, i, all) => um[axis] >= edge && um[axis] < all[i + 1]));
    if (place.includes(-1)) {
      this.describe();
      return;
    }
    this.readout.textContent = `${this.map.title}: ${this.text(this.level(this.layer, ...place))} at x ${inMicrometres(um[2])}, ` +
      `y ${inMicrometres(um[1])}, z ${inMicrometres(this.middle)}`;
  }

  drawKey() {
    const { categories, diverging, low, high, unit } = this.map;
    if (categories.length) {
      const present = new Set();
      for (let i = 0; i < this.levels.pixels.length; i += 4) present.add(this.levels.pixels[i]);
      this.key.replaceChildren(...categories.map((name, i) => present.has(i + 1) &&
        element("span", { class: "category" }, element("i", { style: `background:${CATEGORY_COLOURS[name]}` }), name)).filter(Boolean));
      return;
    }
    const anchors = diverging ? DIVERGING : VIRIDIS;
    const digits = high - low > 20 ? 0 : 2;
    this.key.replaceChildren(
      element("span", {}, `${low.toFixed(digits)}`),
      element("i", { class: "gradient", style: `background:linear-gradient(to right, ${anchors.join(",")})` }),
      element("span", {}, `${high.toFixed(digits)}${unit ? ` ${unit}` : ""}`));
  }
}
