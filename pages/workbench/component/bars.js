// The picture of the bits on the page: bars, pointer, keys, locks, and what the server is told.
// Names of layers may hold anything: they reach the page as text only.

const LEAST = 56;
const NARROWEST = 14;
const THINNEST = 4;
const ROOMY = 54;
const IDLE_MS = 150;
const WORDS = { weight: "weights", activation: "activations" };
const WHOLE = { weight: "weights", activation: "multiply-accumulates" };
const AROUND = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 };
const TURNS = { ArrowUp: 1, ArrowDown: -1 };

/** Names of widths, the same for every network; filled with the first one's. */
const NAMES = {};
const short = (bits) => NAMES[bits] ?? `${bits}`;
const bitsText = (bits) =>
  !/^\d+$/.test(short(bits)) ? short(bits) : bits === 1 ? "1 bit" : `${bits} bits`;
const say = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
/** A name short enough to stand under a bar: "layer1.0.conv1" is "l1.0.conv1". */
const tag = (name) => {
  const parts = name.split(".");
  const first = (word) => [...word][0] + (word.match(/\d+$/)?.[0] ?? "");
  return parts.map((word, at) => at < parts.length - 1 && word.length > 3 ? first(word) : word)
    .join(".");
};
const copyOf = (bits) => ({ weight: [...bits.weight], activation: [...bits.activation] });

/** The bars of one network. `update` takes new data; what the reader has not yet let go of stays. */
export class Bars {
  constructor(root) {
    this.box = root.querySelector(".bench");
    for (const node of this.box.querySelectorAll("[data-as]")) this[node.dataset.as] = node;
    this.part = "weight";
    this.focus = 0;
    this.hover = -1;
    this.parts.onchange = (event) => {
      this.part = event.target.value;
      this.draw();
    };
    this.down.onclick = () => this.take(this.moves.down);
    this.up.onclick = () => this.take(this.moves.up);
    new ResizeObserver(() => this.paint()).observe(this.box);
    // other pictures of the same network on the page
    this.hears("bitdial:edit", ({ layer, weight, activation }) => {
      if (layer === undefined) return;
      for (const [part, bits] of Object.entries({ weight, activation })) {
        if (bits !== undefined) this.set(layer, bits, part);
      }
    });
    this.hears("bitdial:lock", ({ layer, locked }) => {
      if (layer !== undefined) this.lock(layer, Boolean(locked));
    });
    this.hears("bitdial:ask", () => {
      this.told = "";
      this.tell();
    });
  }

  /** Do something when another picture of the network edits it, for as long as this one is there. */
  hears(name, act) {
    const listen = ({ detail }) => {
      if (!this.box.isConnected) return window.removeEventListener(name, listen);
      if (!this.data || detail?.model !== this.data.model) return;
      const { layer } = detail;
      if (layer === undefined || (Number.isInteger(layer) && this.slots[layer])) act(detail);
    };
    window.addEventListener(name, listen);
  }

  update({ data, setTriggerValue }) {
    const known = this.data?.model === data.model;
    Object.assign(NAMES, data.names);
    Object.assign(this, { data, setTriggerValue });
    if (!known) {
      this.number = data.heard;
      this.waiting = false;
      this.build();
    }
    // an edit that the server has not heard of is newer than what it sends
    if (!this.waiting && !this.held && data.heard >= this.number) {
      this.number = data.heard;
      this.bits = copyOf(data.now);
      this.locked = data.layers.map(({ locked }) => locked);
    }
    this.rule();
    this.draw();
  }

  build() {
    const { data: { layers } } = this;
    this.ruled = "";
    this.slots = layers.map(({ name }, layer) => {
      const node = this.shape.content.firstElementChild.cloneNode(true);
      const part = (selector) => node.querySelector(selector);
      const column = {
        node,
        track: part(".track"),
        bar: part(".bar"),
        digit: part(".digit"),
        start: part(".start"),
        grip: part(".grip"),
        lock: part(".lock"),
        more: part(".more"),
        less: part(".less"),
      };
      const { track, lock, more, less } = column;
      say(part(".name"), tag(name));
      node.title = name;
      Object.assign(track, {
        onpointerdown: (event) => this.grab(event, layer),
        onpointermove: (event) => this.drag(event),
        onpointerup: () => this.drop(),
        onpointercancel: () => this.giveUp(),
        onkeydown: (event) => this.key(event, layer),
        onfocus: () => this.look(layer),
      });
      node.onpointerenter = () => this.look(layer, true);
      node.onpointerleave = () => this.look(-1, true);
      lock.onclick = () => this.lock(layer);
      more.onclick = () => this.take(stepOf(this.data, this.bits, this.part, layer, 1));
      less.onclick = () => this.take(stepOf(this.data, this.bits, this.part, layer, -1));
      return column;
    });
    this.laid = "";
    this.columns.replaceChildren(...this.slots.map(({ node }) => node));
    this.focus = Math.min(this.focus, layers.length - 1);
  }

  /** Have a level for every width in use, beside the usual ones. */
  rule() {
    const ladder = ladderOf(this.data, this.bits);
    this.data = { ...this.data, ladder };
    if (this.ruled === ladder.join()) return;
    this.ruled = ladder.join();
    this.box.style.setProperty("--levels", ladder.length);
    this.scale.replaceChildren(...ladder.map((bits, at) => {
      const mark = document.createElement("span");
      mark.textContent = short(bits);
      mark.style.bottom = `calc(${at + 1} * var(--level))`;
      return mark;
    }));
    for (const column of this.slots) column.drawn = "";
  }

  /** Give a layer other bits, unless it is locked; the server hears when the hands rest. */
  set(layer, bits, part = this.part) {
    const { widths, inputs } = this.data;
    const able = part === "activation" ? inputs : widths;
    if (this.locked[layer] || !able.includes(bits)) return;
    if (this.bits[part][layer] === bits) return;
    this.bits[part][layer] = bits;
    // while a bar is held the levels stay where the pointer found them
    if (!this.held) this.rule();
    this.paint();
    if (!this.held) this.later();
  }

  lock(layer, to = !this.locked[layer]) {
    this.locked[layer] = to;
    this.paint();
    this.later();
  }

  take(step) {
    if (!step) return;
    this.set(step.layer, step.to);
    this.draw();
  }

  grab(event, layer) {
    if (event.button) return;
    const from = this.bits[this.part][layer];
    this.slots[layer].track.focus({ preventScroll: true });
    if (this.locked[layer]) return;
    this.held = { layer, from, y: event.clientY };
    this.slots[layer].track.setPointerCapture(event.pointerId);
  }

  drag(event) {
    if (!this.held) return;
    const { layer, from, y } = this.held;
    const { ladder } = this.data;
    const tall = this.slots[layer].track.clientHeight / ladder.length;
    const place = ladder.indexOf(from) + Math.round((y - event.clientY) / tall);
    this.set(layer, ladder[Math.min(ladder.length - 1, Math.max(0, place))]);
  }

  drop() {
    if (!this.held) return;
    const { layer, from } = this.held;
    this.held = null;
    if (this.bits[this.part][layer] !== from) this.commit();
    this.paint();
  }

  /** The browser took the finger for a scroll: nothing was meant. */
  giveUp() {
    if (!this.held) return;
    const { layer, from } = this.held;
    this.bits[this.part][layer] = from;
    this.held = null;
    this.paint();
  }

  key(event, layer) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const turn = TURNS[event.key];
    const away = AROUND[event.key];
    if (!turn && !away && event.key !== " ") return;
    event.preventDefault();
    if (away) {
      const next = Math.min(this.slots.length - 1, Math.max(0, layer + away));
      this.slots[next].track.focus();
    } else if (turn) {
      const { ladder } = this.data;
      const next = ladder[ladder.indexOf(this.bits[this.part][layer]) + turn];
      if (next !== undefined) this.set(layer, next);
    } else this.lock(layer);
    // the next key, and a reader of the screen, must find it there
    this.draw();
  }

  /** Tell of a layer below the bars: the one under the pointer, else the one in focus. */
  look(layer, pointed = false) {
    if (pointed) this.hover = layer;
    else this.focus = layer;
    this.paint();
  }

  later() {
    this.waiting = true;
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.commit(), IDLE_MS);
  }

  /** Tell the server what the bits and locks are now. */
  commit() {
    clearTimeout(this.idle);
    this.waiting = false;
    if (!this.box.isConnected) return;
    this.number++;
    this.draw();
    this.announce();
    const { number, bits, locked, data: { model } } = this;
    this.setTriggerValue("edit", { model, number, ...copyOf(bits), locked: [...locked] });
  }

  paint() {
    if (this.data) this.frame ??= requestAnimationFrame(() => this.draw());
  }

  /** Draw everything now. */
  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    const { data, bits, part } = this;
    this.damage = totalDamage(data, bits);
    this.moves = bestMoves(data, bits, part, this.locked);
    this.lay();
    this.columns.ariaLabel = `${WORDS[part]} bits of each layer: arrows left and right choose a ` +
      "layer, up and down change its bits, space locks it";
    this.slots.forEach((column, layer) => this.drawColumn(column, layer));
    this.drawFacts();
    this.drawMoves();
    say(this.detail, this.detailText());
    say(this.words, data.prediction.words);
    this.tell();
  }

  /** Give every column its room: bars are as wide as their share. */
  lay() {
    const { part, data: { costs, widths, layers } } = this;
    const width = Math.max(this.columns.parentElement.clientWidth, NARROWEST * layers.length);
    if (this.laid === `${part} ${width}`) return;
    this.laid = `${part} ${width}`;
    const eight = widths.indexOf(8);
    const sizes = costs[part].prices.map((price) => part === "weight" ? price[eight] : price);
    const whole = sizes.reduce((sum, size) => sum + size, 0) || 1;
    this.shares = sizes.map((size) => size / whole);
    const least = Math.max(NARROWEST, Math.min(LEAST, 0.62 * width / layers.length));
    const scale = barScale(this.shares, width, least);
    this.slots.forEach((column, layer) => {
      const { node, bar } = column;
      const wide = this.shares[layer] * scale;
      const room = Math.max(least, wide);
      Object.assign(column, { drawn: "", roomy: room >= ROOMY, thick: wide > 18 });
      node.classList.toggle("narrow", !column.roomy);
      node.style.width = `${room}px`;
      bar.style.width = `${Math.max(THINNEST, wide - 2)}px`;
    });
  }

  /** Draw a layer, unless it stands there already as it is. */
  drawColumn(column, layer) {
    const { data, part, bits: { [part]: all } } = this;
    const { node, track, bar, digit, start, grip, lock } = column;
    const bits = all[layer];
    const before = data.start[part][layer];
    const locked = this.locked[layer];
    const held = this.held?.layer === layer;
    const mine = layer === this.focus;
    if (column.roomy) this.drawSteps(column, layer);
    const state = [part, bits, before, locked, held, mine].join();
    if (column.drawn === state) return;
    column.drawn = state;
    const { ladder, colours, layers: { [layer]: { name } } } = data;
    const level = ladder.indexOf(bits) + 1;
    const [colour, ink] = colours[bits];
    const top = `calc(${level} * var(--level))`;
    node.classList.toggle("float", bits === FLOAT);
    node.classList.toggle("locked", locked);
    node.classList.toggle("held", held);
    Object.assign(bar.style, { height: top, backgroundColor: colour, color: ink });
    grip.style.bottom = top;
    say(digit, column.thick ? short(bits) : "");
    start.hidden = before === bits;
    start.style.bottom = `calc(${ladder.indexOf(before) + 1} * var(--level) - 1px)`;
    Object.assign(track, {
      tabIndex: mine ? 0 : -1,
      ariaLabel: `${name}, ${WORDS[part]}`,
      ariaValueMax: ladder.length,
      ariaValueNow: level,
      ariaValueText: bitsText(bits) + (locked ? ", locked" : ""),
    });
    Object.assign(lock, {
      ariaPressed: locked,
      ariaLabel: `Lock ${name}`,
      title: locked ? "Locked: click to let it change" : "Lock",
    });
  }

  /** What one step more and one less cost and are worth, where there is room to say it. */
  drawSteps({ more, less }, layer) {
    const { data, part, locked } = this;
    const { name } = data.layers[layer];
    [[more, 1], [less, -1]].forEach(([button, turn]) => {
      const step = stepOf(data, this.bits, part, layer, turn);
      const [to, cost, worth] = button.children;
      button.disabled = !step || locked[layer];
      say(to, step ? `${turn > 0 ? "\u25b2" : "\u25bc"} ${short(step.to)}` : "");
      say(cost, step ? this.costChange(step) : "");
      say(worth, step ? this.worth(step) : "");
      const words = step ? this.stepText(step) : "no further";
      if (button.title === words) return;
      Object.assign(button, { title: words, ariaLabel: `${name}: ${words}` });
    });
  }

  costChange({ cost }) {
    return signed(cost, (size) => costText(this.data.costs[this.part], size));
  }

  /** What a step does to the loss: in lost score where measured points tell, else as damage. */
  worth({ damage }, unit = this.data.prediction.lost?.[1]) {
    if (damage === null) return "?";
    const { loss, unit: nats } = this.data.prediction;
    const from = lossAt(loss, this.damage);
    const to = this.damage === null ? null : lossAt(loss, this.damage + damage);
    return from && to
      ? `${points(to.mean - from.mean)} ${unit}`
      : `${signed(damage, tiny)} ${nats}`;
  }

  stepText(step) {
    const { unit, lost } = this.data.prediction;
    const to = `to ${bitsText(step.to)}: ${this.costChange(step)}`;
    if (step.damage === null) return `${to}, worth not known`;
    const worth = this.worth(step, lost[0]);
    const damage = `${signed(step.damage, tiny)} ${unit}`;
    return worth === damage ? `${to}, ${worth}` : `${to}, ${worth} (${damage})`;
  }

  drawFacts() {
    const { data, bits } = this;
    const put = (name, part) => {
      const fact = this.box.querySelector(`.${name}`);
      const cost = data.costs[part];
      const now = totalCost(data, part, bits);
      const before = totalCost(data, part, data.start);
      const change = now === before
        ? "as it began"
        : `${signed(now - before, (size) => costText(cost, size))}, ` +
          `${signed(100 * (now - before) / before, (size) => size.toFixed(1))} %`;
      say(fact.children[0], cost.title);
      say(fact.children[1], costText(cost, now));
      say(fact.children[2], change);
      fact.title = `${now.toLocaleString("en-US")} ${cost.unit}`;
    };
    put("bytes", "weight");
    put("ops", "activation");
    const fact = this.box.querySelector(".loss");
    const [text, more] = this.lossText();
    say(fact.children[1], text);
    say(fact.children[2], more);
    fact.title = this.damage === null ? "" : `${tiny(this.damage)} ${data.prediction.unit}`;
  }

  /** The predicted loss of these bits, and what stands below it. */
  lossText() {
    const { damage, data: { prediction } } = this;
    if (!prediction.damage) return ["\u2013", "not predicted"];
    if (damage === null) return ["\u2013", "not known at these bits"];
    const found = lossAt(prediction.loss, damage);
    const nats = `${tiny(damage)} ${prediction.unit}`;
    if (!found) {
      const why = prediction.loss ? "more than was ever measured" : "no measured points to tell it";
      return [nats, why];
    }
    const { mean, low, high } = found;
    const range = `${points(low, "")} to ${points(high, "")}`;
    const sure = isGuessed(this.data, this.bits) ? "predicted, in part interpolated" : "predicted";
    return [`${points(mean, "")} ${prediction.lost[0]}`, `${range}, ${sure}`];
  }

  /** What a move does to the loss, in words that say which way. */
  effect({ damage }) {
    const { loss, unit, lost } = this.data.prediction;
    const way = damage > 0 ? "more" : "less";
    const from = lossAt(loss, this.damage);
    const to = this.damage === null ? null : lossAt(loss, this.damage + damage);
    if (!from || !to) return `${tiny(Math.abs(damage))} ${unit} ${way} damage`;
    return `${points(Math.abs(to.mean - from.mean), "")} ${lost[0]} ${way} loss`;
  }

  drawMoves() {
    const { layers, costs } = this.data;
    for (const [name, word] of [["down", "saves"], ["up", "costs"]]) {
      const step = this.moves[name];
      const price = step && costText(costs[this.part], Math.abs(step.cost));
      const text = step
        ? `${layers[step.layer].name} ${short(step.from)} \u2192 ${short(step.to)} ${word} ` +
          `${price} for ${this.effect(step)}`
        : `no step ${name} is predicted`;
      this[name].disabled = !step;
      this[name].title = step ? this.stepText(step) : "";
      say(this[name], text);
    }
  }

  detailText() {
    const { data, bits, part } = this;
    const layer = this.hover >= 0
      ? this.hover
      : this.box.matches(":focus-within")
      ? this.focus
      : -1;
    if (layer < 0) {
      return "Drag the top of a bar, or use the arrow keys; a bar is as wide as its layer's share of " +
        `${WHOLE[part]}. Locked layers stay as they are.`;
    }
    const { name, kind } = data.layers[layer];
    const cost = layerCost(data, part, layer, bits.weight[layer], bits.activation[layer]);
    const steps = [-1, 1].map((turn) => stepOf(data, bits, part, layer, turn)).filter(Boolean);
    const parts = Object.keys(WORDS).map((key) => `${WORDS[key]} ${bitsText(bits[key][layer])}`);
    return `${name} (${kind}): ${parts.join(", ")}; ${costText(data.costs[part], cost)}, ` +
      `${(100 * this.shares[layer]).toFixed(1)} % of ${WHOLE[part]}. ` +
      `Next ${steps.map((step) => this.stepText(step)).join("; ")}.`;
  }

  /** Tell screen readers what the edit came to. */
  announce() {
    const [text, more] = this.lossText();
    const cost = ["weight", "activation"].map((part) => {
      const priced = this.data.costs[part];
      return `${priced.title} ${costText(priced, totalCost(this.data, part, this.bits))}`;
    });
    say(this.said, `${cost.join(", ")}, predicted loss ${text}, ${more}`);
  }

  /** Tell other pictures of the network on this page. */
  tell() {
    const { data: { model, title }, bits, locked } = this;
    const message = JSON.stringify([model, bits, title, locked]);
    if (message === this.told) return;
    this.told = message;
    const detail = { model, ...copyOf(bits), title, locked: [...locked] };
    window.dispatchEvent(new CustomEvent("bitdial:allocation", { detail }));
  }
}

const alive = new WeakMap();

/** What Streamlit calls: once when the component appears, and again with new data or colours. */
export default function mount(component) {
  const root = component.parentElement;
  if (!alive.get(root)?.box.isConnected) alive.set(root, new Bars(root));
  alive.get(root).update(component);
}
