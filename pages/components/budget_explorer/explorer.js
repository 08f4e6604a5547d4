// The budget explorer: heatmap, area-true allocation, front and budgets, dragged in the browser.
// What is picked, drawn and solved while dragging happens here; the server hears of it on release.
// Names of layers and methods may hold anything: they reach the page as text only.

export const SLACK = 1e-9;
const FLOAT = 32, GREY = "#888888", MOST_NAME = 40;

const unpack = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const f64 = (text) => new Float64Array(unpack(text).buffer);
const u32 = (text) => new Uint32Array(unpack(text).buffer);
const each = (table, change) =>
  Object.fromEntries(Object.entries(table).map(([key, value]) => [key, change(value)]));

/** A method's points with their numbers unpacked; `row` finds the bits of a selectable point. */
export function decode(method) {
  const sel = u32(method.sel);
  return {
    ...method, sel, ids: u32(method.ids), runs: u32(method.runs), acc: f64(method.acc),
    lo: f64(method.lo), hi: f64(method.hi), cost: each(method.cost, f64), w: unpack(method.w),
    a: unpack(method.a), row: new Map([...sel].map((at, row) => [at, row])), memo: {},
  };
}

/** The one picking rule, as in Python's `best_within`: index of the best point, or -1.
 * limits is [[cost, limit], ...]; equal scores: lowest first limited cost, then lowest index. */
export function pick(method, limits) {
  const tie = method.cost[limits.length ? limits[0][0] : Object.keys(method.cost)[0]];
  let best = -1;
  for (const i of method.sel) {
    if (!limits.every(([cost, limit]) => method.cost[cost][i] <= limit * (1 + SLACK))) continue;
    const gain = best < 0 ? 1 : method.acc[i] - method.acc[best];
    if (gain > 0 || (gain === 0 && tie[i] < tie[best])) best = i;
  }
  return best;
}

/** Indices no other point beats, by rising cost; sign is 1 where higher scores are better. */
export function frontOf(cost, score, sign = 1) {
  const order = [...cost.keys()].sort(
    (i, j) => cost[i] - cost[j] || sign * (score[j] - score[i]) || i - j);
  const front = [];
  for (const i of order) {
    if (!front.length || sign * (score[i] - score[front[front.length - 1]]) > 0) front.push(i);
  }
  return front;
}

/** Sensitivities of each layer's options, unpacked: layer i has options start[i]..start[i + 1]. */
export function decodeProxy(proxy) {
  return { ...proxy, start: u32(proxy.start), score: f64(proxy.score), w: unpack(proxy.w),
    a: unpack(proxy.a), cost: each(proxy.cost, f64) };
}

function totals(proxy, choice) {
  const cost = each(proxy.fixed, Number);
  let score = 0;
  for (const at of choice) {
    score += proxy.score[at];
    for (const name in cost) cost[name] += proxy.cost[name][at];
  }
  return { choice, cost, score };
}

/** Each layer's cheapest option of score + sum of price * cost. */
function cheapest(proxy, names, prices) {
  const choice = new Uint32Array(proxy.start.length - 1);
  const columns = names.map((name) => proxy.cost[name]);
  for (let layer = 0; layer < choice.length; layer++) {
    let best = Infinity;
    for (let at = proxy.start[layer]; at < proxy.start[layer + 1]; at++) {
      let value = proxy.score[at];
      for (let k = 0; k < prices.length; k++) value += prices[k] * columns[k][at];
      if (value < best) { best = value; choice[layer] = at; }
    }
  }
  return choice;
}

/** Least predicted damage within limits on at most two summed costs, or null where nothing fits.
 * Lagrangian relaxation (Fisher 1981) by bisection, then the exchanges that still fit; `gap` is
 * how far from the least possible it can be at most, by the bound of the relaxation. */
export function solve(proxy, limits) {
  const names = limits.map(([name]) => name);
  const within = limits.map(([name, limit]) => limit * (1 + SLACK) - proxy.fixed[name]);
  const least = names.map((name) => {
    const only = { ...proxy, score: proxy.cost[name] };
    return totals(only, cheapest(only, [], [])).cost[name] - proxy.fixed[name];
  });
  if (least.some((value, k) => value > within[k])) return null;
  let top = 0, best = null, bound = -Infinity;
  for (let layer = 0; layer + 1 < proxy.start.length; layer++) {
    const row = proxy.score.subarray(proxy.start[layer], proxy.start[layer + 1]);
    top += Math.max(...row) - Math.min(...row);
  }
  const scale = within.map((value, k) => Math.max(value - least[k], 1));
  const spent = (found, k) => found.cost[names[k]] - proxy.fixed[names[k]];
  const attempt = (prices) => {
    const found = totals(proxy, cheapest(proxy, names, prices.map((p, k) => p / scale[k])));
    const over = names.map((_, k) => (spent(found, k) - within[k]) / scale[k]);
    bound = Math.max(bound, found.score + over.reduce((sum, o, k) => sum + prices[k] * o, 0));
    if (over.every((o) => o <= 0) && !(best && best.score <= found.score)) best = found;
    return over;
  };
  const bisect = (over, steps) => {
    if (over(0) <= 0) return;
    for (let low = 0, high = top * 2, step = 0; step < steps; step++) {
      const middle = step ? (low + high) / 2 : high;
      if (over(middle) > 0) low = middle; else high = middle;
    }
  };
  if (names.length < 2) bisect((price) => attempt(names.length ? [price] : [])[0] ?? 0, 40);
  else {
    const first = (price) => {
      let last;
      bisect((other) => (last = attempt([price, other]))[1], 22);
      return last[0];
    };
    bisect(first, 22);
  }
  if (!best) {
    // two tight limits: the options that are nowhere dear, whatever their score
    const share = proxy.score.map((_, at) =>
      Math.max(...names.map((name, k) => proxy.cost[name][at] / Math.max(within[k], 1))));
    const found = totals(proxy, cheapest({ ...proxy, score: share }, [], []));
    if (names.some((_, k) => spent(found, k) > within[k])) return null;
    best = found;
  }
  best = improve(proxy, names, within, best);
  return { ...best, gap: Math.max(0, best.score - bound) };
}

function improve(proxy, names, within, found) {
  for (let rounds = 0; rounds < 400; rounds++) {
    let gain = -1e-15, layerAt = -1, optionAt = 0;
    found.choice.forEach((now, layer) => {
      for (let at = proxy.start[layer]; at < proxy.start[layer + 1]; at++) {
        const change = proxy.score[at] - proxy.score[now];
        if (change < gain && names.every((name, k) => found.cost[name] - proxy.fixed[name] +
            proxy.cost[name][at] - proxy.cost[name][now] <= within[k])) {
          gain = change; layerAt = layer; optionAt = at;
        }
      }
    });
    if (layerAt < 0) break;
    const choice = found.choice.slice();
    choice[layerAt] = optionAt;
    found = totals(proxy, choice);
  }
  return found;
}

/** Predictions as one method that can be drawn like measured ones: its front against one cost. */
export function predictedFront(proxy, name, steps = 90) {
  const span = Math.max(...proxy.score) - Math.min(...proxy.score) || 1;
  const typical = proxy.cost[name].reduce((a, b) => Math.max(a, b), 1);
  const found = new Map();
  for (let step = -1; step < steps; step++) {
    const price = step < 0 ? 0 : (span / typical) * 10 ** ((step / steps) * 10 - 6);
    const solution = totals(proxy, cheapest(proxy, [name], [price]));
    found.set(solution.choice.join(), solution);
  }
  const all = [...found.values()];
  return frontOf(all.map((s) => s.cost[name]), all.map((s) => s.score), -1).map((i) => all[i]);
}

/** Three significant digits, never dropping whole ones. */
export function figure(value, digits = 3) {
  if (!value || !isFinite(value)) return String(value);
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en-US",
    { minimumFractionDigits: Math.min(decimals, 8), maximumFractionDigits: Math.min(decimals, 8) });
}

/** A name of any length and script, as a canvas and a tooltip can bear it. */
export function short(name, most = MOST_NAME) {
  const letters = [...name.replace(/[\u0000-\u001f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, " ")];
  return letters.length > most ? letters.slice(0, most - 1).join("") + "…" : letters.join("");
}

const el = (tag, attributes = {}, ...kids) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node[name] = value;
    else if (value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...kids);
  return node;
};
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
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

/** One explorer on the page. `update` takes new data and keeps what the reader has set. */
export class Explorer {
  constructor(root) {
    this.root = root;
    this.hover = {};
    this.dragging = null;
    const canvas = (name) => el("canvas", { class: name, role: "img", tabindex: name === "front" && 0 });
    Object.assign(this, {
      controls: el("div", { class: "controls" }), cards: el("div", { class: "cards" }),
      note: el("p", { class: "note", role: "status" }), swatches: el("div", { class: "swatches" }),
      heat: canvas("heat"), front: canvas("front"), area: canvas("area"),
      tip: el("div", { class: "tip", "aria-hidden": true }),
      live: el("div", { class: "hidden", "aria-live": "polite", "data-testid": "summary" }),
      frontTitle: el("h4"), areaTitle: el("h4"), areaNote: el("span", { class: "faint" }),
      axis: el("select", { "aria-label": "Cost on the horizontal axis" }),
      log: el("input", { type: "checkbox" }),
      widths: el("select", { "aria-label": "What the areas show" },
        el("option", { value: "bytes" }, "weights"), el("option", { value: "ops" }, "compute")),
    });
    this.box = el("div", { class: "explorer" }, this.controls, this.cards, this.note,
      el("section", {}, el("header", {}, el("h4", {}, "Bits of each layer"), this.swatches), this.heat),
      el("div", { class: "pair" },
        el("section", {}, el("header", {}, this.frontTitle,
          el("span", { class: "tools" }, this.axis, el("label", {}, this.log, " log"))), this.front),
        el("section", {}, el("header", {}, this.areaTitle,
          el("span", { class: "tools" }, this.widths)), this.area, this.areaNote)),
      el("footer", {},
        el("button", { type: "button", onclick: () => this.save() }, "Save as PNG"),
        el("button", { type: "button", onclick: (e) => this.copy(e.target) }, "Copy link"),
        el("span", { class: "faint keys" }, "Keys: arrows, Page, Home and End move a budget; "
          + "[ and ] step along the front; f next method; p keep this allocation")),
      this.tip, this.live);
    root.append(this.box);
    this.axis.onchange = () => { this.view.x = this.axis.value; this.paint(); this.commit(); };
    this.log.onchange = () => { this.view.log = this.log.checked; this.paint(); };
    this.widths.onchange = () => { this.view.widths = this.widths.value; this.paint(); };
    this.listen();
    this.observer = new ResizeObserver(() => this.paint());
    this.observer.observe(this.box);
  }

  update({ data, setStateValue, setTriggerValue }) {
    Object.assign(this, { data, setStateValue, setTriggerValue, fronts: {}, still: {} });
    this.layers = data.layers;
    this.proxy = data.proxy && decodeProxy(data.proxy);
    this.methods = data.methods.map(decode);
    this.axes = new Map(data.axes.map((axis) => [axis.id, axis]));
    if (this.id !== data.id) {
      this.id = data.id;
      this.view = { ...data.init, values: {}, on: {} };
      for (const b of data.budgets) Object.assign(this.view.values, { [b.id]: b.value }),
        this.view.on[b.id] = b.on;
    }
    if (!this.axes.has(this.view.x)) this.view.x = data.axes[0].id;
    this.build();
    this.sent = JSON.stringify(this.message());
    this.paint();
    if (!this.proxy) this.coach();
    this.announce();
  }

  build() {
    const { data, view } = this;
    this.sliders = {};
    this.controls.replaceChildren(...data.budgets.map((b) => {
      const range = el("input", { type: "range", min: b.lo, max: b.hi, step: "any",
        "aria-label": `${b.title} at most, ${b.unit}` });
      const shown = el("output"), note = el("span", { class: "faint" });
      const box = el("input", { type: "checkbox" });
      box.checked = view.on[b.id];
      box.onchange = () => { view.on[b.id] = box.checked; this.paint(); this.commit(); };
      range.oninput = () => { this.dragging = b.id; this.set(b.id, +range.value); };
      range.onchange = () => { this.dragging = null; this.commit(); };
      range.onkeydown = (event) => this.key(event, b.id);
      this.sliders[b.id] = { range, shown, note, box, b };
      return el("div", { class: "budget" }, el("label", {}, box, ` Limit ${b.title.toLowerCase()}`),
        el("div", { class: "reading" }, shown, note), range);
    }));
    this.cardParts = this.methods.map((method, at) => {
      const mark = el("canvas", { width: 28, height: 28, "aria-hidden": true });
      const parts = { mark, name: el("b", {}, short(method.label)), score: el("strong"),
        detail: el("span", { class: "faint" }) };
      parts.card = el("button", { type: "button", class: "card", dir: "ltr",
        onclick: () => this.focus(at), onpointerenter: () => this.look({ method: at }),
        onpointerleave: () => this.look({}) }, mark, parts.name, parts.score, parts.detail);
      return parts;
    });
    this.cards.replaceChildren(...this.cardParts.map((parts) => parts.card));
    this.axis.replaceChildren(...data.axes.map((a) => el("option", { value: a.id }, a.label)));
    this.axis.value = view.x;
    this.log.checked = view.log;
    this.widths.value = view.widths;
    write(this.frontTitle, this.proxy ? "Predicted damage against cost" : `${data.score.label} against cost`);
    const kinds = Object.entries(data.cmap).map(([bits, colour]) => el("span",
      { style: `background:${colour};color:${+bits > 4 ? "#000" : "#fff"}`,
        class: +bits === FLOAT ? "float" : "" }, +bits === FLOAT ? "float" : bits));
    this.swatches.replaceChildren(...kinds, " bits");
  }

  limits() {
    return this.data.budgets.filter((b) => this.view.on[b.id])
      .map((b) => [b.id, this.view.values[b.id] * b.factor]);
  }

  set(id, value) {
    const { b } = this.sliders[id];
    this.view.values[id] = Math.min(b.hi, Math.max(b.lo, +value.toFixed(b.decimals)));
    this.paint();
  }

  /** Bits and scores of a point, or of what the solver found; null where there is none. */
  result(method, at) {
    if (at === null || at < 0) return null;
    const count = this.layers.length, row = method.row.get(at);
    const bits = (all) => row === undefined ? null : all.subarray(row * count, (row + 1) * count);
    return { method, at, id: method.ids[at], run: method.runs[at], acc: method.acc[at],
      lo: method.lo[at], hi: method.hi[at], cost: each(method.cost, (v) => v[at]),
      w: bits(method.w), a: bits(method.a) };
  }

  solved(limits) {
    const settled = this.data.settled, method = this.methods[0];
    const same = settled && JSON.stringify(settled.limits) === JSON.stringify(limits);
    const found = same ? { ...settled, choice: u32(settled.choice), gap: 0 } : solve(this.proxy, limits);
    if (!found) return null;
    const of = (all) => Uint8Array.from(found.choice, (at) => all[at]);
    return { ...found, method, at: 0, acc: found.score, w: of(this.proxy.w), a: of(this.proxy.a) };
  }

  /** What each method gives within the budgets. */
  results() {
    const limits = this.limits();
    if (this.proxy) return [this.solved(limits)];
    return this.methods.map((method) => this.result(method, pick(method, limits)));
  }

  /** Place of the method in focus: the reader's choice, else the best within the budgets. */
  focused(results) {
    const chosen = this.methods.findIndex((method) => method.label === this.view.focus);
    if (chosen >= 0) return chosen;
    return results.reduce((best, r, at) =>
      r && (!results[best] || r.acc > results[best].acc) ? at : best, 0);
  }

  paint() {
    if (this.frame || !this.data) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  /** Draw everything now. */
  draw() {
    if (!this.box.clientWidth) return;
    const style = getComputedStyle(this.box);
    const theme = (name, other) => style.getPropertyValue(`--st-${name}`).trim() || other;
    this.ink = theme("text-color", "#31333f");
    this.paper = theme("background-color", "#ffffff");
    this.font = theme("font", "sans-serif");
    this.primary = theme("primary-color", "#0072b2");
    const results = this.now = this.results();
    const focus = this.at = this.focused(results);
    this.drawControls(results);
    this.drawCards(results, focus);
    this.drawHeat(results, focus);
    this.drawFront(results, focus);
    this.drawArea(results, focus);
  }

  scoreText(r) {
    if (this.proxy) return `${figure(r.acc)} ${this.data.score.unit}`;
    return `${r.acc.toFixed(1)} %`;
  }

  costText(r, id) {
    const axis = this.axes.get(id);
    return `${figure(r.cost[id] / axis.factor)} ${axis.unit}`;
  }

  drawControls(results) {
    const r = results[this.at ?? 0];
    for (const { range, shown, note, b } of Object.values(this.sliders)) {
      const value = this.view.values[b.id], words = `${value.toFixed(b.decimals)} ${b.unit}`;
      if (+range.value !== value) range.value = value;
      range.disabled = !this.view.on[b.id];
      range.setAttribute("aria-valuetext", words);
      range.style.setProperty("--share", `${(100 * (value - b.lo)) / (b.hi - b.lo)}%`);
      write(shown, this.view.on[b.id] ? words : "no limit");
      write(note, this.view.on[b.id] ? figure(value * b.words[0]) + b.words[1] : "");
    }
    const limits = this.limits(), lacking = limits.map(([id, limit]) => {
      const all = this.proxy ? [this.data.least[id]] : this.methods.flatMap((m) => [...m.sel].map((i) => m.cost[id][i]));
      return [id, Math.min(...(r || results.some(Boolean) ? [0] : all)), limit];
    }).filter(([, least, limit]) => least > limit);
    write(this.note, results.some(Boolean) ? "" : "Nothing " + (this.proxy ? "predicted" : "measured")
      + " fits these budgets. " + (lacking.map(([id, least]) =>
        `${this.axes.get(id).label}: the smallest is ${this.costText({ cost: { [id]: least } }, id)}.`).join(" ")
        || "Each budget alone can be met, but not both at once.") + " Raise a budget.");
  }

  drawCards(results, focus) {
    const limits = this.limits(), id = limits.length ? limits[0][0] : this.data.axes[0].id;
    this.cardParts.forEach(({ card, mark, score, detail }, at) => {
      const r = results[at], method = this.methods[at], pen = mark.getContext("2d");
      pen.clearRect(0, 0, 28, 28);
      pen.fillStyle = pen.strokeStyle = method.colour;
      pen.lineWidth = 3;
      glyph(pen, method.marker, 14, 14, 9, !this.proxy);
      card.setAttribute("aria-pressed", at === focus);
      write(score, r ? this.scoreText(r) : "nothing fits");
      write(detail, !r ? "" : this.proxy
        ? `predicted, ${r.gap > 1e-9 * Math.abs(r.acc) ? `at most ${figure(r.gap, 2)} above the least` : "exact"} · ${this.costText(r, id)}`
        : `${r.lo.toFixed(1)} to ${r.hi.toFixed(1)} · ${this.costText(r, id)}`);
    });
  }

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

  cell(pen, bits, x, y, width, height) {
    pen.fillStyle = this.data.cmap[bits];
    pen.fillRect(x, y, width, height);
    if (bits === FLOAT) {
      pen.fillStyle = "#c8c8c8";
      for (let at = y + 2; at < y + height; at += 4) pen.fillRect(x, at, width, 1);
    }
    const digit = bits === FLOAT ? "fp" : String(bits);
    if (width < (digit.length > 1 ? 15 : 10) || height < 12) return;
    this.say(pen, digit, x + width / 2, y + height / 2 + 0.5,
      { align: "center", colour: bits > 4 ? "#000" : "#fff", bold: width > 14 });
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
        20, top + tall + Math.max(low / 2, 5), { size: 10, colour: GREY });
      if (!r || !r.w) {
        this.say(pen, r ? "bits of this point: click it" : "nothing fits", left + 4, top + tall / 2, { colour: GREY });
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
    if (wide * count <= 300) return;
    const every = Math.ceil(13 / wide);
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
        x + span / 2, bottom + 6, { size: 11, align: "center", colour: GREY });
    }
    this.heat.setAttribute("aria-label", `Weight and activation bits of ${count} layers, `
      + `${this.methods.length} methods. The table below the plots has the same numbers.`);
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
    this.front.setAttribute("aria-label", `${this.frontTitle.textContent}: ${s.axis.label}, ${s.axis.unit}. `
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
      this.say(pen, v.toLocaleString("en-US"), px(v * axis.factor), edge.bottom + 13, { align: "center", colour: GREY });
    }
    const up = positive ? [...Array(24)].flatMap((_, e) => [1, 3].map((m) => m * 10 ** (e - 14)))
      .filter((v) => Math.log10(v) >= low && Math.log10(v) <= high) : ticks(low, high, 6);
    for (const v of up) {
      grid(edge.left, py(v), edge.right - edge.left, 1);
      this.say(pen, positive ? String(+v.toPrecision(3)) : v.toLocaleString("en-US"), edge.left - 7, py(v), { align: "right", colour: GREY });
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
      this.say(pen, `float ${this.data.float.toFixed(1)} %`, edge.left + 6, py(this.data.float) + 9, { size: 11, colour: GREY });
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
      if (ref.cost[id] <= right) this.say(pen, ref.label, px(ref.cost[id]) + 7, py(ref.acc) + 11, { size: 11, colour: GREY });
    }
    pen.restore();
    const lost = this.proxy ? 0 : this.methods.reduce((sum, m) => sum + m.acc.filter((v) => v < low).length, 0);
    if (lost) this.say(pen, `${lost} of the points lie below`, edge.right - 6, edge.bottom - 30, { size: 11, align: "right", colour: GREY });
    return image;
  }

  drawArea(results, focus) {
    const tall = 336, pen = this.pen(this.area, tall), full = this.area.clientWidth, ops = this.view.widths === "ops";
    const edge = { left: 58, right: full - 8, top: 12, bottom: tall - 44 };
    const r = results[focus], other = results.find((o, at) => at !== focus && o?.w);
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
      this.say(pen, String(v), edge.left - 7, py(v), { align: "right", colour: GREY });
    }
    for (const v of [0, 25, 50, 75, 100]) this.say(pen, `${v}`, edge.left + (v / 100) * (edge.right - edge.left), edge.bottom + 13,
      { align: v === 100 ? "right" : "center", colour: GREY });
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
    this.area.setAttribute("aria-label", `Each layer as a block: width is its share of ${ops ? "compute" : "weights"}, height its bits.`);
  }

  look(hover) {
    if (JSON.stringify(hover) === JSON.stringify(this.hover)) return;
    this.hover = hover;
    this.paint();
  }

  /** Which layer, method or point lies under the pointer; words for the tooltip. */
  find(canvas, x, y) {
    if (canvas === this.front) {
      let best = { far: 14 ** 2 }, { px, py } = this.map, id = this.view.x;
      if (!this.proxy) this.methods.forEach((m, method) => m.acc.forEach((acc, point) => {
        const far = (px(m.cost[id][point]) - x) ** 2 + (py(acc) - y) ** 2;
        if (far < best.far) best = { far, method, point };
      }));
      if (best.point === undefined) return [{}, ""];
      const r = this.result(this.methods[best.method], best.point);
      return [{ method: best.method, point: best.point }, `${short(r.method.label)}\n${r.acc.toFixed(2)} % (${r.lo.toFixed(1)} to `
        + `${r.hi.toFixed(1)}, n=${this.data.score.n.toLocaleString("en-US")})\n` + this.data.axes.map((a) => `${a.label}: ${this.costText(r, a.id)}`).join("\n")];
    }
    let layer, method;
    if (canvas === this.heat) {
      const { left, wide, places, tall } = this.heatMap;
      layer = x < left ? undefined : Math.floor((x - left) / wide);
      method = places.findIndex((p) => y >= p.y - 4 && y < p.y + tall + p.low + 5);
    } else layer = this.areaMap.xs.findIndex((at, i, xs) => x >= at && x < xs[i + 1]);
    const facts = this.layers[layer];
    const hover = { ...(facts && { layer }), ...(method >= 0 && { method }) };
    if (!facts) return [hover, ""];
    const r = this.now[method >= 0 ? method : this.at];
    const number = (v) => v.toLocaleString("en-US"), words = (b) => b === FLOAT ? "float" : `${b} bits`;
    return [hover, `${short(facts.n, 120)} (${facts.k}, layer ${layer + 1})` + (r?.w ? `\n${short(r.method.label)}: weights ${words(r.w[layer])}, `
      + `activations ${words(r.a[layer])}\nweights take ${number(Math.ceil(facts.p * r.w[layer] / 8))} B` : "")
      + `\n${number(facts.p)} weights, ${number(facts.m)} MACs per sample` + (facts.rank ? `\nsensitivity: ${facts.rank} of ${this.layers.length}` : "")
      + (facts.lock ? "\nfixed by the search's settings" : "")];
  }

  listen() {
    const at = (event) => [event.offsetX, event.offsetY];
    const onLine = (x) => {
      const slider = this.view.on[this.view.x] && this.sliders[this.view.x];
      return slider && Math.abs(x - Math.min(this.map.px(this.view.values[this.view.x] * slider.b.factor), this.map.edge.right)) < 9 && slider;
    };
    for (const canvas of [this.heat, this.front, this.area]) {
      canvas.onpointermove = (event) => {
        const [x, y] = at(event);
        if (this.dragging) {
          if (canvas === this.front) this.set(this.dragging, this.map.back(x) / this.sliders[this.dragging].b.factor);
          return;
        }
        const [hover, words] = this.find(canvas, x, y);
        canvas.style.cursor = canvas === this.front && onLine(x) ? "ew-resize" : hover.method >= 0 ? "pointer" : "";
        this.look(hover);
        write(this.tip, words);
        const box = this.box.getBoundingClientRect();
        this.tip.style.display = words ? "block" : "none";
        this.tip.style.transform = `translate(${Math.min(event.clientX - box.left + 14, box.width - this.tip.offsetWidth)}px,${event.clientY - box.top + 16}px)`;
      };
      canvas.onpointerleave = () => { this.look({}); this.tip.style.display = "none"; };
      canvas.onclick = (event) => {
        if (this.moved) return void (this.moved = false);
        const [hover] = this.find(canvas, ...at(event));
        if (hover.point >= 0) {
          const r = this.result(this.methods[hover.method], hover.point);
          this.setTriggerValue("open", { run: r.run, id: r.id });
        } else if (hover.method >= 0) this.focus(hover.method);
      };
    }
    this.front.onpointerdown = (event) => {
      const held = onLine(event.offsetX);
      if (!held) return;
      event.preventDefault();
      this.front.focus();
      this.front.setPointerCapture(event.pointerId);
      this.dragging = held.b.id;
      this.tip.style.display = "none";
    };
    this.front.onpointerup = this.front.onpointercancel = () => {
      if (!this.dragging) return;
      this.dragging = null;
      this.moved = true;
      setTimeout(() => { this.moved = false; });
      this.commit();
    };
    this.front.onkeydown = (event) => this.key(event, this.view.on[this.view.x] ? this.view.x : null);
    this.cards.onkeydown = (event) => this.key(event, null);
  }

  key(event, id) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const big = event.shiftKey ? 10 : 1, turn = { ArrowRight: big, ArrowUp: big, ArrowLeft: -big, ArrowDown: -big,
      PageUp: 100, PageDown: -100, Home: -1e6, End: 1e6 }[event.key];
    const known = turn !== undefined ? id in this.sliders : ["[", "]", "f", "p"].includes(event.key);
    if (!known) return;
    event.preventDefault();
    const r = this.now?.[this.at];
    if (turn !== undefined) {
      const { b } = this.sliders[id], step = Math.max((b.hi - b.lo) / 1000, 10 ** -b.decimals);
      this.set(id, this.view.values[id] + turn * step);
    } else if (event.key === "f") this.focus((this.at + 1) % this.methods.length, false);
    else if (event.key === "p") return void (r && !this.proxy && this.setTriggerValue("pin", { run: r.run, id: r.id }));
    else this.step(event.key === "]" ? 1 : -1);
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.commit(), 150);
  }

  /** Set the budget to the next or previous member of the focused method's front. */
  step(turn) {
    const id = (this.limits().find(([name]) => name === this.view.x) ?? this.limits()[0])?.[0];
    if (!id) return;
    const m = this.methods[this.at], { b } = this.sliders[id], grid = 10 ** -b.decimals;
    const costs = this.proxy ? predictedFront(this.proxy, id).map((s) => s.cost[id])
      : frontOf([...m.sel].map((i) => m.cost[id][i]), [...m.sel].map((i) => m.acc[i])).map((at) => m.cost[id][m.sel[at]]);
    const stops = costs.map((cost) => +(Math.ceil(cost / b.factor / grid - 1e-9) * grid).toFixed(b.decimals));
    const now = this.view.values[id];
    const here = stops.filter((value) => value <= now + grid / 2).at(-1) ?? -Infinity;
    const next = turn > 0 ? stops.find((value) => value > now + grid / 2) : stops.filter((value) => value < here - grid / 2).at(-1);
    if (next !== undefined) this.set(id, next);
  }

  focus(at, now = true) {
    this.view.focus = this.methods[at].label;
    this.paint();
    if (now) this.commit();
  }

  message() {
    const { values, on, x, focus } = this.view;
    return { values, on, x, focus };
  }

  /** Tell the server what was set: once, when the reader lets go. */
  commit() {
    clearTimeout(this.idle);
    const message = this.message(), text = JSON.stringify(message);
    if (text === this.sent) return;
    this.sent = text;
    this.draw();
    this.announce();
    this.setStateValue("commit", JSON.parse(text));
  }

  announce() {
    const results = this.results();
    write(this.live, results.map((r, at) => `${short(this.methods[at].label)}: `
      + (r ? `${this.scoreText(r)}, ${this.data.budgets.map((b) => this.costText(r, b.id)).join(", ")}` : "nothing fits")).join("; "));
  }

  save() {
    const all = [this.heat, this.front, this.area], ratio = window.devicePixelRatio || 1, gap = 16 * ratio;
    const sheet = el("canvas", { width: Math.max(...all.map((c) => c.width)) + 2 * gap,
      height: all.reduce((sum, c) => sum + c.height + gap, gap) });
    const pen = sheet.getContext("2d");
    pen.fillStyle = this.paper;
    pen.fillRect(0, 0, sheet.width, sheet.height);
    let y = gap;
    for (const canvas of all) { pen.drawImage(canvas, gap, y); y += canvas.height + gap; }
    sheet.toBlob((blob) => {
      const link = el("a", { href: URL.createObjectURL(blob), download: this.data.file });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }

  async copy(button) {
    try { await navigator.clipboard.writeText(location.href); write(button, "Copied"); }
    catch { write(button, "Copy it from the address bar"); }
    setTimeout(() => write(button, "Copy link"), 2000);
  }

  /** Three hints for a first visit; what was dismissed stays dismissed in this browser. */
  coach() {
    const key = "bitdial-hints", hints = this.data.hints;
    let at;
    try { at = +(localStorage.getItem(key) ?? 0); } catch { at = hints.length; }
    this.hint?.remove();
    if (at >= hints.length) return;
    const show = (next) => {
      try { localStorage.setItem(key, next); } catch { /* a browser without storage shows them again */ }
      this.hint.remove();
      this.coach();
      if (next < hints.length) this.hint.querySelector("button").focus();
    };
    this.hint = el("div", { class: "hint", role: "note" }, el("span", { class: "faint" }, `${at + 1} of ${hints.length}`), ` ${hints[at]} `,
      el("button", { type: "button", onclick: () => show(at + 1) }, at + 1 < hints.length ? "Next" : "Got it"),
      el("button", { type: "button", class: "plain", onclick: () => show(hints.length) }, "Dismiss"));
    [this.controls, this.box.children[3], this.box.children[5]][at]?.after(this.hint);
  }

  end() { this.observer.disconnect(); cancelAnimationFrame(this.frame); clearTimeout(this.idle); this.box.remove(); }
}

const alive = new WeakMap();

/** What Streamlit calls: once when the component appears, and again with new data or colours. A call
 * that was overtaken by a newer one is told to end at once; the newer one must survive that. */
export default function mount(component) {
  const root = component.parentElement;
  if (!alive.has(root)) alive.set(root, new Explorer(root));
  const explorer = alive.get(root), turn = explorer.turn = (explorer.turn ?? 0) + 1;
  explorer.update(component);
  return () => {
    if (explorer.turn !== turn) return;
    explorer.end();
    alive.delete(root);
  };
}
