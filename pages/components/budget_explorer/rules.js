// What the explorer computes: the picking rule, fronts, and the additive problem of predicted mode.
// Nothing here touches the page. The files of this folder are joined into one module, this one first.

export const SLACK = 1e-9;
const FLOAT = 32, MOST_NAME = 40;

const unpack = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const f64 = (text) => new Float64Array(unpack(text).buffer);
const u32 = (text) => new Uint32Array(unpack(text).buffer);
const each = (table, change) =>
  Object.fromEntries(Object.entries(table).map(([key, value]) => [key, change(value)]));

/** A method's points with their numbers unpacked; `row` finds the bits of a selectable point. */
export function decode(method) {
  const sel = u32(method.sel);
  return {
    ...method, sel, ids: u32(method.ids), runs: u32(method.runs), acc: f64(method.acc),
    lo: f64(method.lo), hi: f64(method.hi), cost: each(method.cost, f64), w: unpack(method.w),
    a: unpack(method.a), row: new Map([...sel].map((at, row) => [at, row])), memo: {},
  };
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

/** Indices no other point beats, by rising cost; sign is 1 where higher scores are better. */
export function frontOf(cost, score, sign = 1) {
  const order = [...cost.keys()].sort(
    (i, j) => cost[i] - cost[j] || sign * (score[j] - score[i]) || i - j);
  const front = [];
  for (const i of order) {
    if (!front.length || sign * (score[i] - score[front[front.length - 1]]) > 0) front.push(i);
  }
  return front;
}

/** Sensitivities of each layer's options, unpacked: layer i has options start[i]..start[i + 1]. */
export function decodeProxy(proxy) {
  return { ...proxy, start: u32(proxy.start), score: f64(proxy.score), w: unpack(proxy.w),
    a: unpack(proxy.a), cost: each(proxy.cost, f64) };
}

function totals(proxy, choice) {
  const cost = each(proxy.fixed, Number);
  let score = 0;
  for (const at of choice) {
    score += proxy.score[at];
    for (const name in cost) cost[name] += proxy.cost[name][at];
  }
  return { choice, cost, score };
}

/** Each layer's cheapest option of score + sum of price * cost. */
function cheapest(proxy, names, prices) {
  const choice = new Uint32Array(proxy.start.length - 1);
  const columns = names.map((name) => proxy.cost[name]);
  for (let layer = 0; layer < choice.length; layer++) {
    let best = Infinity;
    for (let at = proxy.start[layer]; at < proxy.start[layer + 1]; at++) {
      let value = proxy.score[at];
      for (let k = 0; k < prices.length; k++) value += prices[k] * columns[k][at];
      if (value < best) { best = value; choice[layer] = at; }
    }
  }
  return choice;
}

/** Least predicted damage within limits on at most two summed costs, or null where nothing fits.
 * Lagrangian relaxation (Fisher 1981) by bisection, then the exchanges that still fit; `gap` is
 * how far from the least possible it can be at most, by the bound of the relaxation. */
export function solve(proxy, limits) {
  const names = limits.map(([name]) => name);
  const within = limits.map(([name, limit]) => limit * (1 + SLACK) - proxy.fixed[name]);
  const least = names.map((name) => {
    const only = { ...proxy, score: proxy.cost[name] };
    return totals(only, cheapest(only, [], [])).cost[name] - proxy.fixed[name];
  });
  if (least.some((value, k) => value > within[k])) return null;
  let top = 0, best = null, bound = -Infinity;
  for (let layer = 0; layer + 1 < proxy.start.length; layer++) {
    const row = proxy.score.subarray(proxy.start[layer], proxy.start[layer + 1]);
    top += Math.max(...row) - Math.min(...row);
  }
  const scale = within.map((value, k) => Math.max(value - least[k], 1));
  const spent = (found, k) => found.cost[names[k]] - proxy.fixed[names[k]];
  const attempt = (prices) => {
    const found = totals(proxy, cheapest(proxy, names, prices.map((p, k) => p / scale[k])));
    const over = names.map((_, k) => (spent(found, k) - within[k]) / scale[k]);
    bound = Math.max(bound, found.score + over.reduce((sum, o, k) => sum + prices[k] * o, 0));
    if (over.every((o) => o <= 0) && !(best && best.score <= found.score)) best = found;
    return over;
  };
  const bisect = (over, steps) => {
    if (over(0) <= 0) return;
    for (let low = 0, high = top * 2, step = 0; step < steps; step++) {
      const middle = step ? (low + high) / 2 : high;
      if (over(middle) > 0) low = middle; else high = middle;
    }
  };
  if (names.length < 2) bisect((price) => attempt(names.length ? [price] : [])[0] ?? 0, 40);
  else {
    const first = (price) => {
      let last;
      bisect((other) => (last = attempt([price, other]))[1], 22);
      return last[0];
    };
    bisect(first, 22);
  }
  if (!best) {
    // two tight limits: the options that are nowhere dear, whatever their score
    const share = proxy.score.map((_, at) =>
      Math.max(...names.map((name, k) => proxy.cost[name][at] / Math.max(within[k], 1))));
    const found = totals(proxy, cheapest({ ...proxy, score: share }, [], []));
    if (names.some((_, k) => spent(found, k) > within[k])) return null;
    best = found;
  }
  best = improve(proxy, names, within, best);
  return { ...best, gap: Math.max(0, best.score - bound) };
}

function improve(proxy, names, within, found) {
  for (let rounds = 0; rounds < 400; rounds++) {
    let gain = -1e-15, layerAt = -1, optionAt = 0;
    found.choice.forEach((now, layer) => {
      for (let at = proxy.start[layer]; at < proxy.start[layer + 1]; at++) {
        const change = proxy.score[at] - proxy.score[now];
        if (change < gain && names.every((name, k) => found.cost[name] - proxy.fixed[name] +
            proxy.cost[name][at] - proxy.cost[name][now] <= within[k])) {
          gain = change; layerAt = layer; optionAt = at;
        }
      }
    });
    if (layerAt < 0) break;
    const choice = found.choice.slice();
    choice[layerAt] = optionAt;
    found = totals(proxy, choice);
  }
  return found;
}

/** Predictions as one method that can be drawn like measured ones: its front against one cost. */
export function predictedFront(proxy, name, steps = 90) {
  const span = Math.max(...proxy.score) - Math.min(...proxy.score) || 1;
  const typical = proxy.cost[name].reduce((a, b) => Math.max(a, b), 1);
  const found = new Map();
  for (let step = -1; step < steps; step++) {
    const price = step < 0 ? 0 : (span / typical) * 10 ** ((step / steps) * 10 - 6);
    const solution = totals(proxy, cheapest(proxy, [name], [price]));
    found.set(solution.choice.join(), solution);
  }
  const all = [...found.values()];
  return frontOf(all.map((s) => s.cost[name]), all.map((s) => s.score), -1).map((i) => all[i]);
}

/** Three significant digits, never dropping whole ones. */
export function figure(value, digits = 3) {
  if (!value || !isFinite(value)) return String(value);
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en-US",
    { minimumFractionDigits: Math.min(decimals, 8), maximumFractionDigits: Math.min(decimals, 8) });
}

/** A name of any length and script, as a canvas and a tooltip can bear it. */
export function short(name, most = MOST_NAME) {
  const letters = [...name.replace(/[\u0000-\u001f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, " ")];
  return letters.length > most ? letters.slice(0, most - 1).join("") + "…" : letters.join("");
}
