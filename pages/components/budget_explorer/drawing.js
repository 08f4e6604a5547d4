// How the explorer draws: bit heatmap, front and area-true allocation, each on its canvas.
// Names of layers and methods may hold anything: they are drawn as text only.

const GREY = "#888888";
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const label = (node, name, value) => {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
};
const DASHES = { solid: [], dash: [8, 5], dot: [2, 4], dashdot: [8, 4, 2, 4], longdash: [13, 5],
  longdashdot: [13, 4, 2, 4], "5px": [5, 5] };
const SHAPES = { circle: [24, 0, 1], square: [4, 1, 1.2], diamond: [4, 0, 1.3],
  "triangle-up": [3, 0, 1.3], "triangle-down": [3, 1, 1.3], star: [5, 0, 1.4], hexagon: [6, 0, 1.1],
  x: [4, 1, 1.3], cross: [4, 0, 1.3] };

/** Draw a method's marker: a polygon of [corners, half a step turned, size]. */
function glyph(pen, marker, x, y, radius, fill = true) {
  const [corners, turned, size] = SHAPES[marker] ?? SHAPES.circle;
  const steps = ["star", "x", "cross"].includes(marker) ? corners * 2 : corners;
  const turn = (turned * Math.PI) / corners - Math.PI / 2;
  pen.beginPath();
  for (let i = 0; i < steps; i++) {
    const far = radius * size * (steps > corners && i % 2 ? 0.42 : 1);
    const angle = turn + (2 * Math.PI * i) / steps;
    pen.lineTo(x + far * Math.cos(angle), y + far * Math.sin(angle));
  }
  pen.closePath();
  if (fill) pen.fill(); else pen.stroke();
}

function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((m) => m * power >= rough) * power;
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high * (1 + 1e-12); at++) {
    found.push(+(at * step).toPrecision(12));
  }
  return found;
}

/** The drawing half of the explorer; `Explorer` keeps what is drawn: data, view and hover. */
class Drawing {
  /** Size a canvas to its box and hand out a cleared pen, in CSS pixels. */
  pen(canvas, height) {
    const width = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return Object.assign(pen, { direction: "ltr", textBaseline: "middle" });
  }

  say(pen, text, x, y, { size = 12, align = "left", colour = this.ink, bold = false } = {}) {
    pen.font = `${bold ? "600 " : ""}${size}px ${this.font}`;
    pen.fillStyle = colour;
    pen.textAlign = align;
    pen.fillText(text, x, y);
  }

  /** A cell with its digit, drawn once per size: text is what a canvas draws slowest. */
  tile(bits, width, height) {
    const ratio = window.devicePixelRatio || 1, key = [bits, width.toFixed(2), height, ratio].join();
    if (this.tiles.has(key)) return this.tiles.get(key);
    const image = document.createElement("canvas");
    image.width = Math.max(1, Math.ceil(width * ratio));
    image.height = Math.max(1, Math.ceil(height * ratio));
    const pen = Object.assign(image.getContext("2d"), { textBaseline: "middle" });
    pen.scale(image.width / width, image.height / height);
    pen.fillStyle = this.data.cmap[bits];
    pen.fillRect(0, 0, width, height);
    if (bits === FLOAT) {
      pen.fillStyle = "#c8c8c8";
      for (let at = 2; at < height; at += 4) pen.fillRect(0, at, width, 1);
    }
    const digit = bits === FLOAT ? "fp" : String(bits);
    if (width >= (digit.length > 1 ? 15 : 10) && height >= 12) {
      this.say(pen, digit, width / 2, height / 2 + 0.5,
        { align: "center", colour: bits > 4 ? "#000" : "#fff", bold: width > 14 });
    }
    this.tiles.set(key, image);
    return image;
  }

  cell(pen, bits, x, y, width, height) {
    if (width >= 10) return pen.drawImage(this.tile(bits, width, height), x, y, width, height);
    pen.fillStyle = this.data.cmap[bits];
    pen.fillRect(x, y, width, height);
  }

  drawHeat(results, focus) {
    const count = this.layers.length, full = this.heat.clientWidth;
    const left = Math.min(190, full * 0.24), wide = (full - left - 2) / count;
    const tall = this.methods.length > 8 ? 16 : 22;
    let y = 2;
    const places = this.methods.map((method) => {
      const low = method.w.length && method.a.every((bits) => bits === FLOAT) ? 8 : tall;
      const place = { y, low };
      y += tall + low + 9;
      return place;
    });
    const bottom = y, pen = this.pen(this.heat, bottom + (wide * count > 300 ? 78 : 20));
    const held = this.hover.method, shown = this.hover.point;
    this.heatMap = { left, wide, places, tall, bottom };
    results.forEach((result, at) => {
      const { y: top, low } = places[at], method = this.methods[at];
      const r = held === at && shown !== undefined ? this.result(method, shown) ?? result : result;
      const bold = at === focus;
      pen.fillStyle = pen.strokeStyle = method.colour;
      pen.lineWidth = 1.5;
      glyph(pen, method.marker, 9, top + tall / 2, 5, !this.proxy);
      this.say(pen, short(method.label, 19), 20, top + tall / 2, { bold, size: 13 });
      if (left > 150) this.say(pen, low === tall ? "weights / activations" : "weights; activations in float",
        20, top + tall + Math.max(low / 2, 5), { size: 10, colour: this.faint });
      if (!r || !r.w) {
        this.say(pen, r ? "bits of this point: click it" : "nothing fits", left + 4, top + tall / 2, { colour: this.faint });
        return;
      }
      for (let i = 0; i < count; i++) {
        const x = left + i * wide, gap = wide > 5 ? 1 : 0;
        this.cell(pen, r.w[i], x, top, wide - gap, tall - 1);
        this.cell(pen, r.a[i], x, top + tall, wide - gap, low);
      }
      if (bold) {
        pen.strokeStyle = this.primary;
        pen.lineWidth = 2;
        pen.strokeRect(left - 1.5, top - 1.5, wide * count + 2, tall + low + 3);
      }
    });
    pen.strokeStyle = this.ink;
    pen.lineWidth = 1;
    this.layers.forEach((layer, i) => layer.lock && places.forEach(({ y: top, low }) =>
      pen.strokeRect(left + i * wide + 0.5, top + 0.5, wide - 2, tall + low - 2)));
    if (this.hover.layer !== undefined) {
      pen.lineWidth = 2;
      pen.strokeRect(left + this.hover.layer * wide - 1, 1, wide + 1, bottom - 8);
    }
    if (wide * count > 300) {
      const name = ["names", full, left, this.hover.layer, this.ink, this.font].join();
      if (this.names?.name !== name) this.names = { name, image: this.layerNames(left, wide, full) };
      pen.drawImage(this.names.image, 0, bottom - 4, full, 80);
    }
    label(this.heat, "aria-label", `Weight and activation bits of ${count} layers, `
      + `${this.methods.length} methods. The table below the plots has the same numbers.`);
  }

  /** Names and stages of the layers under the heatmap, drawn once. */
  layerNames(left, wide, full) {
    const image = document.createElement("canvas"), ratio = window.devicePixelRatio || 1;
    image.width = full * ratio;
    image.height = 80 * ratio;
    const pen = Object.assign(image.getContext("2d"), { textBaseline: "middle", direction: "ltr" });
    pen.scale(ratio, ratio);
    const count = this.layers.length, bottom = 4, every = Math.ceil(13 / wide);
    this.layers.forEach((layer, i) => {
      if (i % every) return;
      pen.save();
      pen.translate(left + (i + 0.5) * wide, bottom + 20);
      pen.rotate(-Math.PI / 4);
      this.say(pen, short(layer.s, 13), 0, 0, { size: 11, align: "right",
        colour: i === this.hover.layer ? this.primary : this.ink });
      pen.restore();
    });
    for (let from = 0, to; from < count; from = to) {
      for (to = from; to < count && this.layers[to].stage === this.layers[from].stage; to++);
      const x = left + from * wide, span = (to - from) * wide;
      pen.fillStyle = GREY;
      pen.fillRect(x + 1, bottom - 2, span - 3, 1.5);
      if (span > 44 && to - from > 1) this.say(pen, short(this.layers[from].stage, span / 7 | 0),
        x + span / 2, bottom + 6, { size: 11, align: "center", colour: this.faint });
    }
    return image;
  }

  /** Where costs and scores lie on the front, and the lines of each method there. */
  scene() {
    const { x, log } = this.view, axis = this.axes.get(x), key = x;
    this.fronts[key] ??= this.proxy
      ? [predictedFront(this.proxy, x).map((s) => [s.cost[x], s.score, -1])]
      : this.methods.map((m) => frontOf(m.cost[x], m.acc).map((i) => [m.cost[x][i], m.acc[i], i]));
    const lines = this.fronts[key], all = lines.flat();
    const span = (values) => [Math.min(...values), Math.max(...values)];
    const [least, most] = span(all.map((p) => p[0]));
    const [left, right] = [log ? least * 0.9 : 0, most * (log ? 1.25 : 1.06)];
    const scores = all.map((p) => p[1]).sort((a, b) => a - b);
    let low, high, tell;
    if (this.proxy) {
      const positive = scores[0] > 0;
      const lift = (v) => positive ? Math.log10(v) : v;
      [low, high] = span(scores).map(lift);
      return { axis, lines, left, right, low: low - 0.05 * (high - low || 1), high: high + 0.08 * (high - low || 1), lift, positive };
    }
    high = Math.max(scores.at(-1), this.data.float ?? 0, ...this.methods.map((m) => m.hi[m.sel.at(-1)]));
    // a few collapsed points would flatten all that matters
    low = Math.max(scores[0], high - 5 * Math.max(high - scores[scores.length >> 1], 2));
    return { axis, lines, left, right, low: low - 0.06 * (high - low), high: high + 0.06 * (high - low), lift: (v) => v };
  }

  drawFront(results, focus) {
    const tall = 380, pen = this.pen(this.front, tall), full = this.front.clientWidth;
    const s = this.scene(), { log, x: id } = this.view;
    const edge = { left: 58, right: full - 12, top: 12, bottom: tall - 44 };
    const across = (v) => log ? Math.log(v / s.left) / Math.log(s.right / s.left) : (v - s.left) / (s.right - s.left);
    const px = (v) => edge.left + across(Math.max(v, s.left)) * (edge.right - edge.left);
    const py = (v) => edge.bottom - ((s.lift(v) - s.low) / (s.high - s.low)) * (edge.bottom - edge.top);
    const back = (at) => {
      const share = (at - edge.left) / (edge.right - edge.left);
      return log ? s.left * (s.right / s.left) ** share : s.left + share * (s.right - s.left);
    };
    this.map = { ...s, edge, px, py, back };
    const name = [id, log, full, this.ink, window.devicePixelRatio, focus].join();
    if (this.still.name !== name) this.still = { name, image: this.stillFront(tall, full) };
    const ratio = window.devicePixelRatio || 1;
    pen.drawImage(this.still.image, 0, 0, this.still.image.width / ratio, this.still.image.height / ratio);
    const slider = this.view.on[id] && this.sliders[id];
    if (slider) {
      const { b } = slider, at = Math.min(px(this.view.values[id] * b.factor), edge.right);
      pen.fillStyle = "rgba(136,136,136,0.18)";
      pen.fillRect(at, edge.top, edge.right - at, edge.bottom - edge.top);
      pen.fillStyle = this.primary;
      pen.fillRect(at - 1, edge.top, 2, edge.bottom - edge.top);
      pen.beginPath();
      pen.roundRect(at - 5, edge.top + 40, 10, 30, 5);
      pen.fill();
      const words = `${this.view.values[id].toFixed(b.decimals)} ${b.unit}`, near = at > edge.right - 90;
      this.say(pen, words, at + (near ? -9 : 9), edge.bottom - 14, { colour: this.primary, bold: true, align: near ? "right" : "left" });
    }
    results.forEach((r, at) => {
      if (!r) return;
      pen.strokeStyle = at === focus ? this.primary : this.ink;
      pen.lineWidth = at === focus ? 3 : 1.5;
      pen.beginPath();
      pen.arc(px(r.cost[id]), py(r.acc), at === focus ? 11 : 9, 0, 7);
      pen.stroke();
    });
    const { method, point } = this.hover;
    if (point >= 0) {
      const m = this.methods[method];
      pen.strokeStyle = m.colour;
      pen.lineWidth = 3;
      glyph(pen, m.marker, px(m.cost[id][point]), py(m.acc[point]), 8, false);
    }
    label(this.front, "aria-label", `${this.frontTitle.textContent}: ${s.axis.label}, ${s.axis.unit}. `
      + (slider ? "Arrow keys move the budget." : "This cost has no budget set."));
  }

  /** What stays put while a budget is dragged: axes, points, step lines, intervals, references. */
  stillFront(tall, full) {
    const { axis, lines, left, right, low, high, edge, px, py, positive } = this.map, id = axis.id;
    const image = document.createElement("canvas"), ratio = window.devicePixelRatio || 1;
    image.width = full * ratio;
    image.height = tall * ratio;
    const pen = Object.assign(image.getContext("2d"), { textBaseline: "middle" });
    pen.scale(ratio, ratio);
    const grid = (x, y, w, h) => { pen.fillStyle = "rgba(136,136,136,0.22)"; pen.fillRect(x, y, w, h); };
    const wanted = Math.max(3, full / 110);
    const across = this.view.log
      ? [1, 2, 5].flatMap((m) => [...Array(30)].map((_, e) => m * 10 ** (e - 6))).filter((v) =>
        v * axis.factor >= left && v * axis.factor <= right)
      : ticks(left / axis.factor, right / axis.factor, wanted);
    for (const v of across) {
      grid(px(v * axis.factor), edge.top, 1, edge.bottom - edge.top);
      this.say(pen, v.toLocaleString("en-US"), px(v * axis.factor), edge.bottom + 13, { align: "center", colour: this.faint });
    }
    const up = positive ? [...Array(24)].flatMap((_, e) => [1, 3].map((m) => m * 10 ** (e - 14)))
      .filter((v) => Math.log10(v) >= low && Math.log10(v) <= high) : ticks(low, high, 6);
    for (const v of up) {
      grid(edge.left, py(v), edge.right - edge.left, 1);
      this.say(pen, positive ? String(+v.toPrecision(3)) : v.toLocaleString("en-US"), edge.left - 7, py(v), { align: "right", colour: this.faint });
    }
    this.say(pen, `${axis.label}, ${axis.unit}${this.view.log ? " (log)" : ""}`, (edge.left + edge.right) / 2, tall - 10, { align: "center" });
    pen.save();
    pen.translate(9, (edge.top + edge.bottom) / 2);
    pen.rotate(-Math.PI / 2);
    this.say(pen, this.data.score.axis, 0, 0, { align: "center" });
    pen.restore();
    pen.save();
    pen.beginPath();
    pen.rect(edge.left, edge.top, edge.right - edge.left, edge.bottom - edge.top);
    pen.clip();
    pen.setLineDash([6, 4]);
    pen.strokeStyle = GREY;
    if (this.data.float !== null) {
      pen.strokeRect(edge.left - 2, py(this.data.float), edge.right, 1e4);
      this.say(pen, `float ${this.data.float.toFixed(1)} %`, edge.left + 6, py(this.data.float) + 9, { size: 11, colour: this.faint });
    }
    lines.forEach((line, at) => {
      const m = this.methods[at];
      pen.fillStyle = pen.strokeStyle = m.colour;
      pen.globalAlpha = 0.3;
      pen.setLineDash([]);
      if (!this.proxy) for (let i = 0; i < m.acc.length; i++) {
        pen.fillRect(px(m.cost[id][i]) - 1.5, py(m.acc[i]) - 1.5, 3, 3);
      }
      pen.globalAlpha = 0.4;
      if (!this.proxy) for (const [cost, , i] of line) {
        pen.fillRect(px(cost) - 0.5, py(m.hi[i]), 1, py(m.lo[i]) - py(m.hi[i]));
      }
      pen.globalAlpha = 1;
      pen.lineWidth = 2;
      pen.setLineDash(DASHES[m.dash] ?? []);
      pen.beginPath();
      line.forEach(([cost, score], k) => {
        if (k) pen.lineTo(px(cost), py(line[k - 1][1]));
        pen.lineTo(px(cost), py(score));
      });
      pen.stroke();
      pen.setLineDash([]);
      pen.lineWidth = 1.5;
      for (const [cost, score] of line) glyph(pen, m.marker, px(cost), py(score), this.proxy ? 3.5 : 4.5, !this.proxy);
    });
    for (const ref of this.data.refs) {
      const x = px(ref.cost[id]), late = x > edge.right - 56;
      if (ref.cost[id] <= right) this.say(pen, ref.label, x + (late ? -7 : 7), py(ref.acc) + 11,
        { size: 11, colour: this.faint, align: late ? "right" : "left" });
    }
    pen.restore();
    const lost = this.proxy ? 0 : this.methods.reduce((sum, m) => sum + m.acc.filter((v) => v < low).length, 0);
    if (lost) this.say(pen, `${lost} of the points lie below`, edge.right - 6, edge.bottom - 30, { size: 11, align: "right", colour: this.faint });
    return image;
  }

  drawArea(results, focus) {
    const tall = 336, pen = this.pen(this.area, tall), full = this.area.clientWidth, ops = this.view.widths === "ops";
    const edge = { left: 58, right: full - 8, top: 12, bottom: tall - 44 };
    const r = results[focus], others = results.filter((o, at) => at !== focus && o?.w);
    // the same bits everywhere are what to compare with; for them, the best of the others
    const other = others.find((o) => o.method.colour === GREY)
      ?? others.sort((one, two) => two.acc - one.acc)[0];
    write(this.areaTitle, ops ? "Where the compute is" : "Where the bytes are");
    const weight = (layer) => ops ? layer.m : layer.p, whole = this.layers.reduce((sum, l) => sum + weight(l), 0) || 1;
    const heightOf = (o, i) => ops ? o.w[i] * o.a[i] : o.w[i];
    const most = Math.max(8, ...[r, other].filter((o) => o?.w).flatMap((o) => this.layers.map((_, i) => heightOf(o, i))));
    const py = (v) => edge.bottom - (v / most) * (edge.bottom - edge.top), scale = (edge.right - edge.left) / whole;
    let x = edge.left;
    const xs = this.layers.map((layer) => { const at = x; x += weight(layer) * scale; return at; });
    this.areaMap = { xs: [...xs, x], edge };
    for (const v of ops ? ticks(0, most, 5) : [1, 2, 3, 4, 5, 6, 7, 8, ...(most > 8 ? [16, 32] : [])]) {
      pen.fillStyle = "rgba(136,136,136,0.22)";
      pen.fillRect(edge.left, py(v), edge.right - edge.left, 1);
      this.say(pen, String(v), edge.left - 7, py(v), { align: "right", colour: this.faint });
    }
    for (const v of [0, 25, 50, 75, 100]) this.say(pen, `${v}`, edge.left + (v / 100) * (edge.right - edge.left), edge.bottom + 13,
      { align: v === 100 ? "right" : "center", colour: this.faint });
    this.say(pen, `Share of ${ops ? "multiply-accumulates" : "weights"}, %`, (edge.left + edge.right) / 2, tall - 10, { align: "center" });
    pen.save();
    pen.translate(9, (edge.top + edge.bottom) / 2);
    pen.rotate(-Math.PI / 2);
    this.say(pen, ops ? "Weight bits × activation bits" : "Weight bits", 0, 0, { align: "center" });
    pen.restore();
    if (!r?.w) return;
    this.layers.forEach((layer, i) => {
      const wide = weight(layer) * scale, top = py(heightOf(r, i));
      pen.fillStyle = this.data.cmap[r.w[i]];
      pen.fillRect(xs[i], top, Math.max(wide - (wide > 3 ? 1 : 0), 0.3), edge.bottom - top);
      const colour = r.w[i] > 4 ? "#000" : "#fff";
      if (wide > 11) this.say(pen, r.w[i] === FLOAT ? "fp" : String(r.w[i]), xs[i] + wide / 2, top + 11, { align: "center", colour, bold: true });
      if (wide > 16 && edge.bottom - top > 74) {
        pen.save();
        pen.translate(xs[i] + wide / 2, edge.bottom - 6);
        pen.rotate(-Math.PI / 2);
        this.say(pen, short(layer.s, 16), 0, 0, { size: 11, colour });
        pen.restore();
      }
      if (this.hover.layer === i) {
        pen.strokeStyle = this.ink;
        pen.lineWidth = 2;
        pen.strokeRect(xs[i], top, wide, edge.bottom - top);
      }
    });
    if (other) {
      pen.strokeStyle = this.ink;
      pen.lineWidth = 1.5;
      pen.setLineDash([4, 3]);
      pen.beginPath();
      this.layers.forEach((layer, i) => { const top = py(heightOf(other, i)); pen.lineTo(xs[i], top); pen.lineTo(xs[i] + weight(layer) * scale, top); });
      pen.stroke();
      pen.setLineDash([]);
    }
    write(this.areaNote, `Blocks: ${short(r.method.label)}; area is ${ops ? "bit operations" : "bytes"}.`
      + (other ? ` Dashed: ${short(other.method.label)}.` : ""));
    label(this.area, "aria-label", `Each layer as a block: width is its share of ${ops ? "compute" : "weights"}, height its bits.`);
  }
}
