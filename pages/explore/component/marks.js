// What is drawn of what is set: marks on the heatmap's cells, and how far the front's axis reaches.

const ROW = 42;
const HIGHER = 0.06;

/** How high the weights and the activations of a method's row are. */
const partsOf = ({ floats }) => floats ? { tall: ROW - 14, low: 8 } : { tall: ROW - 21, low: 15 };

/** The cell at a place of the heatmap; null beside all rows. */
function cellAt({ order, methods, layers, drawing: { heatMap: { wide, tall } } }, x, y) {
  const slot = Math.floor(y / tall);
  const layer = Math.floor(x / wide);
  if (!(slot >= 0 && slot < order.length && layer >= 0 && layer < layers.length)) return null;
  const method = order[slot];
  const down = y - slot * tall - 2;
  return { layer, method, part: PARTS[+(down >= partsOf(methods[method]).tall)] };
}

/** Where in a row that begins at `top` the weights or the activations lie: [y, height]. */
const placeOf = (method, part, top) => {
  const { tall, low } = partsOf(method);
  return part === "weight" ? [top, tall - 1] : [top + tall, low];
};

/** Colours of widths as numbers of a picture's points; `cmap` is {width: CSS colour}. */
function inksOf(cmap) {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const inks = new Uint32Array(256);
  for (const [bits, colour] of Object.entries(cmap)) {
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    inks[bits] = new Uint32Array(pen.getImageData(0, 0, 1, 1).data.buffer)[0];
  }
  return inks;
}

/** A row of cells as one picture, a point for each: thousands are drawn as quickly as a few. */
function drawStrip(pen, sheet, inks, bits, x, y, width, height) {
  const count = bits.length;
  // setting a size clears, and costs as much as drawing
  if (sheet.width !== count) Object.assign(sheet, { width: count, height: 1 });
  const points = new ImageData(count, 1);
  const colours = new Uint32Array(points.data.buffer);
  for (let at = 0; at < count; at++) colours[at] = inks[bits[at]];
  sheet.getContext("2d").putImageData(points, 0, 0);
  // cells stay sharp where each has a pixel, and are mixed where several share one
  pen.ink.imageSmoothingEnabled = count > pen.canvas.width;
  pen.ink.drawImage(sheet, 0, 0, count, 1, x, y, width, height);
}

/** What is set on the cells of a row, by shape: a frame where locked, dots where narrowed, a bar
 * below where tied, a cross where no width is left; in the colour of the digit, which is seen on the
 * cell's own. */
function drawSet(pen, theme, { data, held: { classes } }, r, top, wide) {
  const wider = wide > 5 ? wide - 1 : wide;
  for (const { part, members, kind } of classes) {
    const bits = r[part[0]];
    const [y, high] = placeOf(r.method, part, top);
    const colour = (at) => bits[at] ? data.ink[bits[at]] : theme.ink;
    if (members.length > 1) {
      for (let at = members[0]; at <= members.at(-1); at++) {
        const mine = members.includes(at);
        const thick = mine ? 3 : 1;
        pen.bar(at * wide, y + high - thick, mine ? wider : wide, thick, colour(at));
      }
    }
    for (const at of kind ? members : []) {
      drawKind(pen, kind, at * wide, y, wider, high, colour(at));
    }
  }
}

function drawKind(pen, kind, x, y, wide, high, colour) {
  if (kind === "only") {
    const count = Math.max(1, Math.min(3, Math.floor(wide / 6)));
    for (let n = 0; n < count; n++) {
      pen.bar(x + ((n + 0.5) * wide) / count - 1, y + 1, 2, 2, colour);
    }
  } else if (kind === "none") {
    const [right, foot] = [x + wide - 2, y + high - 2];
    pen.line(`M${x + 2} ${y + 2}L${right} ${foot}M${x + 2} ${foot}L${right} ${y + 2}`, colour, 1.5);
  } else {
    const thick = wide < 10 ? 1 : 2;
    pen.bar(x, y, wide, thick, colour);
    pen.bar(x, y + high - thick, wide, thick, colour);
    pen.bar(x, y, thick, high, colour);
    pen.bar(x + wide - thick, y, thick, high, colour);
  }
}

/** Rings around a cell that is pointed at and around those tied to it. */
function drawRing(pen, theme, { held, order, methods }, { part, layer, method }, wide) {
  if (!part) return;
  const [y, high] = placeOf(methods[method], part, order.indexOf(method) * ROW + 2);
  for (const at of held.classes[held.of[part][layer]].members) {
    pen.box(at * wide, y, wide, high, theme.primary, 2);
  }
}

/** A step line through places. */
const stairs = (spots) => spots.map(([x, y], k) => k ? `H${x}V${y}` : `M${x} ${y}`).join("");

/** The axis of a height: as it was sent, or longer where what is set is predicted to harm more. */
function heightOf(shown, { scale: sent }, id) {
  if (!shown.proxy || !shown.held.any) return sent;
  const [{ y: { damage } }] = shown.frontOf(shown.methods[0], id);
  const most = damage.length ? damage[0] : sent.high;
  if (most <= sent.high) return sent;
  if (!sent.log) {
    const high = most + HIGHER * (most - sent.low);
    const step = (high - sent.low) / 6;
    const ticks = [...Array(6).keys()].map((n) => sent.low + (n + 1) * step);
    return { ...sent, high, ticks: ticks.map((at) => [at, figure(at)]) };
  }
  const high = most * (most / sent.low) ** HIGHER;
  const [first, last] = [sent.low, high].map((end) => Math.floor(Math.log10(end)));
  const sizes = last - first > 4 ? [1] : [1, 3];
  const ticks = [...Array(last - first + 1).keys()]
    .flatMap((n) => sizes.map((size) => Number(`${size}e${first + n}`)))
    .filter((at) => at >= sent.low && at <= high);
  return { ...sent, high, ticks: ticks.map((at) => [at, `${at}`]) };
}
