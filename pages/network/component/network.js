// A network on the page: only what is in view is in the document; bits follow whoever changes them.

const ALLOCATION = "bitdial:allocation";
const ASK = "bitdial:ask";
const BEYOND = 200;
const ZOOMS = [0.1, 4];
const [FAR, READABLE] = [0.5, 0.8];
const KEYS = {
  ArrowDown: (net) => net.move(1),
  ArrowUp: (net) => net.move(-1),
  ArrowRight: (net) => net.aside(1),
  ArrowLeft: (net) => net.aside(-1),
  Home: (net) => net.move(-1e6),
  End: (net) => net.move(1e6),
  Enter: (net) => net.choose(net.active),
  " ": (net) => net.choose(net.active),
  "+": (net) => net.zoom(1.25),
  "=": (net) => net.zoom(1.25),
  "-": (net) => net.zoom(0.8),
  0: (net) => net.zoomTo(1),
  f: (net) => net.fitAll(),
};

/** The bits somebody on the page told last, by model: a picture may appear after they were told. */
const told = new Map();

/** What a reader chose in a picture, by model: a rerun of the page may build it anew. */
const kept = new Map();

const isBits = (all, count) =>
  Array.isArray(all) && all.length === count && all.every((bits) => Number.isInteger(bits));

export class Network {
  constructor(root) {
    this.box = root.querySelector(".network");
    for (const node of this.box.querySelectorAll("[data-as]")) this[node.dataset.as] = node;
    this.scale = 1;
    this.active = 0;
    this.chosen = -1;
    this.live = new Map();
    this.measure.onchange = () => this.recolour();
    this.less.onclick = () => this.zoom(0.8);
    this.more.onclick = () => this.zoom(1.25);
    this.fit.onclick = () => this.fitAll();
    this.plain.onclick = () => this.zoomTo(1);
    this.view.onscroll = () => this.later();
    this.view.onkeydown = (event) => this.key(event);
    this.view.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.view.onclick = (event) => this.choose(this.layerOf(event.target));
    this.drag();
    new ResizeObserver(() => this.resized()).observe(this.view);
    this.hear = (event) => this.told(event.detail);
    globalThis.addEventListener(ALLOCATION, this.hear);
  }

  update({ data, setTriggerValue }) {
    const other = this.data?.id !== data.id;
    Object.assign(NAMES, data.names);
    Object.assign(SIZES, data.stored);
    Object.assign(this, { data, setTriggerValue, locked: data.locked });
    const stamp = JSON.stringify([data.id, data.bits, data.locked]);
    const sent = stamp !== this.stamp;
    if (sent) {
      this.stamp = stamp;
      // what was told before this picture was there; what the server has in hand comes first
      [this.bits, this.name] = data.bits ? [data.bits, data.title] : [null, ""];
      if (!data.bits && told.has(data.id)) this.take(told.get(data.id));
    }
    this.byLayer = [];
    this.data.nodes.forEach((node, at) => {
      if (node.layer >= 0) this.byLayer[node.layer] = at;
    });
    this.note.textContent = data.note;
    this.measure.options[1].disabled = !data.damage;
    if (!data.damage) this.measure.value = "bytes";
    this.view.ariaLabel = `${data.layers.length} layers in execution order`;
    for (const node of this.live.values()) node.remove();
    this.live.clear();
    this.paths.replaceChildren();
    this.drawn = new Map();
    if (other) {
      const { active = 0, chosen = -1, scale = 0, spot = [0, 0] } = kept.get(data.id) ?? {};
      Object.assign(this, { active, chosen, scale: scale || 1, spot, first: !scale });
    }
    this.recolour();
    this.resized();
    // who holds newer bits or locks than the server tells them again
    if (sent) {
      globalThis.dispatchEvent(new CustomEvent(ASK, { detail: { model: data.id } }));
    }
  }

  /** Somebody on the page has told bits; those of another network are not for this one. */
  told(detail) {
    if (!this.box.isConnected) return globalThis.removeEventListener(ALLOCATION, this.hear);
    if (detail?.model !== this.data?.id) return;
    if (this.take(detail)) this.soon();
  }

  take({ weight, activation, title, locked }) {
    const count = this.data.layers.length;
    if (!isBits(weight, count) || !isBits(activation, count)) return false;
    if (Array.isArray(locked) && locked.length === count) this.locked = locked.map(Boolean);
    this.bits = { weight, activation };
    this.name = typeof title === "string" ? title : "";
    return true;
  }

  /** Bits of a layer, or null where nothing is in hand. */
  bitsOf(at) {
    const { bits } = this;
    return bits && { weight: bits.weight[at], activation: bits.activation[at] };
  }

  soon() {
    this.waiting ??= requestAnimationFrame(() => this.recolour());
  }

  later() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  /** Show what the bits are now, without touching where things are. */
  recolour() {
    cancelAnimationFrame(this.waiting);
    this.waiting = null;
    const { layers, damage } = this.data;
    const harm = this.measure.value === "damage" && damage;
    this.values = layers.map((layer, at) => {
      const now = this.bitsOf(at);
      const weight = now?.weight ?? FLOAT;
      return harm ? damageOf(layer, weight, now?.activation ?? FLOAT) : bytesOf(layer, weight);
    });
    this.most = this.values.reduce((most, value) => Math.max(most, value ?? 0), 0) || 1;
    this.title.textContent = this.bits
      ? this.name ? `Bits of ${this.name}` : "Bits of the page"
      : "No bits are chosen on this page";
    this.draw();
    this.tell();
  }

  /** The panel; what is being chosen in it stays while it is open. */
  tell() {
    const held = this.panel.contains(this.panel.getRootNode().activeElement);
    const name = held && this.panel.getRootNode().activeElement.name;
    fillPanel(this.panel, this);
    if (name) this.panel.querySelector(`[name="${name}"]`)?.focus();
  }

  resized() {
    if (!this.view.clientWidth || !this.data) return;
    if (this.first) {
      this.first = false;
      const across = this.view.clientWidth / this.data.size[0];
      // as much as can be read at once, and no line broken where it need not be
      this.scale = Math.max(FAR, Math.min(1, across, Math.max(READABLE, this.whole())));
    }
    this.draw();
    if (!this.spot) return;
    this.view.scrollTo(...this.spot);
    this.spot = null;
    this.draw();
  }

  /** The scale at which everything is seen. */
  whole() {
    const [wide, high] = this.data.size;
    return Math.min(this.view.clientWidth / wide, this.view.clientHeight / high);
  }

  fitAll() {
    this.zoomTo(Math.min(1, this.whole()));
  }

  zoom(factor) {
    this.zoomTo(this.scale * factor);
  }

  /** Another scale; what is in the middle stays there. */
  zoomTo(scale) {
    const { view } = this;
    const before = this.scale;
    this.scale = Math.min(ZOOMS[1], Math.max(ZOOMS[0], scale));
    const ratio = this.scale / before;
    const [x, y] = [view.clientWidth / 2, view.clientHeight / 2];
    const [left, top] = [(view.scrollLeft + x) * ratio - x, (view.scrollTop + y) * ratio - y];
    this.draw();
    view.scrollTo(left, top);
    this.draw();
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1);
  }

  /** The mouse pulls the drawing along; touch does so by itself. */
  drag() {
    const { view } = this;
    view.addEventListener("pointerdown", (event) => {
      this.from = event.pointerType === "mouse" && event.button === 0
        ? [event.clientX, event.clientY, view.scrollLeft, view.scrollTop]
        : null;
      this.pulled = false;
    });
    view.addEventListener("pointermove", (event) => {
      if (!this.from || !(event.buttons & 1)) return;
      const [x, y, left, top] = this.from;
      if (Math.hypot(event.clientX - x, event.clientY - y) > 4) this.pulled = true;
      if (this.pulled) view.scrollTo(left - event.clientX + x, top - event.clientY + y);
    });
  }

  /** Put into the document what is in view, and take out what is not. */
  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    const { view, data, scale } = this;
    if (!data || !view.clientWidth) return;
    const [wide, high] = data.size;
    const left = Math.max(0, (view.clientWidth - wide * scale) / 2);
    this.spacer.style.width = `${wide * scale}px`;
    this.spacer.style.height = `${high * scale}px`;
    this.world.style.transform = `translateX(${left}px) scale(${scale})`;
    this.world.classList.toggle("far", scale < FAR);
    if (!this.first && !this.spot) this.keep();
    const top = (view.scrollTop - BEYOND) / scale;
    const bottom = (view.scrollTop + view.clientHeight + BEYOND) / scale;
    this.drawNodes(top, bottom);
    this.drawLines(top, bottom);
  }

  keep() {
    const { active, chosen, scale, view: { scrollLeft, scrollTop } } = this;
    kept.set(this.data.id, { active, chosen, scale, spot: [scrollLeft, scrollTop] });
  }

  drawNodes(top, bottom) {
    const { data, live } = this;
    data.nodes.forEach((node, at) => {
      const seen = node.y > top && node.y < bottom;
      if (!seen) {
        live.get(at)?.remove();
        live.delete(at);
        return;
      }
      if (!live.has(at)) {
        const made = this.make(node);
        live.set(at, made);
        this.world.append(made);
      }
      if (node.layer >= 0) this.dress(live.get(at), node.layer);
    });
    const active = this.live.get(this.byLayer[this.active]);
    if (active) this.view.setAttribute("aria-activedescendant", active.id);
    else this.view.removeAttribute("aria-activedescendant");
  }

  drawLines(top, bottom) {
    const { drawn } = this;
    this.data.lines.forEach(({ path, look }, at) => {
      let [least, most] = [Infinity, -Infinity];
      for (let i = 1; i < path.length; i += 2) {
        least = Math.min(least, path[i]);
        most = Math.max(most, path[i]);
      }
      const seen = most > top && least < bottom;
      if (seen === drawn.has(at)) return;
      if (!seen) {
        drawn.get(at).remove();
        drawn.delete(at);
        return;
      }
      const d = path.map((value, i) => `${i === 0 ? "M" : i % 2 ? " " : "L"}${value}`).join("");
      const line = shape("path", look, { d, "marker-end": "url(#tip)" });
      drawn.set(at, line);
      this.paths.append(line);
    });
  }

  make(node) {
    const [width, height] = this.data.sizes[node.kind];
    const made = part("div", `node ${node.kind}`);
    Object.assign(made.style, {
      left: `${node.x - width / 2}px`,
      top: `${node.y - height / 2}px`,
      width: `${width}px`,
      height: `${height}px`,
    });
    if (node.layer < 0) {
      made.ariaHidden = "true";
      made.title = node.words;
      made.textContent = node.sign ? { "||": "‖", "*": "•" }[node.sign] ?? node.sign : node.words;
      return made;
    }
    made.id = `layer-${node.layer}`;
    made.role = "option";
    made.dataset.layer = node.layer;
    made.ariaSetSize = this.data.layers.length;
    made.ariaPosInSet = node.layer + 1;
    const { name } = this.data.layers[node.layer];
    made.title = name;
    const lock = shape("svg", "padlock", { viewBox: "0 0 10 12", width: 10, height: 12 });
    lock.append(shape("path", "", { d: "M1 5H9V11H1ZM3 5V3A2 2 0 0 1 7 3V5" }));
    const words = part("span", "name", name, lock);
    made.append(part("span", "bits"), words, part("span", "size", part("i")));
    return made;
  }

  /** The look of a layer that follows from its bits and from what is chosen. */
  dress(node, at) {
    const { data, values, most } = this;
    const now = this.bitsOf(at);
    const look = now ? data.looks[now.weight] ?? data.looks[FLOAT] : ["transparent", "inherit"];
    const words = !now ? "" : bitsText(now.weight);
    const [digit, , bar] = node.children;
    const value = values[at];
    node.style.setProperty("--bits", now ? look[0] : "var(--st-background-color)");
    node.style.setProperty("--ink", look[1]);
    node.style.setProperty("--share", `${(100 * Math.max(0, value ?? 0)) / most}%`);
    if (digit.textContent !== words) digit.textContent = words;
    node.classList.toggle("float", now?.weight === FLOAT);
    bar.classList.toggle("unknown", value === null);
    node.classList.toggle("locked", Boolean(this.locked[at]));
    node.classList.toggle("active", at === this.active);
    node.ariaSelected = at === this.chosen;
    const bits = now ? `weights ${bitsWords(now.weight)}, inputs ${bitsWords(now.activation)}` : "";
    const lock = this.locked[at] ? "locked" : "";
    node.ariaLabel = [data.layers[at].name, bits, lock].filter(Boolean).join(", ");
  }

  layerOf(target) {
    const node = target.closest?.("[data-layer]");
    return node && !this.pulled ? +node.dataset.layer : -1;
  }

  choose(at) {
    if (!(at >= 0)) return;
    this.active = this.chosen = at;
    this.draw();
    this.tell();
    this.said.textContent = `${this.data.layers[at].name} is chosen`;
  }

  /** Make a layer the active one, and bring it into view. */
  go(at) {
    const { view, data, scale } = this;
    this.active = Math.min(data.layers.length - 1, Math.max(0, at));
    const { x, y } = data.nodes[this.byLayer[this.active]];
    const [width, height] = data.sizes.layer.map((size) => size * scale);
    const spare = Math.max(0, (view.clientWidth - data.size[0] * scale) / 2);
    const [across, down] = [x * scale + spare, y * scale];
    const into = (now, room, from, to) => from < now ? from : to > now + room ? to - room : now;
    view.scrollTo(
      into(view.scrollLeft, view.clientWidth, across - width, across + width),
      into(view.scrollTop, view.clientHeight, down - 2 * height, down + 2 * height),
    );
    this.draw();
  }

  move(by) {
    this.go(this.active + by);
  }

  /** The nearest layer at the left or right, at about the same height. */
  aside(side) {
    const { nodes, sizes } = this.data;
    const here = nodes[this.byLayer[this.active]];
    const near = nodes.filter((node) =>
      node.layer >= 0 && (node.x - here.x) * side > 1 &&
      Math.abs(node.y - here.y) < 3 * sizes.layer[1]
    );
    const far = (node) => Math.abs(node.y - here.y) * 4 + Math.abs(node.x - here.x);
    const found = near.reduce((best, node) => !best || far(node) < far(best) ? node : best, null);
    if (found) this.go(found.layer);
  }

  key(event) {
    const act = KEYS[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act(this);
  }

  /** Tell the page of a change; what nobody takes up goes to the server. */
  offer(name, at, detail) {
    const told = { model: this.data.id, layer: at, ...detail };
    const event = new CustomEvent(name, { detail: told, cancelable: true });
    if (!globalThis.dispatchEvent(event)) return;
    this.setTriggerValue("change", { layer: at, ...this.bitsOf(at), locked: this.locked[at] });
  }

  edit(at, { weight, activation }) {
    const set = (all, bits) => all.map((old, place) => place === at ? bits : old);
    this.bits = {
      weight: set(this.bits.weight, weight),
      activation: set(this.bits.activation, activation),
    };
    this.recolour();
    this.offer("bitdial:edit", at, { weight, activation });
  }

  lock(at, locked) {
    this.locked = this.locked.map((old, place) => place === at ? locked : old);
    this.recolour();
    this.offer("bitdial:lock", at, { locked });
  }
}

globalThis.addEventListener(ALLOCATION, ({ detail }) => {
  if (typeof detail?.model === "string") told.set(detail.model, detail);
});

const alive = new WeakMap();

/** What Streamlit calls: once when the picture appears, and again with new data or colours. */
export default function mount(component) {
  const root = component.parentElement;
  if (!alive.get(root)?.box.isConnected) alive.set(root, new Network(root));
  alive.get(root).update(component);
}
