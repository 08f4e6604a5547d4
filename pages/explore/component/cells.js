// What is done to the cells of the heatmap: a click locks, two with Shift tie, a menu has the widths,
// all of it with keys and fingers too. `of` is the explorer, a cell is {part, layer} and the method
// whose row it is in. Names of layers may hold anything: they reach the page as text only.

const LONG_MS = 500;
const STRAY = 10;
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const ENDS = { Home: -Infinity, End: Infinity };
const HOW = "Click a cell to lock it, Shift-click two to tie them, right-click or hold for widths.";
const LEGEND = { lock: "frame: locked", only: "dots: fewer widths", tie: "bar below: tied" };
const GRID_LABEL =
  "Bits of the method in focus. Arrow keys move, L locks, T ties, W has the widths.";

const made = (name, look, ...inside) => {
  const node = Object.assign(document.createElement(name), look);
  node.append(...inside);
  return node;
};

class Cells {
  constructor(of) {
    this.of = of;
    const { heat, grid, menu, clear } = of;
    heat.oncontextmenu = (event) => {
      event.preventDefault();
      this.open(cellAt(of, event.offsetX, event.offsetY));
    };
    heat.onpointerdown = (event) => this.press(event);
    for (const end of ["onpointerup", "onpointercancel"]) heat[end] = () => clearTimeout(this.wait);
    clear.onclick = () => this.set([]);
    grid.onkeydown = (event) => this.key(event);
    grid.addEventListener("focusin", (event) => this.show(this.cellOf(event.target)));
    grid.addEventListener("focusout", () => of.look({}));
    menu.onchange = (event) => event.stopPropagation();
    menu.onkeydown = (event) => {
      event.stopPropagation();
      if (event.key === "Escape") this.close();
    };
  }

  /** New data: a cell of the grid for each part of each layer, to be reached by keys. */
  build() {
    const { grid, layers, data } = this.of;
    if (this.built === data.id) return;
    this.built = data.id;
    this.link = null;
    this.rows = PARTS.map((part) =>
      layers.map((_, layer) =>
        Object.assign(made("span", { role: "gridcell", tabIndex: -1 }), { cell: { part, layer } })
      )
    );
    this.rows[0][0].tabIndex = 0;
    grid.replaceChildren(...this.rows.map((cells) => made("div", { role: "row" }, ...cells)));
    grid.ariaLabel = GRID_LABEL;
    this.of.menu.hidden = true;
  }

  cellOf({ cell }) {
    return cell && { ...cell, method: this.of.at };
  }

  classOf({ part, layer }) {
    return classOf(this.of.held, part, layer);
  }

  /** The bits a cell has now, or had where nothing fits; undefined where there are none. */
  bits({ part, layer, method }) {
    return this.of.shown(method)?.[part[0]]?.[layer];
  }

  name({ part, layer }) {
    return `${this.of.layers[layer].short} ${part === "weight" ? "weights" : "activations"}`;
  }

  /** What is set on a cell, in words. */
  setText(cell) {
    const { kind, allow, members } = this.classOf(cell);
    const others = members.filter((at) => at !== cell.layer).map((at) => this.of.layers[at].short);
    const more = others.length - MOST_SAID;
    const named = others.slice(0, MOST_SAID).join(", ") + (more > 0 ? ` and ${more} more` : "");
    return [
      ...(kind === "lock" ? [`locked at ${widthsText(allow)}`] : []),
      ...(kind === "only" || kind === "none" ? [`only ${widthsText(allow)}`] : []),
      ...(named ? [`tied with ${named}`] : []),
    ];
  }

  /** What a cell is and has, in words. */
  words(cell) {
    const bits = this.bits(cell);
    const width = bits ? bitsText(bits) : "none";
    return [`${this.name(cell)}: ${width}`, ...this.setText(cell)].join(", ");
  }

  /** Tell screen readers what each cell has. */
  announce() {
    for (const node of this.rows.flat()) node.ariaLabel = this.words(this.cellOf(node));
  }

  /** Point at a cell that keys have come to. */
  show(cell) {
    const { of } = this;
    if (!cell) return;
    const top = of.order.indexOf(cell.method) * ROW;
    const { rows } = of;
    if (top < rows.scrollTop || top + ROW > rows.scrollTop + rows.clientHeight) {
      rows.scrollTop = top;
    }
    of.look(cell, linesOf(of, cell));
    of.putTip(...this.place(cell));
  }

  /** Where a cell lies in the explorer. */
  place({ part, layer, method }) {
    const { box, heat, order, drawing: { heatMap: { wide, tall } } } = this.of;
    const [around, at] = [box.getBoundingClientRect(), heat.getBoundingClientRect()];
    const down = order.indexOf(method) * tall + (part === "weight" ? tall / 2 : tall);
    return [at.left - around.left + (layer + 0.5) * wide, at.top - around.top + down];
  }

  /** Set the rules; the server is told. */
  set(rules) {
    const { of } = this;
    this.link = null;
    this.said = "";
    of.hold(rules);
    this.write();
    of.draw();
    of.announce();
    of.commit();
    if (!of.menu.hidden) this.fill();
  }

  /** A finger that stays opens the menu; the click that ends it does nothing more. */
  press({ pointerType, offsetX, offsetY, clientX, clientY }) {
    clearTimeout(this.wait);
    this.stayed = false;
    if (pointerType === "mouse") return;
    const cell = cellAt(this.of, offsetX, offsetY);
    this.from = [clientX, clientY];
    this.wait = setTimeout(() => {
      this.stayed = true;
      this.open(cell);
    }, LONG_MS);
  }

  /** A finger that moves scrolls. */
  move({ clientX, clientY }) {
    const [x, y] = this.from ?? [clientX, clientY];
    if (Math.hypot(clientX - x, clientY - y) > STRAY) clearTimeout(this.wait);
  }

  click({ offsetX, offsetY, shiftKey }) {
    const { of } = this;
    clearTimeout(this.wait);
    const cell = cellAt(of, offsetX, offsetY);
    if (this.stayed || !cell) return;
    if (!of.proxy) of.view.focus = of.methods[cell.method].label;
    if (shiftKey || this.link?.open) this.tie(cell);
    else this.lock(cell);
  }

  lock(cell) {
    const { of: { view, held, layers } } = this;
    const { part, layer } = cell;
    const width = this.bits(cell);
    const { kind, common } = this.classOf(cell);
    if (kind === "lock" || (common.length > 1 && common.includes(width))) {
      return this.set(locked(view.held, held, layers, part, layer, width));
    }
    const free = common.length > 1 ? "has no width to lock" : "has no other width here";
    this.tell(`${this.name(cell)}: it ${free}.`);
  }

  /** Tie a cell to the one that was chosen first; let it go where it was tied and none was. */
  tie(cell) {
    const { of: { view, held, layers }, link } = this;
    const { part, layer } = cell;
    const { members } = this.classOf(cell);
    if (link?.part === part && !members.includes(link.layer)) {
      return this.set(joined(view.held, held, layers, part, link.layer, layer));
    }
    if (!link && members.length > 1) return this.set(parted(view.held, held, layers, part, layer));
    this.ask(link?.part === part ? null : { part, layer });
  }

  /** Have the next cell that is chosen tied to this one; null ends that. */
  ask(link) {
    this.link = link;
    this.said = "";
    this.write();
    this.of.paint();
  }

  allow(cell, widths) {
    const { of: { view, held, layers } } = this;
    this.set(allowed(view.held, held, layers, cell.part, cell.layer, widths));
  }

  key(event) {
    const cell = this.cellOf(event.target);
    if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
    const { layers, menu } = this.of;
    const lock = () => this.lock(cell);
    const open = () => this.open(cell);
    const tie = () => {
      this.tie(cell);
      if (this.link) this.link.open = true;
    };
    const acts = {
      l: lock,
      Enter: lock,
      " ": lock,
      t: tie,
      w: open,
      ContextMenu: open,
      Delete: () => this.allow(cell, null),
      Escape: () => this.ask(null),
    };
    const act = acts[event.key.length > 1 ? event.key : event.key.toLowerCase()];
    const [down, right] = MOVES[event.key] ?? [0, ENDS[event.key] ?? 0];
    if (!act && !down && !right) return;
    event.preventDefault();
    event.stopPropagation();
    if (!act) {
      const row = Math.min(1, Math.max(0, PARTS.indexOf(cell.part) + down));
      return this.reach(
        this.rows[row][Math.min(layers.length - 1, Math.max(0, cell.layer + right))],
      );
    }
    act();
    if (menu.hidden) this.show(cell);
  }

  /** Let keys go on from this cell of the grid. */
  reach(node) {
    for (const other of this.rows.flat()) other.tabIndex = -1;
    node.tabIndex = 0;
    node.ariaLabel = this.words(this.cellOf(node));
    node.focus({ preventScroll: true });
  }

  /** The menu of a cell: its widths to tick, lock, tie. */
  open(cell) {
    const { menu, box } = this.of;
    if (!cell || this.bits(cell) === undefined) return;
    this.asked = cell;
    menu.hidden = false;
    this.fill();
    this.of.look({});
    const [x, y] = this.place({ ...cell, part: "activation" });
    const across = Math.max(0, Math.min(x - 20, box.clientWidth - menu.offsetWidth));
    menu.style.translate = `${across}px ${y + 4}px`;
    menu.querySelector("input, button").focus({ preventScroll: true });
  }

  close() {
    const { menu } = this.of;
    if (menu.hidden) return;
    menu.hidden = true;
    const { part, layer } = this.asked;
    this.reach(this.rows[PARTS.indexOf(part)][layer]);
  }

  fill() {
    const { of: { menu }, asked } = this;
    const { kind, allow, common, members } = this.classOf(asked);
    const inside = () => [...menu.querySelectorAll("input, button")];
    const had = inside().indexOf(menu.getRootNode().activeElement);
    const tick = (width) =>
      made("input", {
        type: "checkbox",
        checked: allow.includes(width),
        onchange: ({ target }) =>
          this.allow(asked, target.checked ? [...allow, width] : allow.filter((w) => w !== width)),
      });
    const act = (text, onclick) => made("button", { type: "button", onclick }, text);
    const title = this.name(asked);
    const ticks = common.map((width) => made("label", {}, tick(width), ` ${widthText(width)}`));
    menu.ariaLabel = `Widths of ${title}`;
    menu.replaceChildren(
      made("b", {}, members.length > 1 ? `${title}, ${members.length} tied` : title),
      made("div", { className: "ticks" }, ...ticks),
      act(
        kind === "lock" ? "Unlock" : `Lock at ${widthText(this.bits(asked))}`,
        () => this.lock(asked),
      ),
      members.length > 1 ? act("Untie", () => this.untie()) : act("Tie with another", () => {
        this.close();
        this.ask({ part: asked.part, layer: asked.layer, open: true });
      }),
      act("Any width", () => this.allow(asked, null)),
      act("Close", () => this.close()),
    );
    inside()[had]?.focus({ preventScroll: true });
  }

  /** Let the cell of the menu go from its tie. */
  untie() {
    this.link = null;
    this.tie(this.asked);
  }

  /** Say something of a cell until the next thing is done. */
  tell(words) {
    this.said = words;
    this.write();
  }

  /** The line that says what is set. */
  write() {
    const { of: { held, layers, clear, box }, link } = this;
    const set = heldText(held, layers);
    const kinds = held.classes.flatMap(({ kind, members }) => [kind, members.length > 1 && "tie"]);
    const next = link && `Tie ${this.name(link)}: choose another cell of this row. Escape ends it.`;
    const words = [this.said, next, set].filter(Boolean).join(" ");
    clear.hidden = !held.any;
    put(box, {
      ".held-words": words || HOW,
      ".held-marks": [...new Set(kinds)].filter((kind) => LEGEND[kind])
        .map((kind) => LEGEND[kind]).join(" · "),
    });
    box.querySelector(".held-words").classList.toggle("faint", !words);
  }
}
