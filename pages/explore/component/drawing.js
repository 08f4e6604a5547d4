// How the explorer draws: bit heatmap, front and area-true allocation, each on its canvas.
// Names of layers and methods may hold anything: they are drawn as text only.

const FLOAT = 32;

/** Bytes of so many weights at a width, as the cost counts them. */
const weightBytes = ({ sizes }, weights, bits) =>
  Math.ceil((weights * sizes[bits]) / 8).toLocaleString("en-US");
const GRIP = 9;
const GAPS = "#d5900024";
const GREY = "#888888";
const GRID = "#88888838";
const SHADE = "#8888882e";
const RING = { path: "M1 0A1 1 0 1 1 -1 0A1 1 0 1 1 1 0Z" };

const fit = (text, most, letters = [...text]) =>
  letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;

/** An axis in pixels: where a value lies, and what lies at a place. */
function scale(axis, from, to) {
  const [there, back] = axis.log ? [Math.log, Math.exp] : [Number, Number];
  const low = there(axis.low);
  const slope = (to - from) / (there(axis.high) - low);
  return {
    ...axis,
    from,
    to,
    at: (value) => from + (there(value) - low) * slope,
    value: (place) => back(low + (place - from) / slope),
  };
}

/** A cleared canvas in CSS pixels, and the few marks that every plot is made of. */
class Pen {
  constructor(canvas, width, height, theme) {
    const ratio = window.devicePixelRatio || 1;
    const ink = canvas.getContext("2d");
    Object.assign(this, { canvas, ink, width, height, theme });
    Object.assign(canvas, { width: Math.ceil(width * ratio), height: Math.ceil(height * ratio) });
    ink.scale(canvas.width / width, canvas.height / height);
  }

  bar(x, y, width, height, colour) {
    Object.assign(this.ink, { fillStyle: colour }).fillRect(x, y, width, height);
  }

  /** A stroke; `path` is written as in an SVG. */
  line(path, colour, thick, dash = []) {
    Object.assign(this.ink, { strokeStyle: colour, lineWidth: thick }).setLineDash(dash);
    this.ink.stroke(new Path2D(path));
  }

  /** What follows is as pale as this: 1 is whole. */
  fade(alpha) {
    this.ink.globalAlpha = alpha;
  }

  /** Nothing that follows is drawn outside. */
  clip(path) {
    this.ink.clip(new Path2D(path));
  }

  box(x, y, w, h, colour, thick) {
    this.line(`M${x} ${y}h${w}v${h}h${-w}z`, colour, thick);
  }

  /** A method's marker: hollow where nothing was measured. */
  mark({ path, colour }, x, y, radius, hollow, thick = 1.5) {
    this.ink.save();
    this.ink.translate(x, y);
    this.ink.scale(radius, radius);
    this.ink.fillStyle = colour;
    if (hollow) this.line(path, colour, thick / radius);
    else this.ink.fill(new Path2D(path));
    this.ink.restore();
  }

  say(text, x, y, { size = 12, align = "left", colour = this.theme.ink, bold, turn = 0 } = {}) {
    this.ink.save();
    this.ink.translate(x, y);
    this.ink.rotate((turn * Math.PI) / 180);
    Object.assign(this.ink, {
      fillStyle: colour,
      textAlign: align,
      textBaseline: "middle",
      direction: "ltr",
      font: `${bold ? "600 " : ""}${size}px ${this.theme.font}`,
    });
    this.ink.fillText(text, 0, 0);
    this.ink.restore();
  }

  /** Words to the right of a place, or to its left where it lies beyond `most`. */
  beside(text, x, y, most, look) {
    this.say(text, x + (x > most ? -9 : 9), y, { ...look, align: x > most ? "right" : "left" });
  }

  /** Grid, ticks and titles of two axes that `scale` made. */
  axes(x, y) {
    const tick = { colour: this.theme.faint, align: "center" };
    for (const [value, text] of x.ticks) {
      this.bar(x.at(value), y.to, 1, y.from - y.to, GRID);
      this.say(text, x.at(value), y.from + 13, tick);
    }
    for (const [value, text] of y.ticks) {
      this.bar(x.from, y.at(value), x.to - x.from, 1, GRID);
      this.say(text, x.from - 7, y.at(value), { ...tick, align: "right" });
    }
    this.say(x.title, (x.from + x.to) / 2, y.from + 34, { align: "center" });
    this.say(y.title, 9, (y.from + y.to) / 2, { align: "center", turn: -90 });
  }
}

/** Draws what an explorer shows, on its canvases. It keeps the page's colours, pictures that are drawn
 * once, and where things came to lie: `heatMap`, `place` and `edges`. */
class Drawing {
  constructor({ box, heat, names, front, area, areaNote }) {
    Object.assign(this, { box, heat, names, front, area, areaNote });
    this.strip = document.createElement("canvas");
    this.forget();
  }

  /** Draw everything; `shown` has the data, the view, what is chosen and what is pointed at. */
  draw(shown) {
    this.dress();
    this.drawHeat(shown);
    this.drawFront(shown);
    this.drawArea(shown);
  }

  /** New data came: nothing that was drawn of the old is used again. */
  forget() {
    this.kept = new Map();
    this.inks = null;
  }

  /** Colours and font of the page; what was drawn in others is forgotten. */
  dress() {
    const { color: ink, fontFamily: font, backgroundColor: paper, accentColor: primary } =
      getComputedStyle(this.box);
    this.theme = { ink, font, paper, primary, faint: getComputedStyle(this.areaNote).color };
    const key = [...Object.values(this.theme), window.devicePixelRatio].join();
    if (this.dressed !== key) this.forget();
    this.dressed = key;
  }

  /** All parts as vectors instead, each a pen that has been drawn with. */
  vectors(shown) {
    const sheets = this.sheets = [];
    this.draw(shown);
    this.sheets = null;
    return sheets;
  }

  pen(canvas, height) {
    if (this.sheets) {
      const pen = new SvgPen(canvas.clientWidth, height, this.theme);
      pen.sheet = this.sheets.push(pen);
      return pen;
    }
    canvas.style.height = `${height}px`;
    return new Pen(canvas, canvas.clientWidth, height, this.theme);
  }

  /** A picture that is drawn once and then copied: text is what a canvas draws slowest. */
  keep(pen, name, key, x, y, width, height, draw) {
    if (pen.vector) return pen.inside(x, y, draw);
    if (this.kept.get(name)?.key !== key) {
      const sheet = new Pen(document.createElement("canvas"), width, height, this.theme);
      draw(sheet);
      this.kept.set(name, { key, canvas: sheet.canvas });
    }
    pen.ink.drawImage(this.kept.get(name).canvas, x, y, width, height);
  }

  /** Bits as a colour and a digit; float is striped. */
  block(pen, { cmap, ink }, bits, x, y, width, height, down = height / 2 + 0.5) {
    const text = widthText(bits);
    const colour = ink[bits];
    pen.bar(x, y, width, height, cmap[bits]);
    const stripes = bits === FLOAT ? height : 0;
    for (let at = 2; at < stripes; at += 4) pen.bar(x, y + at, width, 1, "#c8c8c8");
    if (width < 6 + 4.5 * text.length || height < 12) return;
    pen.say(text, x + width / 2, y + down, { align: "center", colour, bold: width > 14 });
  }

  drawHeat(shown) {
    const { data, layers, methods, hover, order } = shown;
    const { theme } = this;
    const full = this.heat.clientWidth;
    const wide = (full - 2) / layers.length;
    const gap = wide > 5 ? 1 : 0;
    const pen = this.pen(this.heat, ROW * order.length);
    const faint = { colour: theme.faint };
    const cell = (bits, ...place) =>
      wide < 10
        ? pen.bar(...place, data.cmap[bits])
        : this.keep(pen, `${bits}/${place[3]}`, wide, ...place, (sheet) =>
          this.block(sheet, data, bits, 0, 0, ...place.slice(2)));
    this.heatMap = { wide, tall: ROW };
    order.forEach((at, slot) => {
      const top = slot * ROW + 2;
      const { tall, low } = partsOf(methods[at]);
      const looked = hover.method === at && shown.result(methods[at], hover.point);
      const r = looked || shown.shown(at);
      if (!r?.w) {
        const none = shown.within() ? "none is shown to lose so little" : "nothing fits";
        const words = shown.now[at] || looked ? "bits of this point: click it" : none;
        return pen.say(words, 6, top + tall / 2, faint);
      }
      // what was there before nothing fitted is pale: what is set on it can still be changed
      pen.fade(r.ghost ? 0.35 : 1);
      if (gap || pen.vector) {
        layers.forEach((_, i) => {
          cell(r.w[i], i * wide, top, wide - gap, tall - 1);
          cell(r.a[i], i * wide, top + tall, wide - gap, low);
        });
      } else {
        this.inks ??= inksOf(data.cmap);
        for (const [bits, y, high] of [[r.w, top, tall - 1], [r.a, top + tall, low]]) {
          drawStrip(pen, this.strip, this.inks, bits, 0, y, wide * layers.length, high);
        }
      }
      layers.forEach(({ lock }, i) => {
        if (!lock) return;
        pen.box(i * wide + 0.5, top + 0.5, wide - 2, tall + low - 2, theme.ink, 1);
      });
      pen.fade(1);
      if (shown.held.any && !looked) drawSet(pen, theme, shown, r, top, wide);
      if (at === shown.at) pen.box(1, top - 1, full - 3, tall + low + 2, theme.primary, 2);
    });
    const { layer } = hover;
    if (layer >= 0) pen.box(layer * wide, 1, wide + 1, ROW * order.length - 2, theme.ink, 2);
    const { link } = shown.cells;
    for (const cell of [hover, link ? { ...link, method: shown.at } : {}]) {
      drawRing(pen, theme, shown, cell, wide);
    }
    this.drawNames(shown, full);
  }

  /** Names and stages of the layers, under the rows and right below their cells. */
  drawNames({ data, layers, hover }, full) {
    const { theme, heatMap: { wide } } = this;
    const left = this.names.clientWidth - full;
    const pen = this.pen(this.names, full > 220 ? 76 : 18);
    const key = [full, left, hover.layer].join();
    this.keep(pen, "names", key, 0, 0, pen.width, pen.height, (sheet) => {
      const every = Math.ceil(13 / wide);
      layers.forEach((layer, i) => {
        const colour = i === hover.layer ? theme.primary : theme.ink;
        if (i % every || pen.height < 70) return;
        const look = { size: 11, align: "right", turn: -45, colour };
        sheet.say(layer.tag, left + (i + 0.5) * wide, 24, look);
      });
      for (const [name, from, to] of data.stages) {
        const x = left + from * wide;
        const span = (to - from) * wide;
        sheet.bar(x + 1, 2, span - 3, 1.5, GREY);
        if (span <= 44 || to - from < 2) continue;
        const look = { size: 11, align: "center", colour: theme.faint };
        sheet.say(fit(name, Math.floor(span / 7)), x + span / 2, 10, look);
      }
    });
  }

  drawFront(shown) {
    const { view, hover, methods } = shown;
    const { theme } = this;
    const { x: id, y: height } = view;
    const axis = shown.axes.get(id);
    const up = shown.ys.get(height);
    const scaled = heightOf(shown, up, id);
    const pen = this.pen(this.front, 372);
    const y = scale(scaled, 328, 12);
    const x = scale(view.log ? axis.log : axis.lin, 58, pen.width - 12);
    const tall = y.from - y.to;
    const b = view.on[id] && shown.sliders[id]?.b;
    const within = shown.within();
    const lined = within && (height === "loss" ? "points" : "nats") === within.unit;
    const loss = lined && height !== "score" ? shown.sliders[within.unit].b : null;
    const spot = (m, at) => [x.at(m.cost[id][at]), y.at(m.y[height][at])];
    const line = b && Math.max(x.from, Math.min(x.at(view.values[id] * b.factor), x.to));
    // a logarithmic axis has no place for none
    const accepted = within?.value || (up.scale.log ? up.scale.low : 0);
    const level = loss && Math.min(y.from, Math.max(y.at(accepted), y.to));
    const grip = (px, py) =>
      b && Math.abs(px - line) < GRIP ? b : loss && Math.abs(py - level) < GRIP ? loss : null;
    this.place = { x, y, spot, grip };
    this.keep(
      pen,
      "front",
      [id, height, view.log, pen.width, shown.held.key].join(),
      0,
      0,
      pen.width,
      pen.height,
      (sheet) => this.drawPoints(shown, sheet, x, y, spot),
    );
    if (loss) {
      const words = { colour: theme.primary, bold: true };
      pen.bar(x.from, y.to, x.to - x.from, level - y.to, SHADE);
      pen.bar(x.from, level - 1, x.to - x.from, 2, theme.primary);
      pen.bar(x.from + 40, level - 5, 30, 10, theme.primary);
      const told = `lose at most ${shown.budgetText(loss)}`;
      pen.bar(x.from + 74, level - 19, Math.max(186, 7 * told.length), 17, theme.paper);
      pen.say(told, x.from + 78, level - 10, words);
    }
    if (b) {
      pen.bar(line, y.to, x.to - line, tall, SHADE);
      pen.bar(line - 1, y.to, 2, tall, theme.primary);
      pen.bar(line - 5, y.to + 40, 10, 30, theme.primary);
      pen.beside(shown.budgetText(b), line, y.from - 14, x.to - 90, {
        colour: theme.primary,
        bold: true,
      });
    }
    shown.now.forEach((r, at) => {
      const [radius, colour, thick] = at === shown.at
        ? [11, theme.primary, 3]
        : [9, theme.ink, 1.5];
      const place = r && y.at(r.y[height]);
      // a pick beyond the axis is told in its row
      if (!(place >= y.to - 2 && place <= y.from + 2)) return;
      pen.mark({ ...RING, colour }, x.at(r.cost[id]), place, radius, true, thick);
    });
    const m = methods[hover.method];
    if (hover.point >= 0) pen.mark(m, ...spot(m, hover.point), 8, true, 3);
    this.front.ariaLabel = `${up.scale.title}, against ${axis.label}, ${axis.unit}. ` +
      (b ? "Arrow keys move the budget." : "This cost has no budget set.");
  }

  /** What stays put while a budget is dragged: axes, points, step lines, intervals, references. */
  drawPoints(shown, pen, x, y, spot) {
    const { proxy, methods, axes, ys, data, held, view: { x: id, y: height } } = shown;
    const faint = { size: 11, colour: this.theme.faint };
    const { float, lost, unit } = ys.get(height);
    for (const [low, high] of axes.get(id).gaps) {
      if (proxy || high > x.high) continue;
      const [from, to] = [Math.max(x.at(low), x.from), x.at(high)];
      pen.bar(from, y.to, to - from, y.from - y.to, GAPS);
      const middle = (from + to) / 2;
      if (to - from > 80) pen.say("not searched", middle, y.to + 10, { ...faint, align: "center" });
      else if (to - from > 15) {
        pen.say("not searched", middle, y.to + 6, { ...faint, turn: -90, align: "right" });
      }
    }
    pen.axes(x, y);
    // above the words of the budget line, which pass here
    pen.say(lost, x.to - 6, y.from - 32, { ...faint, align: "right" });
    pen.clip(`M${x.from} ${y.to}H${x.to}V${y.from}H${x.from}z`);
    if (float !== null) {
      const words = float ? `float ${float.toFixed(1)} ${unit}` : "float";
      pen.line(`M${x.from} ${y.at(float)}H${x.to}`, GREY, 1, [6, 4]);
      pen.say(words, x.from + 6, y.at(float) + 9, faint);
    }
    for (const m of methods) {
      const [all, low, high] = [m.y[height], m.low?.[height], m.high?.[height]];
      for (let i = 0; i < all.length && !proxy; i++) {
        const [px, py] = spot(m, i);
        pen.bar(px - 1.5, py - 1.5, 3, 3, `${m.colour}${m.keeps && !m.keeps[i] ? "1f" : "4d"}`);
      }
      // what could be had if nothing were set
      const free = [...m.front[id]].filter((i) => !Number.isNaN(all[i]));
      if (held.any) pen.line(stairs(free.map((i) => spot(m, i))), `${m.colour}66`, 1, [2, 3]);
      const [shape, front] = shown.frontOf(m, id);
      const line = [...front].filter((i) => !Number.isNaN(shape.y[height][i]));
      const spots = line.map((i) => spot(shape, i));
      line.forEach((i, k) =>
        low &&
        pen.bar(spots[k][0] - 0.5, y.at(high[i]), 1, y.at(low[i]) - y.at(high[i]), `${m.colour}66`)
      );
      pen.line(stairs(spots), m.colour, 2, m.dash);
      // what the test split has seen stands out
      spots.forEach((place, k) =>
        pen.mark(m, ...place, proxy || !m.tested[line[k]] ? 3.5 : 5, proxy)
      );
    }
    const refs = data.refs.filter((r) => r.cost[id] <= x.high && r.y[height] !== null);
    for (const r of refs) {
      pen.beside(r.label, x.at(r.cost[id]), y.at(r.y[height]) + 11, x.to - 56, faint);
    }
  }

  drawArea(shown) {
    const { data, layers, hover, now, view: { widths } } = shown;
    const { theme } = this;
    const words = data.areas[widths];
    put(this.box, { ".area-title": words.title });
    this.edges = [];
    if (!this.area.clientWidth) return;
    const r = now[shown.at];
    const others = shown.order.filter((at) => at !== shown.at && now[at]?.w).map((at) => now[at]);
    // the same bits everywhere are what to compare with; for them, the best of the others
    const other = others.find((o) => o.method.uniform) ?? others[0];
    const height = (o, i) =>
      widths === "ops" ? data.sizes[o.w[i]] * data.sizes[o.a[i]] : data.sizes[o.w[i]];
    const tallest = [r, other].flatMap((o) => o?.w ? layers.map((_, i) => height(o, i)) : []);
    const high = 8 * Math.ceil(Math.max(8, ...tallest) / 8);
    const ticks = (count, step) => [...Array(count)].map((_, k) => [k * step, `${k * step}`]);
    const pen = this.pen(this.area, 336);
    const y = scale({ low: 0, high, ticks: ticks(9, high / 8), title: words.y }, 292, 12);
    const x = scale({ low: 0, high: 100, ticks: ticks(5, 25), title: words.x }, 58, pen.width - 12);
    const edges = this.edges = layers.map((layer) => x.at(layer.from[widths]));
    edges.push(x.to);
    pen.axes(x, y);
    this.area.ariaLabel = words.words;
    const dashed = other ? ` Dashed: ${other.method.title}.` : "";
    const note = r?.w ? `Blocks: ${r.method.title}; area is ${words.area}.${dashed}` : "";
    put(this.box, { ".area-note": note });
    if (!note) return;
    let outline = `M${x.from} ${y.from}`;
    layers.forEach((layer, i) => {
      const wide = edges[i + 1] - edges[i];
      const top = y.at(height(r, i));
      const tall = y.from - top;
      this.block(
        pen,
        data,
        r.w[i],
        edges[i],
        top,
        Math.max(wide - (wide > 3 ? 1 : 0), 0.3),
        tall,
        11,
      );
      if (wide > 16 && tall > 74) {
        pen.say(layer.tag, edges[i] + wide / 2, y.from - 6, {
          size: 11,
          turn: -90,
          colour: data.ink[r.w[i]],
        });
      }
      if (hover.layer === i) pen.box(edges[i], top, wide, tall, theme.ink, 2);
      if (other) outline += `V${y.at(height(other, i))}H${edges[i + 1]}`;
    });
    pen.line(outline, theme.ink, 1.5, [4, 3]);
  }
}
