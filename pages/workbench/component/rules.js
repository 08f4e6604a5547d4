// What the picture of the bits computes: costs, predictions, steps, widths. Nothing here touches the
// page. The files of this folder are joined into one module, this first.

const FLOAT = 32;
const OTHER = { weight: "activation", activation: "weight" };

/** Price of one layer: its weights in bytes, or its compute, the product of both widths. */
export function layerCost({ widths, sizes, costs }, part, layer, weight, activation) {
  const price = costs[part].prices[layer];
  const size = (width) => sizes?.[width] ?? width;
  return part === "weight"
    ? price[widths.indexOf(weight)]
    : price * size(weight) * size(activation);
}

/** What all layers take together; `bits` has the rows `weight` and `activation`. */
export function totalCost(data, part, bits) {
  return bits.weight.reduce(
    (sum, weight, layer) => sum + layerCost(data, part, layer, weight, bits.activation[layer]),
    0,
  );
}

/** Predicted damage of one part of a layer at a width; null where nobody knows. */
export function layerDamage({ widths, prediction }, part, layer, width) {
  return prediction.damage?.[part][layer][widths.indexOf(width)] ?? null;
}

/** Predicted damage of all layers, in the unit of the prediction; null where some are unknown. */
export function totalDamage(data, bits) {
  let sum = 0;
  for (const part of Object.keys(OTHER)) {
    for (let layer = 0; layer < bits[part].length; layer++) {
      const damage = layerDamage(data, part, layer, bits[part][layer]);
      if (damage === null) return null;
      sum += damage;
    }
  }
  return sum;
}

/** Whether the damage of some layer is only read off between its known widths. */
export const isGuessed = ({ prediction }, bits) =>
  Object.keys(OTHER).some((part) =>
    bits[part].some((width, layer) => prediction.guessed?.[part][layer].includes(width))
  );

/** Loss in points at a damage: { mean, low, high }; null beyond all that was measured. */
export function lossAt(loss, damage) {
  if (!loss || damage === null) return null;
  const { at } = loss;
  if (!(damage >= at[0] && damage <= at.at(-1))) return null;
  const right = Math.max(1, at.findIndex((place) => place >= damage));
  const share = (damage - at[right - 1]) / (at[right] - at[right - 1]);
  const read = (values) => values[right - 1] + share * (values[right] - values[right - 1]);
  return { mean: read(loss.mean), low: read(loss.low), high: read(loss.high) };
}

/** Whether the damage of a width is known of some layer, and not only read off. */
const isScored = ({ prediction }, width, at) =>
  Object.keys(OTHER).some((part) =>
    prediction.damage?.[part].some((row, layer) =>
      row[at] !== null && !prediction.guessed?.[part][layer].includes(width)
    )
  );

/** The widths that the bars have a level for: the usual ones, those that were scored, and those
 * that a layer has or had. */
export function ladderOf(data, bits) {
  const { widths, usual, start } = data;
  const rows = [bits, start].flatMap(({ weight, activation }) => [weight, activation]);
  const used = new Set(rows.flat());
  return widths.filter((width, at) =>
    !usual || usual.includes(width) || used.has(width) || isScored(data, width, at)
  );
}

/** The next width of a layer, `turn` 1 up or -1 down: of those whose damage is known, where some
 * are. { layer, from, to, cost, damage }, the last two as changes; null at the end. */
export function stepOf(data, bits, part, layer, turn) {
  const { widths, inputs = widths } = data;
  const able = part === "activation" ? inputs : widths;
  const ladder = (data.ladder ?? widths).filter((width) => able.includes(width));
  const from = bits[part][layer];
  const before = layerDamage(data, part, layer, from);
  const row = ladder.map((width) => layerDamage(data, part, layer, width));
  const known = before !== null && row.filter((damage) => damage !== null).length > 1;
  let place = ladder.indexOf(from) + turn;
  while (known && place in ladder && row[place] === null) place += turn;
  if (!(place in ladder)) return null;
  const to = ladder[place];
  const priced = (width) => {
    const pair = { weight: bits.weight[layer], activation: bits.activation[layer], [part]: width };
    return layerCost(data, part, layer, pair.weight, pair.activation);
  };
  const after = layerDamage(data, part, layer, to);
  const damage = before === null || after === null ? null : after - before;
  return { layer, from, to, cost: priced(to) - priced(from), damage };
}

/** The step down that damages least for what it saves and the step up that mends most for what it
 * costs, among layers that are not locked; of equal ones the larger change of cost, then the first
 * layer. { down, up }, each as `stepOf` gives it, or null where no step is priced and predicted. */
export function bestMoves(data, bits, part, locked) {
  const best = (turn) => {
    let found = null;
    let worth = -Infinity;
    bits[part].forEach((_, layer) => {
      const step = locked[layer] ? null : stepOf(data, bits, part, layer, turn);
      if (!step || step.damage === null || !(step.cost * turn > 0)) return;
      const value = -step.damage / Math.abs(step.cost);
      const more = value === worth && Math.abs(step.cost) > Math.abs(found.cost);
      if (value > worth || more) [found, worth] = [step, value];
    });
    return found;
  };
  return { down: best(-1), up: best(1) };
}

/** Room for columns side by side whose bars are as wide as their shares of 1: pixels of the whole
 * that a share of 1 takes where no column may be narrower than `least` and all fill `width`. */
export function barScale(shares, width, least) {
  let low = 0;
  let high = width;
  const filled = (scale) => shares.reduce((sum, share) => sum + Math.max(least, share * scale), 0);
  for (let step = 0; step < 50; step++) {
    const middle = (low + high) / 2;
    if (filled(middle) > width) high = middle;
    else low = middle;
  }
  return low;
}

const digits = new Intl.NumberFormat("en-US", {
  minimumSignificantDigits: 3,
  maximumSignificantDigits: 3,
  maximumFractionDigits: 0,
  roundingPriority: "morePrecision",
});

/** Three significant digits, never dropping whole ones. */
export const figure = (value) => value ? digits.format(value) : "0";

/** A damage: small ones by their power of ten. */
export const tiny = (value) =>
  value && Math.abs(value) < 1e-3 ? value.toExponential(1).replace("-", "\u2212") : figure(value);

/** A cost with its unit, as Python's `cost_text` writes it. */
export function costText({ scales, unit }, value) {
  const [factor, larger] = scales.find(([size]) => value >= size) ?? [1, unit];
  return factor === 1
    ? `${value.toLocaleString("en-US", { maximumFractionDigits: 0 })} ${larger}`
    : `${figure(value / factor)} ${larger}`;
}

/** A change with its sign; `text` writes what is left without one. */
export const signed = (value, text) =>
  `${value < 0 ? "\u2212" : value > 0 ? "+" : ""}${text(Math.abs(value))}`;

/** Points of loss to the hundredth; a change with its sign, and less is said to be less. */
export const points = (value, plus = "+") =>
  value !== 0 && Math.abs(value) < 0.005
    ? "<0.01"
    : signed(value, (size) => size.toFixed(2)).replace("+", plus);
