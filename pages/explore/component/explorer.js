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
    for (const kind of ["png", "svg"]) this[kind].onclick = () => save(this, kind);
    this.link.onclick = () => this.share();
    this.areaPart.ontoggle = () => this.paint();
    this.gap.onclick = () => this.setTriggerValue("gap", this.searched);
    for (const canvas of [this.heat, this.front, this.area]) {
      Object.assign(canvas, {
        onpointermove: (event) => this.point(canvas, event),
        onpointerleave: () => this.look({}),
        onclick: (event) => this.click(canvas, event),
      });
    }
    this.front.onpointerdown = (event) => {
      this.held = this.dragging = this.drawing.place.grip(event.offsetX, event.offsetY);
      if (!this.held) return;
      this.look({});
      this.front.setPointerCapture(event.pointerId);
    };
    this.front.onpointerup = this.front.onpointercancel = () => this.commit();
    new ResizeObserver(() => this.paint()).observe(this.box);
    addEventListener("bitdial:ask", () => {
      this.said = null;
      if (this.now && this.box.isConnected) this.tell();
    });
  }

  update({ data: sent, setStateValue, setTriggerValue }) {
    const data = decode(sent);
    const { layers, methods, proxy } = data;
    const dials = [...data.budgets, ...data.losses];
    const of = (key) => Object.fromEntries(dials.map((b) => [b.id, b[key]]));
    if (this.data?.id !== data.id) this.view = { ...data.init, values: of("value"), on: of("on") };
    Object.assign(this, {
      data,
      layers,
      methods,
      proxy,
      setStateValue,
      setTriggerValue,
      dials,
      axes: new Map(data.axes.map((axis) => [axis.id, axis])),
      ys: new Map(data.ys.map((height) => [height.id, height])),
    });
    if (!this.axes.has(this.view.x)) this.view.x = data.axes[0].id;
    if (!this.ys.has(this.view.y)) this.view.y = data.y;
    this.unit = this.view.on.nats || !("points" in of("on")) ? "nats" : "points";
    this.drawing.forget();
    this.build();
    this.sent = this.message();
    // at once: until a frame came, the new cards and sliders would be empty
    this.draw();
    this.announce();
    this.coach();
  }

  build() {
    const { data, view, axis, height, log, widths } = this;
    this.sliders = Object.fromEntries(this.dials.map((b) => {
      const node = copyOf(this.budgetShape);
      const [box, range] = node.querySelectorAll("input");
      put(node, { ".words": b.label });
      box.checked = view.on[b.id];
      const unit = node.querySelector("select");
      unit.hidden = Boolean(b.words) || data.losses.length < 2;
      unit.replaceChildren(...data.losses.map((loss) => new Option(loss.unit, loss.id)));
      unit.value = b.id;
      unit.onchange = (event) => this.measureIn(event, unit.value);
      Object.assign(range, { name: b.id, min: b.lo, max: b.hi, ariaLabel: b.aria });
      range.oninput = () => this.set(b.id, +range.value);
      return [b.id, { b, node, box, range }];
    }));
    this.controls.replaceChildren(...Object.values(this.sliders).map(({ node }) => node));
    this.cards.replaceChildren(...this.methods.map((_, slot) => {
      const card = copyOf(this.cardShape);
      return Object.assign(card, {
        onclick: () => this.focus(this.methods[this.order[slot]].label),
        onpointerenter: () => this.look({ method: this.order[slot] }),
        onpointerleave: () => this.look({}),
      });
    }));
    axis.replaceChildren(...data.axes.map(({ label, id }) => new Option(label, id)));
    height.replaceChildren(...data.ys.map(({ label, id }) => new Option(label, id)));
    height.hidden = data.ys.length < 2;
    [axis.value, height.value, widths.value] = [view.x, view.y, view.widths];
    log.checked = view.log;
    this.box.classList.toggle("predicted", Boolean(this.proxy));
    this.heat.ariaLabel = data.heat;
    put(this.box, { ".front-title": data.score.title });
  }

  /** Take over what the selects and boxes say, or a slider that is let go. */
  read() {
    const { view, axis, height, log, widths } = this;
    Object.assign(view, { x: axis.value, y: height.value, log: log.checked, widths: widths.value });
    for (const { b, box } of Object.values(this.sliders)) {
      // a loss in points is a line of the axis of losses
      if (b.id === "points" && box.checked && !view.on.points) view.y = height.value = "loss";
      view.on[b.id] = box.checked;
    }
    this.paint();
    this.commit();
  }

  /** Accept a loss in the other unit; what a select changes is no slider that is let go. */
  measureIn(event, unit) {
    event.stopPropagation();
    const { view, sliders, height } = this;
    const [on, other] = [view.on[this.unit], this.unit];
    Object.assign(view.on, { [other]: false, [unit]: on });
    for (const name of [other, unit]) sliders[name].box.checked = view.on[name];
    for (const name of [other, unit]) sliders[name].node.querySelector("select").value = name;
    this.unit = unit;
    const y = unit === "nats" ? "divergence" : "loss";
    if (on && this.ys.has(y)) view.y = height.value = y;
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

  /** The loss that is accepted, with its unit; null where any is. */
  within({ on, values } = this.view) {
    const unit = on.points ? "points" : "nats";
    return on[unit] && !this.proxy ? { unit, value: values[unit] } : null;
  }

  /** Bits and scores of a point, with what it promises to lose at most; null where there is none. */
  result(method, at, bound) {
    if (!(at >= 0)) return null;
    const of = (table) => each(table, (all) => all[at]);
    const count = this.layers.length;
    const { ids: id, runs: run, absolute, tested, pair, slost, serror, input, n, value } = method;
    const from = method.row[at] * count;
    const bits = (all) => from < 0 ? null : all.subarray(from, from + count);
    return {
      method,
      bound,
      ...of({ id, run, absolute, tested, pair, slost, serror, input, n, value }),
      y: of(method.y),
      low: method.low.loss[at],
      high: method.high.loss[at],
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
    const y = { damage: found?.score };
    return found && { ...found, method, y, w: of(proxy.w), a: of(proxy.a) };
  }

  /** What a method gives: the best within the budgets, or the smallest within the loss. */
  chosen(method, limits, within) {
    if (this.proxy) return this.solved(limits);
    if (!within) return this.result(method, pick(method, limits));
    return this.result(method, ...smallest(method, within, this.view.x, limits));
  }

  /** What each method gives, in which order it is shown, and which is in focus: chosen, or first. */
  choose() {
    const { methods, proxy, view } = this;
    const [limits, within] = [this.limits(), this.within()];
    this.now = methods.map((method) => this.chosen(method, limits, within));
    const found = this.now.filter(Boolean);
    const same = proxy ? [] : tied(found, this.data.pairs);
    this.equal = new Set(found.filter((_, at) => same[at]).map(({ method }) => method));
    const rank = (r) => {
      if (!r) return [3, 0, 0];
      const lost = proxy ? r.y.damage : within ? r.cost[view.x] : r.y.loss;
      const group = Number.isNaN(lost) ? 2 : within || this.equal.has(r.method) ? 0 : 1;
      // what only the search split has seen comes after what was tested
      return [group, proxy || r.tested ? 0 : 1, group === 2 ? -r.y.score : lost];
    };
    const ranks = this.now.map(rank);
    const apart = (a, b) => ranks[a].reduce((sofar, value, k) => sofar || value - ranks[b][k], 0);
    this.order = methods.map((_, at) => at).sort((a, b) => apart(a, b) || a - b);
    this.at = methods.findIndex((method) => method.label === view.focus);
    if (this.at < 0) this.at = this.order[0];
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
    this.tell();
  }

  /** Tell other pictures on the page which bits are in focus; they follow without the server. */
  tell() {
    const { w, a, method } = this.now[this.at] ?? {};
    const detail = {
      model: this.data.model,
      weight: [...w ?? []],
      activation: [...a ?? []],
      title: method?.title,
    };
    const said = JSON.stringify(detail);
    if (!w || said === this.said) return;
    this.said = said;
    dispatchEvent(new CustomEvent("bitdial:allocation", { detail }));
  }

  budgetText(b) {
    return `${this.view.values[b.id].toFixed(b.decimals)} ${b.unit}`;
  }

  /** The words and numbers of the dials and of the rows. */
  write() {
    const { view, data, proxy, now, cards, methods, order } = this;
    const [limits, within] = [this.limits(), this.within()];
    const id = within ? view.x : limits[0]?.[0] ?? data.axes[0].id;
    for (const { range, node, b } of Object.values(this.sliders)) {
      const value = view.values[b.id];
      const on = view.on[b.id];
      const text = this.budgetText(b);
      const loss = !b.words;
      node.classList.toggle("off", !on);
      node.hidden = loss && (Boolean(proxy) || b.id !== this.unit);
      Object.assign(range, { value, disabled: !on, ariaValueText: text });
      range.style.setProperty("--share", `${(100 * (value - b.lo)) / (b.hi - b.lo)}%`);
      const meaning = loss ? "with 95 % confidence" : figure(value * b.words?.[0]) + b.words?.[1];
      put(node, { output: on ? text : "no limit", ".meaning": on ? meaning : "" });
    }
    const short = limits.map(([name, limit]) => [this.axes.get(name).least, limit])
      .flatMap(([least, limit]) => least.cost > limit * (1 + SLACK) ? [least.words] : []);
    const budgets = `${short.join(" ") || "Each budget alone can be met, but not both at once."} ` +
      "Raise a budget.";
    const shown = within &&
      methods.some((method) => smallest(method, within, view.x, [])[0] >= 0);
    const why = within && !short.length
      ? shown
        ? "Within these budgets no tested point is shown to lose so little. Raise a budget."
        : "No tested point is shown to lose so little. Accept more, or have more points tested."
      : `${data.nothing} ${budgets}`;
    put(this.box, { ".note": now.some(Boolean) ? "" : why });
    put(this.box, { ".ties": tiesText(this, within) });
    order.forEach((at, slot) => {
      const r = now[at];
      const card = cards.children[slot];
      const { title, path, colour, label } = methods[at];
      card.ariaPressed = at === this.at;
      card.classList.toggle("tied", Boolean(r && !within && this.equal.has(r.method)));
      if (card.dataset.method !== label) {
        card.dataset.method = label;
        const mark = card.querySelector("path");
        mark.setAttribute("d", path);
        mark.style.color = colour;
      }
      put(card, {
        b: title,
        strong: r ? scoreText(this, r) : within ? "none" : "nothing fits",
        ".detail": r ? detailText(this, r, id) : "",
      });
    });
    offerGap(this);
  }

  /** Tell screen readers what each method gives. */
  announce() {
    this.choose();
    const words = (r) =>
      r
        ? [scoreText(this, r), ...this.data.budgets.map((b) => costText(this, r, b.id))].join(", ")
        : "nothing fits";
    const all = this.order.map((at) => `${this.methods[at].title}: ${words(this.now[at])}`);
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
        m.ids.forEach((_, point) => {
          const [px, py] = this.drawing.place.spot(m, point);
          const away = Math.hypot(px - x, py - y);
          if (away < far) [far, hover] = [away, { method, point }];
        })
      );
    }
    const r = this.result(this.methods[hover.method], hover.point);
    return r ? [hover, tipOf(this, r)] : [hover];
  }

  /** What lies at a place of a canvas: a point, or a layer and the method whose row it is in. */
  find(canvas, { offsetX: x, offsetY: y }) {
    if (canvas === this.front) return this.findPoint(x, y);
    const { heatMap: { wide, tall }, edges } = this.drawing;
    const heat = canvas === this.heat;
    const method = heat ? this.order[Math.floor(y / tall)] : undefined;
    const layer = heat ? Math.floor(x / wide) : edges.findLastIndex((edge) => x >= edge);
    const facts = this.layers[layer];
    const r = this.now[method ?? this.at];
    if (!facts) return [{ method }];
    const bits = (all) => widthWords(this.data, all[layer]);
    const bytes = r?.w && weightBytes(this.data, facts.weights, r.w[layer]);
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
    if (b) {
      const at = b.words ? place.x.value(event.offsetX) : place.y.value(event.offsetY);
      return this.set(b.id, at / b.factor);
    }
    this.look(...this.find(canvas, event));
    const grip = canvas === this.front && place.grip(event.offsetX, event.offsetY);
    canvas.style.cursor = grip
      ? (grip.words ? "ew-resize" : "ns-resize")
      : this.hover.method >= 0
      ? "pointer"
      : "";
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

  message({ values, on, x, y, focus } = this.view) {
    return JSON.stringify({ values, on, x, y, focus });
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
