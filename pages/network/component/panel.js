// What is told of the chosen layer: facts, bits, sensitivity curve, inputs against the quantizer.
// Names of layers may hold anything: they reach the page as text only.

const FLOAT = 32;
const SVG = "http://www.w3.org/2000/svg";

/** Names of widths, and bits that a value of each takes; filled with the first network's. */
const NAMES = {};
const SIZES = {};
const bitsText = (bits) => NAMES[bits] ?? `${bits}`;
const sizeOf = (bits) => SIZES[bits] ?? bits;
const bitsWords = (bits) =>
  /^\d+$/.test(bitsText(bits)) ? `${bits} ${bits === 1 ? "bit" : "bits"}` : bitsText(bits);
const figure = (value) => value === 0 ? "0" : Number(value.toPrecision(3)).toString();

/** An element with a class, a text, and children; nothing is ever parsed as markup. */
function part(name, look, ...inside) {
  const node = document.createElement(name);
  if (look) node.className = look;
  node.append(...inside);
  return node;
}

function shape(name, look, places, ...inside) {
  const node = document.createElementNS(SVG, name);
  if (look) node.setAttribute("class", look);
  for (const [key, value] of Object.entries(places)) node.setAttribute(key, value);
  node.append(...inside);
  return node;
}

function image(width, height, label, inside) {
  const box = { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label };
  return shape("svg", "", box, ...inside);
}

/** Bytes of a layer's weights: whole bytes, as the cost counts them. */
const bytesOf = (layer, bits) => Math.ceil((layer.weights * sizeOf(bits)) / 8);

/** Predicted damage of a layer at its bits; null where the stored table does not know them. */
function damageOf(layer, weight, activation) {
  const of = (curve, bits) => bits === FLOAT ? 0 : curve.find(([at]) => at === bits)?.[1];
  const parts = [of(layer.curve.weight, weight), of(layer.curve.activation, activation)];
  return parts.includes(undefined) ? null : parts[0] + parts[1];
}

/** Damage against bits on a logarithmic scale: weights drawn through, inputs dashed. */
function curveDrawing({ curve }, now, looks, unit) {
  const [wide, high, left, low] = [420, 150, 56, 122];
  const all = [...curve.weight, ...curve.activation];
  const seen = all.filter(([, damage]) => damage > 0).map(([, damage]) => Math.log10(damage));
  if (!seen.length) return null;
  const [least, most] = [Math.floor(Math.min(...seen)), Math.ceil(Math.max(...seen) + 1e-9)];
  const widest = Math.max(8, ...all.map(([bits]) => sizeOf(bits)));
  const x = (bits) => left + ((sizeOf(bits) - 1) / (widest - 1)) * (wide - left - 14);
  const y = (damage) =>
    low - ((Math.log10(damage) - least) / Math.max(1, most - least)) * (low - 10);
  const inside = [shape("path", "axis", { d: `M${left} 6V${low}H${wide - 6}` })];
  const every = Math.ceil((most - least) / 4) || 1;
  for (let tick = least; tick <= most; tick += every) {
    const at = y(10 ** tick);
    const text = { x: left - 6, y: at + 4, "text-anchor": "end" };
    inside.push(shape("text", "", text, figure(10 ** tick)));
    inside.push(shape("path", "axis", { d: `M${left - 3} ${at}H${left}` }));
  }
  // beyond 8 bits there is room for every other one
  for (let bits = 1; bits <= widest; bits += bits < 8 || widest < 10 ? 1 : 2) {
    inside.push(shape("text", "", { x: x(bits), y: low + 15, "text-anchor": "middle" }, `${bits}`));
  }
  inside.push(shape("text", "", { x: wide - 6, y: high - 1, "text-anchor": "end" }, "bits"));
  for (const [name, look] of [["weight", "line"], ["activation", "line inputs"]]) {
    const points = curve[name].filter(([, damage]) => damage > 0);
    const path = points.map(([bits, damage]) => `${x(bits)} ${y(damage)}`).join("L");
    if (points.length > 1) inside.push(shape("path", look, { d: `M${path}` }));
    for (const [bits, damage] of points) {
      const held = now?.[name] === bits;
      const dot = { cx: x(bits), cy: y(damage), r: held ? 6 : 4, fill: looks[bits][0] };
      inside.push(shape("circle", held ? "dot now" : "dot", dot));
    }
  }
  const told = (name) =>
    curve[name].map(([bits, damage]) => `${figure(damage)} at ${bitsWords(bits)}`).join(", ");
  const inputs = curve.activation.length ? `; of its inputs: ${told("activation")}` : "";
  const label = `Predicted damage in ${unit}, of its weights: ${told("weight")}${inputs}`;
  return image(wide, high, label, inside);
}

/** Histogram of the inputs, and below it what each width of the quantizer covers. */
function rangeDrawing({ range }, now) {
  const [wide, left, low, row] = [420, 44, 78, 14];
  const ends = range.grids.flatMap(({ low: from, high: to }) => [from, to]);
  const [from, to] = [Math.min(range.low, ...ends), Math.max(range.high, ...ends)];
  const x = (value) => left + ((value - from) / (to - from || 1)) * (wide - left - 8);
  const step = (range.high - range.low) / range.bars.length;
  const inside = range.bars.map((tall, at) => {
    const start = x(range.low + at * step);
    const width = Math.max(0.5, x(range.low + (at + 1) * step) - start - 0.6);
    return shape("rect", "count", { x: start, y: low - tall, width, height: tall });
  });
  inside.push(shape("path", "axis", { d: `M${left} ${low}H${wide - 4}` }));
  range.grids.forEach((grid, at) => {
    const y = low + 14 + at * row;
    const held = grid.bits === now?.activation;
    inside.push(
      shape("text", "", { x: left - 6, y: y + 4, "text-anchor": "end" }, bitsText(grid.bits)),
    );
    inside.push(
      shape("path", held ? "cover now" : "cover", { d: `M${x(grid.low)} ${y}H${x(grid.high)}` }),
    );
    if (held) {
      const edges = `M${x(grid.low)} 8V${y}M${x(grid.high)} 8V${y}`;
      inside.push(shape("path", "edge", { d: edges }));
    }
  });
  const told = range.grids.map((grid) => `${bitsWords(grid.bits)} cover ${grid.words}`).join("; ");
  const height = low + 14 + range.grids.length * row;
  return image(wide, height, `${range.words}; ${told}`, inside);
}

/** The controls that change a layer: two selects and a lock. */
function editor(net, at, now) {
  const choose = (name, words, value) => {
    const select = part("select", "");
    for (const bits of net.data.widths[name]) {
      select.append(new Option(bitsText(bits), bits, false, bits === value));
    }
    select.name = name;
    select.onchange = () => net.edit(at, { ...net.bitsOf(at), [name]: +select.value });
    return part("label", "", words, select);
  };
  const lock = part("input", "");
  Object.assign(lock, { type: "checkbox", name: "lock", checked: net.locked[at] });
  lock.onchange = () => net.lock(at, lock.checked);
  return part(
    "div",
    "edit",
    choose("weight", "Weight bits", now.weight),
    choose("activation", "Input bits", now.activation),
    part("label", "", lock, "Locked"),
  );
}

/** Fill the panel with what is known of the chosen layer. */
function fillPanel(panel, net) {
  const { data, chosen: at } = net;
  const layer = data.layers[at];
  if (!layer) {
    const words = "Choose a layer: click it, or move with the arrow keys and press Enter.";
    panel.replaceChildren(part("p", "words faint", words));
    return;
  }
  const now = net.bitsOf(at);
  const rows = layer.facts.flatMap((
    [what, words],
  ) => [part("dt", "", what), part("dd", "", words)]);
  const found = [part("p", "head", layer.name)];
  if (now) {
    const { weight, activation } = now;
    const bytes = weight === FLOAT ? layer.weights * 4 : bytesOf(layer, weight);
    const held = net.locked[at] ? "; locked" : "";
    const words = `Weights ${bitsWords(weight)}, inputs ${bitsWords(activation)}${held}; ` +
      `weights take ${bytes.toLocaleString("en-US")} B`;
    found.push(part("p", "words now", words));
    if (data.editable) found.push(editor(net, at, now));
  }
  found.push(part("dl", "", ...rows));
  const damage = data.damage && curveDrawing(layer, now, data.looks, data.unit);
  if (damage) {
    const told = now && damageOf(layer, now.weight, now.activation);
    const these = now &&
      (told === null ? "not known at these bits" : `${figure(told)} at its bits`);
    found.push(part("p", "part", `${data.damage}, ${data.unit}${these ? `: ${these}` : ""}`));
    found.push(damage);
    if (layer.curve.activation.length) {
      found.push(part("p", "words faint", "Line: its weights; dashed: its inputs."));
    }
  } else {
    found.push(part("p", "words faint", "No sensitivity is stored: its curve is not known."));
  }
  found.push(part("p", "part", "Inputs against the quantizer's range"));
  if (layer.range) {
    found.push(rangeDrawing(layer, now));
    const grid = layer.range.grids.find(({ bits }) => bits === now?.activation);
    found.push(part("p", "words", `${layer.range.words}. Counts are logarithmic.`));
    const left = now && now.activation !== FLOAT
      ? "Not kept for its bits."
      : "Its inputs stay in float.";
    const covered = grid ? `${bitsWords(grid.bits)}: ${grid.words}.` : now ? left : "";
    if (covered) found.push(part("p", "words", covered));
  } else {
    const words = "Not measured yet: computing a sensitivity keeps them (Models, Sensitivity).";
    found.push(part("p", "words faint", words));
  }
  panel.replaceChildren(...found);
}
