// What the explorer computes: the picking rule, and what cannot be told apart.
// Nothing here touches the page. The files of this folder are joined into one module, this first.

export const SLACK = 1e-9;
const KINDS = {
  f8: Float64Array,
  f4: Float32Array,
  u4: Uint32Array,
  i4: Int32Array,
  u1: Uint8Array,
};

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

const fits = ({ cost, keeps }, i, limits) =>
  (!keeps || keeps[i] > 0) && limits.every(([name, limit]) => cost[name][i] <= limit * (1 + SLACK));

/** The one picking rule, as in Python's `best_within`: index of the best point, or -1.
 * limits is [[cost, limit], ...]; `keeps` says which points have what is set. Equal values: lowest first limited cost, then lowest index. */
export function pick(method, limits) {
  const tie = method.cost[limits.length ? limits[0][0] : Object.keys(method.cost)[0]];
  let best = -1;
  for (const i of method.sel) {
    if (!fits(method, i, limits)) continue;
    const gain = best < 0 ? 1 : method.value[best] - method.value[i];
    if (gain > 0 || (gain === 0 && tie[i] < tie[best])) best = i;
  }
  return best;
}

/** The smallest point that is promised to lose at most so much, and its promise; else index -1.
 * The points of a promise come by falling cost, with the least loss that reaches down to each. */
export function smallest(method, { unit, value }, cost, limits) {
  const { at, loss } = method.promised[unit][cost];
  for (let k = at.length - 1; k >= 0; k--) {
    if (loss[k] <= value * (1 + SLACK) && fits(method, at[k], limits)) return [at[k], loss[k]];
  }
  return [-1, NaN];
}

const factorials = [0];

/** Logarithm of n factorial. */
function logFactorial(n) {
  for (let k = factorials.length; k <= n; k++) factorials.push(factorials[k - 1] + Math.log(k));
  return factorials[n];
}

/** Two-sided p-value of the exact McNemar test (1947): a fair coin for each image that differs. */
export function mcnemar(lost, gained) {
  const count = lost + gained;
  let tail = 0;
  for (let k = Math.min(lost, gained); k >= 0; k--) {
    const logs = logFactorial(count) - logFactorial(k) - logFactorial(count - k);
    const term = Math.exp(logs - count * Math.LN2);
    tail += term;
    if (term < 1e-12 * tail) break;
  }
  return Math.min(1, 2 * tail);
}

/** Two-sided p-value of a normal variable (Abramowitz and Stegun 1964, 7.1.26). */
function twoSided(z) {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const series = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
  return series.reduce((total, a) => total * t + a, 0) * t * Math.exp(-x * x);
}

/** Logarithm of the gamma function (Lanczos 1964, with g = 7). */
function logGamma(x) {
  const series = [
    676.5203681218851,
    -1259.1392167224028,
    771.3234287776531,
    -176.6150291621406,
    12.507343278686905,
    -0.13857109526572012,
    9.984369578019572e-6,
    1.5056327351493116e-7,
  ];
  const sum = series.reduce((total, a, k) => total + a / (x + k), 0.9999999999998099);
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(x + 6.5) - x - 6.5 + Math.log(sum);
}

/** Two-sided p-value of Student's t, as in Python: the incomplete beta function by its continued
 * fraction (Lentz's method; Press et al., Numerical Recipes, 6.4). */
export function tTest(t, freedom) {
  const v = Math.max(1, freedom);
  const x = v / (v + t * t);
  if (!(x > 0 && x < 1)) return x > 0 ? 1 : 0;
  const part = (a, b, x) => {
    const front = logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) +
      b * Math.log1p(-x);
    let c = 1;
    let d = 1 / (1 - ((a + b) * x) / (a + 1));
    let value = d;
    for (let m = 1; m < 10000; m++) {
      const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
      const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
      for (const step of [even, odd]) {
        d = 1 / (1 + step * d);
        c = 1 + step / c;
        value *= c * d;
      }
      if (Math.abs(c * d - 1) < 1e-14) break;
    }
    return (Math.exp(front) * value) / a;
  };
  const [a, b] = [v / 2, 0.5];
  return x < (a + 1) / (a + b + 2) ? part(a, b, x) : 1 - part(b, a, 1 - x);
}

/** Chance of a difference as large as that of two picks if neither were better: sample by sample
 * where both were tested, else by the search split as if their errors added up. Samples are right
 * or wrong, or each has a number: then the pairs come with their t values. */
export function chance(a, b, { n, count, only, t }) {
  if (a.pair >= 0 && b.pair >= 0) {
    if (t) return tTest(t[a.pair * count + b.pair], n - 1);
    return mcnemar(only[a.pair * count + b.pair], only[b.pair * count + a.pair]);
  }
  const p = twoSided((a.slost - b.slost) / (a.serror + b.serror));
  return Number.isNaN(p) ? 1 : p;
}

/** Which of some picks cannot be told apart from the best of them, at 95 % after Holm (1979) over
 * all pairs: which one is best was found by the same images. As Python's `tied_with_best`. Beside
 * picks that were tested, one that only the search split has seen is no part of this: false. */
export function tied(picks, pairs) {
  const loss = ({ y }) => Number.isNaN(y.loss) ? Infinity : y.loss;
  const tested = picks.filter((one) => one.tested || one.pair >= 0);
  const compared = tested.length ? tested : picks;
  // one whose answers are known, where one's are: pairs with it are compared sample by sample
  const known = compared.filter(({ pair }) => pair >= 0);
  const pool = known.length ? known : compared;
  const best = pool.reduce((a, b) => loss(b) < loss(a) ? b : a, pool[0]);
  if (best && loss(best) === Infinity) return picks.map(() => false);
  const others = compared.filter((one) => one !== best)
    .map((one) => [chance(best, one, pairs), one])
    .sort(([a], [b]) => a - b);
  const family = (compared.length * (compared.length - 1)) / 2;
  let worst = 0;
  const apart = new Set();
  others.forEach(([p, one], rank) => {
    worst = Math.max(worst, (family - rank) * p);
    if (worst <= 0.05) apart.add(one);
  });
  return picks.map((one) => compared.includes(one) && !apart.has(one));
}

const digits = new Intl.NumberFormat("en-US", {
  minimumSignificantDigits: 3,
  maximumSignificantDigits: 3,
  maximumFractionDigits: 0,
  roundingPriority: "morePrecision",
});

/** Three significant digits, never dropping whole ones. */
export const figure = (value) => value ? digits.format(value) : "0";
