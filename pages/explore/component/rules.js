// What the explorer computes: the picking rule, and the additive problem of predicted mode.
// Nothing here touches the page. The files of this folder are joined into one module, this first.

export const SLACK = 1e-9;
const KINDS = { f8: Float64Array, u4: Uint32Array, i4: Int32Array, u1: Uint8Array };

const each = (table, change) =>
  Object.fromEntries(Object.entries(table).map(([key, value]) => [key, change(value)]));

/** What Python sent, with its arrays, each {kind: base64}, unpacked. */
export function decode(data) {
  if (data === null || typeof data !== "object") return data;
  if (Array.isArray(data)) return data.map(decode);
  const [[kind, text] = []] = Object.entries(data);
  if (!(kind in KINDS)) return each(data, decode);
  return new KINDS[kind](Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

/** The one picking rule, as in Python's `best_within`: index of the best point, or -1.
 * limits is [[cost, limit], ...]; equal scores: lowest first limited cost, then lowest index. */
export function pick(method, limits) {
  const tie = method.cost[limits.length ? limits[0][0] : Object.keys(method.cost)[0]];
  let best = -1;
  for (const i of method.sel) {
    if (!limits.every(([cost, limit]) => method.cost[cost][i] <= limit * (1 + SLACK))) continue;
    const gain = best < 0 ? 1 : method.acc[i] - method.acc[best];
    if (gain > 0 || (gain === 0 && tie[i] < tie[best])) best = i;
  }
  return best;
}

const sum = (choice, column) => choice.reduce((total, at) => total + column[at], 0);

/** Each layer's cheapest option of score + sum of price * cost. */
function cheapest(start, score, columns, prices) {
  const choice = new Uint32Array(start.length - 1);
  for (let layer = 0; layer < choice.length; layer++) {
    let best = Infinity;
    for (let at = start[layer]; at < start[layer + 1]; at++) {
      let value = score[at];
      for (let k = 0; k < prices.length; k++) value += prices[k] * columns[k][at];
      if (value < best) {
        best = value;
        choice[layer] = at;
      }
    }
  }
  return choice;
}

/** Least predicted damage within limits on summed costs, or null where nothing is found to fit.
 * Lagrangian relaxation (Fisher 1981) by bisection, then the exchanges that still fit; `gap` is
 * how far from the least possible it can be at most, by the bound of the relaxation. */
export function solve(proxy, limits) {
  const { start, score, cost, fixed } = proxy;
  const columns = limits.map(([name]) => cost[name]);
  const room = limits.map(([name, limit]) => limit * (1 + SLACK) - fixed[name]);
  const least = columns.map((column) => sum(cheapest(start, column, [], []), column));
  if (least.some((value, k) => value > room[k])) return null;
  const scale = room.map((value, k) => Math.max(value - least[k], 1));
  const excess = (choice) => columns.map((column, k) => (sum(choice, column) - room[k]) / scale[k]);
  const top = 2 * score.reduce((total, value) => total + Math.abs(value), 0);
  let bound = -Infinity;
  let damage = Infinity;
  let best = null;
  const attempt = (prices) => {
    const choice = cheapest(start, score, columns, prices.map((price, k) => price / scale[k]));
    const found = sum(choice, score);
    const over = excess(choice);
    bound = Math.max(bound, over.reduce((value, o, k) => value + prices[k] * o, found));
    if (found < damage && over.every((o) => o <= 0)) [damage, best] = [found, choice];
    return over;
  };
  // bisect the price of each cost in turn, within that of the costs before it
  const steps = limits.length > 1 ? 22 : 40;
  const search = (prices) => {
    const k = prices.length;
    if (k === limits.length) return attempt(prices);
    let over = search([...prices, 0]);
    for (let low = 0, high = top, step = 0; step < steps && (step || over[k] > 0); step++) {
      const middle = step ? (low + high) / 2 : high;
      over = search([...prices, middle]);
      if (over[k] > 0) low = middle;
      else high = middle;
    }
    return over;
  };
  search([]);
  if (!best) {
    // two tight limits: the options that are nowhere dear, whatever their score
    const dear = score.map((_, at) =>
      Math.max(...columns.map((c, k) => c[at] / Math.max(room[k], 1)))
    );
    best = cheapest(start, dear, [], []);
    if (excess(best).some((o) => o > 0)) return null;
  }
  improve(proxy, columns, room, best);
  const all = Object.keys(fixed).map((name) => [name, fixed[name] + sum(best, cost[name])]);
  damage = sum(best, score);
  return {
    choice: best,
    cost: Object.fromEntries(all),
    score: damage,
    gap: Math.max(0, damage - bound),
  };
}

/** Change one layer's option after another, the most useful first, for as long as it fits. */
function improve({ start, score }, columns, room, choice) {
  const left = columns.map((column, k) => room[k] - sum(choice, column));
  for (let rounds = 0; rounds < 400; rounds++) {
    let gain = -1e-15;
    let place = -1;
    let option = 0;
    choice.forEach((now, layer) => {
      for (let at = start[layer]; at < start[layer + 1]; at++) {
        const change = score[at] - score[now];
        const fits = change < gain && columns.every((c, k) => c[at] - c[now] <= left[k]);
        if (fits) [gain, place, option] = [change, layer, at];
      }
    });
    if (place < 0) return;
    columns.forEach((c, k) => {
      left[k] -= c[option] - c[choice[place]];
    });
    choice[place] = option;
  }
}

const digits = new Intl.NumberFormat("en-US", {
  minimumSignificantDigits: 3,
  maximumSignificantDigits: 3,
  maximumFractionDigits: 0,
  roundingPriority: "morePrecision",
});

/** Three significant digits, never dropping whole ones. */
export const figure = (value) => value ? digits.format(value) : "0";
