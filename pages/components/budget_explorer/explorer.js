// The budget explorer on the page: controls, pointer, keys, and what the server is told on release.
// Names of layers and methods may hold anything: they reach the page as text only.

const el = (tag, attributes = {}, ...kids) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node[name] = value;
    else if (value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...kids);
  return node;
};

/** One explorer on the page. `update` takes new data and keeps what the reader has set. */
export class Explorer extends Drawing {
  constructor(root) {
    super();
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
    Object.assign(this, { data, setStateValue, setTriggerValue, fronts: {}, still: {}, names: null,
      tiles: new Map() });
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
    this.faint = getComputedStyle(this.areaNote).color;
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
      label(range, "aria-valuetext", words);
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
      label(card, "aria-pressed", at === focus);
      write(score, r ? this.scoreText(r) : "nothing fits");
      write(detail, !r ? "" : this.proxy
        ? `predicted, ${r.gap > 1e-9 * Math.abs(r.acc) ? `at most ${figure(r.gap, 2)} above the least` : "exact"} · ${this.costText(r, id)}`
        : `${r.lo.toFixed(1)} to ${r.hi.toFixed(1)} · ${this.costText(r, id)}`);
    });
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
