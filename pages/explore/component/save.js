// What the explorer draws, as a file: PNG as it is on the page, SVG as lines and words.
// Names may hold anything: they reach the file as text nodes only.

const SVG = "http://www.w3.org/2000/svg";
const ANCHORS = { left: "start", center: "middle", right: "end" };
const MARGIN = 16;

/** A colour of the page as every reader of SVG knows it: [hexadecimal, opacity]. */
const plainColour = (() => {
  const known = new Map();
  const ink = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
    .getContext("2d", { willReadFrequently: true });
  return (colour) => {
    if (!known.has(colour)) {
      ink.clearRect(0, 0, 1, 1);
      Object.assign(ink, { fillStyle: colour }).fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = ink.getImageData(0, 0, 1, 1).data;
      const hex = [red, green, blue].map((part) => part.toString(16).padStart(2, "0"));
      known.set(colour, [`#${hex.join("")}`, +(alpha / 255).toFixed(3)]);
    }
    return known.get(colour);
  };
})();

/** XML has no place for control characters and halves of characters. */
const printable = (text) => {
  // deno-lint-ignore no-control-regex
  const kept = `${text}`.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "");
  return kept.toWellFormed?.() ?? kept;
};

/** A pen that writes the same marks into an SVG. */
class SvgPen extends Pen {
  constructor(width, height, theme) {
    super(document.createElement("canvas"), 1, 1, theme);
    Object.assign(this, { width, height, vector: true, clips: 0 });
    this.root = this.at = document.createElementNS(SVG, "g");
  }

  add(name, look) {
    const node = document.createElementNS(SVG, name);
    Object.entries(look).forEach(([key, value]) => node.setAttribute(key, value));
    if (this.alpha < 1) node.setAttribute("opacity", this.alpha);
    return this.at.appendChild(node);
  }

  fade(alpha) {
    this.alpha = alpha;
  }

  paint(kind, colour) {
    const [hex, opacity] = plainColour(colour);
    return { [kind]: hex, ...(opacity < 1 && { [`${kind}-opacity`]: opacity }) };
  }

  bar(x, y, width, height, colour) {
    // a canvas fills backwards too
    const [left, top] = [Math.min(x, x + width), Math.min(y, y + height)];
    const size = { width: Math.abs(width), height: Math.abs(height) };
    this.add("rect", { x: left, y: top, ...size, ...this.paint("fill", colour) });
  }

  line(path, colour, thick, dash = []) {
    const dashes = dash.length ? { "stroke-dasharray": dash.join(" ") } : {};
    const look = { d: path, fill: "none", "stroke-width": thick, ...dashes };
    this.add("path", { ...look, ...this.paint("stroke", colour) });
  }

  mark({ path, colour }, x, y, radius, hollow, thick = 1.5) {
    const look = hollow
      ? { fill: "none", "stroke-width": thick / radius, ...this.paint("stroke", colour) }
      : this.paint("fill", colour);
    this.add("path", { d: path, transform: `translate(${x} ${y}) scale(${radius})`, ...look });
  }

  say(text, x, y, { size = 12, align = "left", colour = this.theme.ink, bold, turn = 0 } = {}) {
    if (!printable(text)) return;
    const node = this.add("text", {
      transform: `translate(${x} ${y})${turn ? ` rotate(${turn})` : ""}`,
      dy: "0.35em",
      "text-anchor": ANCHORS[align],
      "font-size": size,
      ...(bold && { "font-weight": 600 }),
      ...this.paint("fill", colour),
    });
    node.textContent = printable(text);
  }

  clip(path) {
    // names of other sheets in the same file must not be met again
    const id = `clip-${this.sheet}-${this.clips++}`;
    const outer = this.at;
    this.at = this.add("clipPath", { id });
    this.add("path", { d: path });
    this.at = outer;
    this.at = this.add("g", { "clip-path": `url(#${id})` });
  }

  /** What `draw` draws, moved; what it clips ends with it. */
  inside(x, y, draw) {
    const outer = this.at;
    this.at = this.add("g", { transform: `translate(${x} ${y})` });
    draw(this);
    this.at = outer;
  }
}

/** Everything the explorer shows as one SVG, one part under the other. */
function svgOf(of) {
  const { drawing } = of;
  const sheets = drawing.vectors(of);
  const { theme } = drawing;
  const width = of.box.clientWidth + 2 * MARGIN;
  const height = sheets.reduce((total, sheet) => total + sheet.height + MARGIN, MARGIN);
  const page = new SvgPen(width, height, theme);
  page.bar(0, 0, width, height, theme.paper);
  let y = MARGIN;
  for (const sheet of sheets) {
    page.inside(MARGIN, y, () => page.at.append(sheet.root));
    y += sheet.height + MARGIN;
  }
  const root = document.createElementNS(SVG, "svg");
  const size = { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": theme.font };
  Object.entries(size).forEach(([key, value]) => root.setAttribute(key, value));
  root.append(...page.root.childNodes);
  return new XMLSerializer().serializeToString(root);
}

function pngOf(of) {
  const all = [of.heat, of.names, of.front, of.area];
  const width = of.box.clientWidth + 2 * MARGIN;
  const height = all.reduce((total, canvas) => total + canvas.clientHeight + MARGIN, MARGIN);
  const { theme } = of.drawing;
  const pen = new Pen(document.createElement("canvas"), width, height, theme);
  let y = MARGIN;
  pen.bar(0, 0, width, height, theme.paper);
  for (const canvas of all) {
    pen.ink.drawImage(canvas, MARGIN, y, canvas.clientWidth, canvas.clientHeight);
    y += canvas.clientHeight + MARGIN;
  }
  return pen.canvas.toDataURL();
}

const FILES = {
  png: pngOf,
  svg: (of) => `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgOf(of))}`,
};

/** Hand the reader what is drawn as a file of this kind. */
function save(of, kind) {
  const link = document.createElement("a");
  Object.assign(link, { href: FILES[kind](of), download: `${of.data.file}.${kind}` }).click();
}
