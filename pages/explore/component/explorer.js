// The budget explorer on the page: controls, pointer, keys, and what the server is told on release.
// Names of layers and methods may hold anything: they reach the page as text only.

const HINTS = "bitdial-hints";
const REACH = 14;
const IDLE_MS = 150;
const TURNS = {
  ArrowRight: 1,
  ArrowUp: 1,
  ArrowLeft: -1,
  ArrowDown: -1,
  PageUp: 100,
  PageDown: -100,
  Home: -1e6,
  End: 1e6,
};
const ACTS = {
  "[": (of) => of.step(-1),
  "]": (of) => of.step(1),
  p: (of) => of.pin(),
  f: (of) => {
    of.view.focus = of.methods[(of.at + 1) % of.methods.length].label;
    of.paint();
  },
};

const copyOf = (template) => template.content.firstElementChild.cloneNode(true);
const put = (node, words) =>
  Object.entries(words).forEach(([name, text]) => {
    const part = node.querySelector(name);
    if (part.textContent !== text) part.textContent = text;
  });

/** One explorer on the page. `update` takes new data and keeps what the reader has set. */
export class Explorer {
  constructor(root) {
    this.hover = {};
    this.box = root.querySelector(".explorer");
    for (const node of this.box.querySelectorAll("[data-as]")) this[node.dataset.as] = node;
    this.drawing = new Drawing(this);
    this.box.onchange = () => this.read();
    this.box.onkeydown = (event) => this.key(event, event.target.name ?? this.view.x);
    this.png.onclick = () => this.save();
    this.link.onclick = () => this.share();
    for (const canvas of [this.heat, this.front, this.area]) {
      Object.assign(canvas, {
        onpointermove: (event) => this.point(canvas, event),
        onpointerleave: () => this.look({}),
        onclick: (event) => this.click(canvas, event),
      });
    }
    this.front.onpointerdown = (event) => {
      this.held = this.dragging = this.drawing.place.grip(event.offsetX);
      if (!this.held) return;
      this.look({});
      this.front.setPointerCapture(event.pointerId);
    };
    this.front.onpointerup = this.front.onpointercancel = () => this.commit();
    new ResizeObserver(() => this.paint()).observe(this.box);
  }

  update({ data: sent, setStateValue, setTriggerValue }) {
    const data = decode(sent);
    const { layers, methods, proxy } = data;
    const of = (key) => Object.fromEntries(data.budgets.map((b) => [b.id, b[key]]));
    if (this.data?.id !== data.id) this.view = { ...data.init, values: of("value"), on: of("on") };
    Object.assign(this, {
      data,
      layers,
      methods,
      proxy,
      setStateValue,
      setTriggerValue,
      axes: new Map(data.axes.map((axis) => [axis.id, axis])),
    });
    if (!this.axes.has(this.view.x)) this.view.x = data.axes[0].id;
    this.drawing.forget();
    this.build();
    this.sent = this.message();
    // at once: until a frame came, the new cards and sliders would be empty
    this.draw();
    this.announce();
    this.coach();
  }

  build() {
    const { data, view, axis, log, widths } = this;
    this.sliders = Object.fromEntries(data.budgets.map((b) => {
      const node = copyOf(this.budgetShape);
      const [box, range] = node.querySelectorAll("input");
      put(node, { ".words": b.label });
      box.checked = view.on[b.id];
      Object.assign(range, { name: b.id, min: b.lo, max: b.hi, ariaLabel: b.aria });
      range.oninput = () => this.set(b.id, +range.value);
      return [b.id, { b, node, box, range }];
    }));
    this.controls.replaceChildren(...Object.values(this.sliders).map(({ node }) => node));
    this.cards.replaceChildren(...this.methods.map(({ title, path, colour, label }, method) => {
      const card = copyOf(this.cardShape);
      const mark = card.querySelector("path");
      put(card, { b: title });
      mark.setAttribute("d", path);
      mark.style.color = colour;
      return Object.assign(card, {
        onclick: () => this.focus(label),
        onpointerenter: () => this.look({ method }),
        onpointerleave: () => this.look({}),
      });
    }));
    axis.replaceChildren(...data.axes.map(({ label, id }) => new Option(label, id)));
    [axis.value, widths.value, log.checked] = [view.x, view.widths, view.log];
    this.box.classList.toggle("predicted", Boolean(this.proxy));
    this.heat.ariaLabel = data.heat;
    put(this.box, { ".front-title": data.score.title });
  }

  /** Take over what the selects and boxes say, or a slider that is let go. */
  read() {
    const { view, axis, log, widths } = this;
    Object.assign(view, { x: axis.value, log: log.checked, widths: widths.value });
    for (const { b, box } of Object.values(this.sliders)) view.on[b.id] = box.checked;
    this.paint();
    this.commit();
  }

  /** Move a budget: at once for keys and links, on the screen with the next frame. */
  set(id, value) {
    const { b, range } = this.sliders[id];
    range.value = this.view.values[id] = Math.min(b.hi, Math.max(b.lo, +value.toFixed(b.decimals)));
    this.paint();
  }

  limits({ values, on } = this.view) {
    return this.data.budgets.filter((b) => on[b.id]).map((b) => [b.id, values[b.id] * b.factor]);
  }

  /** Bits and scores of a point; null where there is none. */
  result(method, at) {
    if (!(at >= 0)) return null;
    const of = (table) => each(table, (all) => all[at]);
    const count = this.layers.length;
    const { acc, lo, hi, ids: id, runs: run } = method;
    const from = method.row[at] * count;
    const bits = (all) => from < 0 ? null : all.subarray(from, from + count);
    return {
      method,
      ...of({ acc, lo, hi, id, run }),
      cost: of(method.cost),
      w: bits(method.w),
      a: bits(method.a),
    };
  }

  /** What the solver finds, or the server has found exactly for these very limits. */
  solved(limits) {
    const { proxy, data: { settled }, methods: [method] } = this;
    const same = JSON.stringify(settled?.limits) === JSON.stringify(limits);
    const found = same ? settled : solve(proxy, limits);
    const of = (all) => Uint8Array.from(found.choice, (at) => all[at]);
    return found && { ...found, method, acc: found.score, w: of(proxy.w), a: of(proxy.a) };
  }

  /** What each method gives within the budgets, and which is in focus: chosen, else the best. */
  choose() {
    const limits = this.limits();
    const { methods, proxy, view } = this;
    this.now = methods.map((m) => proxy ? this.solved(limits) : this.result(m, pick(m, limits)));
    this.at = methods.findIndex((method) => method.label === view.focus);
    if (this.at < 0) {
      this.at = this.now.reduce(
        (best, r, at) => r && !(this.now[best]?.acc >= r.acc) ? at : best,
        0,
      );
    }
  }

  paint() {
    if (this.data) this.frame ??= requestAnimationFrame(() => this.draw());
  }

  /** Draw everything now. */
  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    if (!this.box.clientWidth) return;
    this.choose();
    this.write();
    this.drawing.draw(this);
  }

  budgetText(b) {
    return `${this.view.values[b.id].toFixed(b.decimals)} ${b.unit}`;
  }

  scoreText({ acc }) {
    return `${this.proxy ? figure(acc) : acc.toFixed(1)} ${this.data.score.unit}`;
  }

  costText(r, id) {
    const { factor, unit } = this.axes.get(id);
    return `${figure(r.cost[id] / factor)} ${unit}`;
  }

  /** The words and numbers of the budgets and of the cards. */
  write() {
    const { view, data, proxy, now } = this;
    const limits = this.limits();
    const id = limits[0]?.[0] ?? data.axes[0].id;
    for (const { range, node, b } of Object.values(this.sliders)) {
      const value = view.values[b.id];
      const on = view.on[b.id];
      const text = this.budgetText(b);
      Object.assign(range, { value, disabled: !on, ariaValueText: text });
      range.style.setProperty("--share", `${(100 * (value - b.lo)) / (b.hi - b.lo)}%`);
      put(node, {
        output: on ? text : "no limit",
        ".meaning": on ? figure(value * b.words[0]) + b.words[1] : "",
      });
    }
    const short = limits.map(([name, limit]) => [this.axes.get(name).least, limit])
      .flatMap(([least, limit]) => least.cost > limit * (1 + SLACK) ? [least.words] : []);
    const why = short.join(" ") || "Each budget alone can be met, but not both at once.";
    put(this.box, { ".note": now.some(Boolean) ? "" : `${data.nothing} ${why} Raise a budget.` });
    now.forEach((r, at) => {
      const card = this.cards.children[at];
      const gap = r?.gap ? `at most ${figure(r.gap)} above the least` : "exact";
      const range = r && (proxy ? `predicted, ${gap}` : `${r.lo.toFixed(1)} to ${r.hi.toFixed(1)}`);
      card.ariaPressed = at === this.at;
      put(card, {
        strong: r ? this.scoreText(r) : "nothing fits",
        ".detail": r ? `${range} · ${this.costText(r, id)}` : "",
      });
    });
  }

  /** Tell screen readers what each method gives. */
  announce() {
    this.choose();
    const words = (r) =>
      r
        ? [this.scoreText(r), ...this.data.budgets.map((b) => this.costText(r, b.id))].join(", ")
        : "nothing fits";
    const all = this.now.map((r, at) => `${this.methods[at].title}: ${words(r)}`);
    put(this.box, { ".summary": all.join("; ") });
  }

  /** Show in every plot what lies under the pointer, and tell it. */
  look(hover, lines = []) {
    this.hover = hover;
    put(this.box, { ".tip": lines.join("\n") });
    this.paint();
  }

  /** The measured point near a place of the front. */
  findPoint(x, y) {
    let far = REACH;
    let hover = {};
    if (!this.proxy) {
      this.methods.forEach((m, method) =>
        m.acc.forEach((acc, point) => {
          const [px, py] = this.drawing.place.spot(m, point);
          const away = Math.hypot(px - x, py - y);
          if (away < far) [far, hover] = [away, { method, point }];
        })
      );
    }
    const r = this.result(this.methods[hover.method], hover.point);
    const { axes, score } = this.data;
    return r
      ? [hover, [
        r.method.title,
        `${r.acc.toFixed(2)} % (${r.lo.toFixed(1)} to ${r.hi.toFixed(1)}, ${score.n})`,
        ...axes.map((axis) => `${axis.label}: ${this.costText(r, axis.id)}`),
      ]]
      : [hover];
  }

  /** What lies at a place of a canvas: a point, or a layer and the method whose row it is in. */
  find(canvas, { offsetX: x, offsetY: y }) {
    if (canvas === this.front) return this.findPoint(x, y);
    const { heatMap: { left, wide, rows }, edges } = this.drawing;
    const heat = canvas === this.heat;
    const row = heat ? rows.findIndex(({ end }) => y < end - 4) : -1;
    const method = row < 0 ? undefined : row;
    const layer = heat ? Math.floor((x - left) / wide) : edges.findLastIndex((edge) => x >= edge);
    const facts = this.layers[layer];
    const r = this.now[method ?? this.at];
    if (!facts) return [{ method }];
    const bits = (all) => all[layer] === FLOAT ? "float" : `${all[layer]} bits`;
    const bytes = r?.w && Math.ceil((facts.weights * r.w[layer]) / 8).toLocaleString("en-US");
    const held = bytes
      ? [
        `${r.method.title}: weights ${bits(r.w)}, activations ${bits(r.a)}`,
        `weights take ${bytes} B`,
      ]
      : [];
    return [{ layer, method }, [facts.name, ...held, ...facts.facts]];
  }

  /** The pointer moves: the budget line goes with it, or what lies under it is told. */
  point(canvas, event) {
    const { dragging: b, tip, drawing: { place } } = this;
    const around = this.box.getBoundingClientRect();
    if (b) return this.set(b.id, place.x.value(event.offsetX) / b.factor);
    this.look(...this.find(canvas, event));
    const grip = canvas === this.front && place.grip(event.offsetX);
    canvas.style.cursor = grip ? "ew-resize" : this.hover.method >= 0 ? "pointer" : "";
    const across = Math.min(event.clientX - around.left + 14, around.width - tip.offsetWidth);
    tip.style.translate = `${across}px ${event.clientY - around.top + 16}px`;
  }

  click(canvas, event) {
    // a click also ends every drag of the budget line
    if (canvas === this.front && this.held) return;
    this.point(canvas, event);
    const { method: at, point } = this.hover;
    const method = this.methods[at];
    if (point >= 0) {
      this.setTriggerValue("open", { run: method.runs[point], id: method.ids[point] });
    } else if (method) this.focus(method.label);
  }

  focus(label) {
    this.view.focus = label;
    this.commit();
  }

  key(event, id) {
    const slider = this.view.on[id] && this.sliders[id];
    const act = ACTS[event.key];
    const turn = TURNS[event.key] * (event.shiftKey ? 10 : 1);
    const odd = event.ctrlKey || event.metaKey;
    const mine = event.target.matches("[type=range], .front, .card");
    if (!mine || odd || event.altKey || (turn ? !slider : !act)) return;
    event.preventDefault();
    // the frame that shows the last key may not have come yet
    this.choose();
    if (turn) this.set(id, this.view.values[id] + turn * slider.b.step);
    else act(this);
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.commit(), IDLE_MS);
  }

  /** Have the server keep the pick in focus; nothing predicted is kept. */
  pin() {
    const { run, id } = this.now[this.at] ?? {};
    if (id !== undefined) this.setTriggerValue("pin", { run, id });
  }

  /** Set the budget to the next or previous member of the focused method's front. */
  step(turn) {
    const limited = this.limits().map(([id]) => id);
    const { x, values } = this.view;
    const id = limited.includes(x) ? x : limited[0];
    const stops = this.methods[this.at].stops[id] ?? [];
    const next = stops[stops.findLastIndex((stop) => stop <= values[id]) + turn];
    if (next !== undefined) this.set(id, next);
  }

  message({ values, on, x, focus } = this.view) {
    return JSON.stringify({ values, on, x, focus });
  }

  /** Tell the server what was set: once, when the reader lets go. */
  commit() {
    this.dragging = null;
    const message = this.message();
    clearTimeout(this.idle);
    if (message === this.sent || !this.box.isConnected) return;
    this.sent = message;
    this.draw();
    this.announce();
    this.setStateValue("commit", JSON.parse(message));
  }

  save() {
    const all = [this.heat, this.front, this.area];
    const gap = 16;
    const link = document.createElement("a");
    const width = this.box.clientWidth + 2 * gap;
    const height = all.reduce((total, canvas) => total + canvas.clientHeight + gap, gap);
    const { theme } = this.drawing;
    const pen = new Pen(document.createElement("canvas"), width, height, theme);
    let y = gap;
    pen.bar(0, 0, width, height, theme.paper);
    for (const canvas of all) {
      pen.ink.drawImage(canvas, gap, y, canvas.clientWidth, canvas.clientHeight);
      y += canvas.clientHeight + gap;
    }
    Object.assign(link, { href: pen.canvas.toDataURL(), download: this.data.file }).click();
  }

  async share() {
    const done = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    this.link.textContent = done ? "Copied" : "Copy it from the address bar";
    setTimeout(() => {
      this.link.textContent = "Copy link";
    }, 2000);
  }

  /** Three hints for a first visit; what was read stays read in this browser. */
  coach(read) {
    const { hint, data: { hints } } = this;
    const [next, dismiss] = hint.querySelectorAll("button");
    let at = hints.length;
    try {
      if (read) localStorage.setItem(HINTS, read);
      at = +localStorage.getItem(HINTS);
    } catch { /* a browser that keeps nothing would show them for ever */ }
    if ((hint.hidden = this.proxy || at >= hints.length)) return;
    put(hint, {
      ".count": `${at + 1} of ${hints.length}`,
      ".words": hints[at],
      ".next": at + 1 < hints.length ? "Next" : "Got it",
    });
    [this.controls, this.heatPart, this.pair][at].after(hint);
    next.onclick = () => {
      this.coach(at + 1);
      next.focus();
    };
    dismiss.onclick = () => this.coach(hints.length);
  }
}

const alive = new WeakMap();

/** What Streamlit calls: once when the component appears, and again with new data or colours. */
export default function mount(component) {
  const root = component.parentElement;
  if (!alive.get(root)?.box.isConnected) alive.set(root, new Explorer(root));
  alive.get(root).update(component);
}
