// The additive problem of predicted mode, under locks, widths and ties. Nothing here touches the page.
//
// A layer that shares a width with no other is decided alone. Layers that do hang together: their
// shared widths are variables, each layer is a table over the two it has, and the variables are
// eliminated one after another (Bertele and Brioschi 1972): for each value of what is left, the best
// of the one that goes. A tie of many layers so costs no more than the sum of them.

const PRICES = 90;
const MOST_CELLS = 1 << 16;
const MOST_NODES = 20000;
const OPEN = 1e-12;

const sum = (choice, column) => {
  let total = 0;
  for (let n = 0; n < choice.length; n++) total += column[choice[n]];
  return total;
};

/** A problem made ready: which layers are free, and how those that hang together are decided.
 *
 * Each step of `steps` decides one `variable` given the `others` that later steps decide; the steps of
 * a free layer have none. `crossed` says that ties cross too often for it. */
export function problemOf(proxy, held = heldOf([], unnamed(proxy), widthsOf(proxy))) {
  const { start, w, a } = proxy;
  const { classes, of } = held;
  const count = start.length - 1;
  const tied = (part, layer) => classes[of[part][layer]].members.length > 1;
  const optionsOf = (layer) => {
    const [ws, as] = PARTS.map((part) => classes[of[part][layer]].allow);
    const found = [];
    for (let at = start[layer]; at < start[layer + 1]; at++) {
      if (ws.includes(w[at]) && as.includes(a[at])) found.push(at);
    }
    return found;
  };
  const free = [];
  const hanging = [];
  for (let layer = 0; layer < count; layer++) {
    if (PARTS.some((part) => tied(part, layer))) hanging.push(layer);
    else free.push({ layer, options: Uint32Array.from(optionsOf(layer)) });
  }
  const made = stepsOf(hanging, classes, of, proxy);
  const rows = [
    ...free,
    ...made.tables.map(({ layer, cells }) => ({
      layer,
      options: cells.filter((at) => at >= 0),
    })),
  ];
  const problem = {
    count,
    free,
    rows,
    empty: rows.some(({ options }) => !options.length),
    ...made,
  };
  if (problem.empty || problem.crossed) return problem;
  // pairs of widths that a layer does not have may leave its tie none
  const met = cheapest(problem, proxy.score, [], []).every((at) => at < w.length);
  return { ...problem, empty: !met };
}

const unnamed = ({ start }) => [...start.slice(1)].map((_, at) => ({ key: at }));

/** The order in which shared widths are decided, and where each step finds what it adds up. */
function stepsOf(hanging, classes, of, { start, w, a }) {
  const tables = hanging.map((layer) => {
    const [one, other] = PARTS.map((part) => of[part][layer]);
    const [ws, as] = [classes[one].allow, classes[other].allow];
    const cells = new Int32Array(ws.length * as.length).fill(-1);
    for (let at = start[layer]; at < start[layer + 1]; at++) {
      const [i, j] = [ws.indexOf(w[at]), as.indexOf(a[at])];
      if (i >= 0 && j >= 0) cells[i * as.length + j] = at;
    }
    return { layer, variables: [one, other], cells };
  });
  const size = (variables) => variables.reduce((n, v) => n * classes[v].allow.length, 1);
  // tables that still have a variable to be decided
  const open = new Map();
  const add = (table) => {
    for (const v of table.variables) open.set(v, (open.get(v) ?? new Set()).add(table));
  };
  tables.forEach(({ variables }, at) => add({ variables, at }));
  const around = (variable) => {
    const mine = [...open.get(variable)];
    const others = unique(mine.flatMap(({ variables }) => variables).filter((v) => v !== variable));
    return { variable, mine, others, cells: size([variable, ...others]) };
  };
  const alone = [...open.keys()].filter((v) => classes[v].members.length === 1);
  const steps = [];
  let slots = tables.length;
  let crossed = false;
  while (open.size) {
    // what one layer has to itself hangs on nothing else
    const { variable, others, mine, cells } = alone.length
      ? around(alone.pop())
      : [...open.keys()].map(around).reduce((x, y) => y.cells < x.cells ? y : x);
    crossed = cells > MOST_CELLS;
    if (crossed) break;
    open.delete(variable);
    for (const table of mine) for (const v of table.variables) open.get(v)?.delete(table);
    const wide = classes[variable].allow.length;
    // the value of each variable at every cell, the one that goes last
    const order = [...others, variable];
    const adds = mine.map(({ variables, at }) => {
      const places = new Int32Array(cells);
      for (let cell = 0; cell < cells; cell++) {
        const value = new Map();
        let rest = cell;
        for (const v of [...order].reverse()) {
          value.set(v, rest % classes[v].allow.length);
          rest = Math.floor(rest / classes[v].allow.length);
        }
        places[cell] = variables.reduce((n, v) => n * classes[v].allow.length + value.get(v), 0);
      }
      return { at, places };
    });
    const decides = mine.filter(({ at }) => at < tables.length).map(({ at }) => tables[at]);
    const rows = cells / Math.max(wide, 1);
    const taken = new Uint8Array(rows);
    steps.push({ variable, others, wide, rows, adds, decides, taken, slot: slots });
    if (others.length) add({ variables: others, at: slots });
    slots += 1;
  }
  const values = [
    ...tables.map(({ cells }) => new Float64Array(cells.length)),
    ...steps.map(({ rows }) => new Float64Array(rows)),
  ];
  return { tables, steps, values, crossed, classes };
}

/** Where among the cells of a step the values that its others have lie. */
const rowOf = ({ others }, classes, value) =>
  others.reduce((n, v) => n * classes[v].allow.length + value[v], 0);

const cellSum = ({ adds }, values, cell) => {
  let total = 0;
  for (let n = 0; n < adds.length; n++) total += values[adds[n].at][adds[n].places[cell]];
  return total;
};

/** Score + sum of price * cost of an option. */
function worth(at, score, columns, prices) {
  let value = score[at];
  for (let k = 0; k < prices.length; k++) value += prices[k] * columns[k][at];
  return value;
}

/** The allowed allocation of the least score + sum of price * cost: an option for each layer. */
export function cheapest(problem, score, columns, prices) {
  const { count, free, tables, steps, values, classes } = problem;
  const choice = new Uint32Array(count);
  for (let n = 0; n < free.length; n++) {
    const { layer, options } = free[n];
    let best = Infinity;
    for (let m = 0; m < options.length; m++) {
      const value = worth(options[m], score, columns, prices);
      if (value < best) {
        best = value;
        choice[layer] = options[m];
      }
    }
  }
  for (let n = 0; n < tables.length; n++) {
    const [{ cells }, out] = [tables[n], values[n]];
    for (let cell = 0; cell < cells.length; cell++) {
      out[cell] = cells[cell] < 0 ? Infinity : worth(cells[cell], score, columns, prices);
    }
  }
  for (const step of steps) {
    const out = values[step.slot];
    for (let row = 0; row < out.length; row++) {
      out[row] = Infinity;
      for (let x = 0; x < step.wide; x++) {
        const value = cellSum(step, values, row * step.wide + x);
        if (value < out[row]) [out[row], step.taken[row]] = [value, x];
      }
    }
  }
  const value = new Int32Array(classes.length);
  for (let n = steps.length - 1; n >= 0; n--) {
    value[steps[n].variable] = steps[n].taken[rowOf(steps[n], classes, value)];
  }
  for (const table of tables) choice[table.layer] = optionAt(table, classes, value);
  return choice;
}

/** The option that a layer has at the values of its two variables; -1 where it has none. */
const optionAt = ({ variables: [one, other], cells }, classes, value) =>
  cells[value[one] * classes[other].allow.length + value[other]];

/** Least predicted damage within limits on summed costs, or null where nothing is found to fit.
 * Lagrangian relaxation (Fisher 1981) by bisection, then the exchanges that still fit, then all that
 * could be better where that is not too much; `gap` is how far from the least possible it can be at
 * most. `problem` is what `problemOf` made of the same proxy and of what is set. */
export function solve(proxy, limits, problem = plain(proxy), most = MOST_NODES) {
  const { score, cost, fixed } = proxy;
  if (problem.empty || problem.crossed) return null;
  const columns = limits.map(([name]) => cost[name]);
  const room = limits.map(([name, limit]) => limit * (1 + SLACK) - fixed[name]);
  const least = columns.map((column) => sum(cheapest(problem, column, [], []), column));
  if (least.some((value, k) => value > room[k])) return null;
  const scale = room.map((value, k) => Math.max(value - least[k], 1));
  const excess = (choice) => columns.map((column, k) => (sum(choice, column) - room[k]) / scale[k]);
  const top = 2 * score.reduce((total, value) => total + Math.abs(value), 0);
  let bound = -Infinity;
  let damage = Infinity;
  let best = null;
  let rates = [];
  const attempt = (prices) => {
    const scaled = prices.map((price, k) => price / scale[k]);
    const choice = cheapest(problem, score, columns, scaled);
    const found = sum(choice, score);
    const over = excess(choice);
    const low = over.reduce((value, o, k) => value + prices[k] * o, found);
    if (low > bound) [bound, rates] = [low, scaled];
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
    const found = cheapest(problem, dear, [], []);
    if (excess(found).every((o) => o <= 0)) best = found;
  }
  if (best) {
    improve(proxy, problem, columns, room, best);
    damage = sum(best, score);
  }
  let gap = Math.max(0, damage - bound);
  if (gap > OPEN * (1 + Math.abs(bound))) {
    const known = { bound, damage, best, nodes: most };
    const done = exhaust(proxy, problem, columns, room, rates, known);
    ({ best, damage } = known);
    gap = done ? 0 : Math.max(0, damage - bound);
  }
  if (!best) return null;
  const all = Object.keys(fixed).map((name) => [name, fixed[name] + sum(best, cost[name])]);
  return { choice: best, cost: Object.fromEntries(all), score: damage, gap };
}

const plains = new WeakMap();

/** The problem where nothing is set. */
function plain(proxy) {
  if (!plains.has(proxy)) plains.set(proxy, problemOf(proxy));
  return plains.get(proxy);
}

/** Change one decision after another, the most useful first, for as long as it fits. */
function improve({ score }, { free, tables, classes }, columns, room, choice) {
  const left = columns.map((column, k) => room[k] - sum(choice, column));
  const value = valuesOf(tables, classes, choice);
  const byClass = new Map();
  for (const table of tables) {
    for (const v of table.variables) byClass.set(v, [...(byClass.get(v) ?? []), table]);
  }
  const spent = (moves, column) =>
    moves.reduce((total, [layer, at]) => total + column[at] - column[choice[layer]], 0);
  for (let rounds = 0; rounds < 400; rounds++) {
    let gain = -1e-15;
    let taken = null;
    for (const { layer, options } of free) {
      const now = choice[layer];
      for (const at of options) {
        const change = score[at] - score[now];
        if (change < gain && columns.every((c, k) => c[at] - c[now] <= left[k])) {
          [gain, taken] = [change, { moves: [[layer, at]] }];
        }
      }
    }
    for (const [variable, members] of byClass) {
      const had = value[variable];
      for (let x = 0; x < classes[variable].allow.length; x++) {
        value[variable] = x;
        const moves = members.map((table) => [table.layer, optionAt(table, classes, value)]);
        const change = moves.some(([, at]) => at < 0) ? 0 : spent(moves, score);
        if (change < gain && columns.every((c, k) => spent(moves, c) <= left[k])) {
          [gain, taken] = [change, { moves, variable, x }];
        }
      }
      value[variable] = had;
    }
    if (!taken) return;
    columns.forEach((c, k) => {
      left[k] -= spent(taken.moves, c);
    });
    for (const [layer, at] of taken.moves) choice[layer] = at;
    if (taken.variable !== undefined) value[taken.variable] = taken.x;
  }
}

/** The values of all variables at which layers have these options. */
function valuesOf(tables, classes, choice) {
  const value = new Int32Array(classes.length);
  for (const { layer, variables: [one, other], cells } of tables) {
    const cell = cells.indexOf(choice[layer]);
    const wide = classes[other].allow.length;
    [value[one], value[other]] = [Math.floor(cell / wide), cell % wide];
  }
  return value;
}

/** Go through all that the bound does not exclude, decision by decision, and take over what is
 * better. True where nothing was left out: what is known then is the least possible. */
function exhaust({ score }, problem, columns, room, rates, known) {
  const { count, free, steps, values, classes, rows } = problem;
  cheapest(problem, score, columns, rates);
  const worth = (at) => rates.reduce((value, rate, k) => value + rate * columns[k][at], score[at]);
  // decisions as they are taken: shared widths first, each with what it does to the layers it decides
  const singles = free.map(({ layer, options }) => {
    const worths = [...options].map((at) => [worth(at, score, columns, rates), at]).sort((
      [x],
      [y],
    ) => x - y);
    return { layer, ways: worths.map(([value, at]) => [value - worths[0][0], at]) };
  }).sort((x, y) => (y.ways[1]?.[0] ?? 0) - (x.ways[1]?.[0] ?? 0));
  const shared = steps.toReversed();
  const cheap = (column, layers) =>
    layers.reduce((total, layer) => total + floor.get(layer)[column], 0);
  const floor = new Map(rows.map(({ layer, options }) => [
    layer,
    columns.map((c) => options.reduce((low, at) => Math.min(low, c[at]), Infinity)),
  ]));
  const decided = [
    ...shared.map(({ decides }) => decides.map(({ layer }) => layer)),
    ...singles.map(({ layer }) => [layer]),
  ];
  // what all later decisions cost at least
  const later = columns.map((_, k) => {
    const after = new Float64Array(decided.length + 1);
    for (let at = decided.length - 1; at >= 0; at--) {
      after[at] = after[at + 1] + cheap(k, decided[at]);
    }
    return after;
  });
  const choice = new Uint32Array(count);
  const value = new Int32Array(classes.length);
  const spent = new Float64Array(columns.length * (decided.length + 1));
  const hopeless = (excess) =>
    known.bound + excess >= known.damage - OPEN * (1 + Math.abs(known.damage));
  const enter = (depth, excess) => {
    if (depth === decided.length) {
      const found = sum(choice, score);
      if (found < known.damage) [known.damage, known.best] = [found, choice.slice()];
      return true;
    }
    const step = shared[depth];
    let ways;
    if (step) {
      const from = rowOf(step, classes, value) * step.wide;
      const least = values[step.slot][from / step.wide];
      ways = [...Array(step.wide).keys()]
        .map((x) => [cellSum(step, values, from + x) - least, x]).sort(([x], [y]) => x - y);
    } else ways = singles[depth - shared.length].ways;
    for (const [more, way] of ways) {
      if (!(more < Infinity) || hopeless(excess + more)) break;
      if (known.nodes-- < 1) return false;
      if (step) {
        value[step.variable] = way;
        for (const table of step.decides) choice[table.layer] = optionAt(table, classes, value);
      } else choice[singles[depth - shared.length].layer] = way;
      let fits = true;
      for (let k = 0; k < columns.length; k++) {
        let total = spent[depth * columns.length + k];
        for (const layer of decided[depth]) total += columns[k][choice[layer]];
        spent[(depth + 1) * columns.length + k] = total;
        fits &&= total + later[k][depth + 1] <= room[k];
      }
      if (fits && !enter(depth + 1, excess + more)) return false;
    }
    return true;
  };
  return enter(0, 0);
}

/** Costs and damages of the best allocations at many exchange rates of damage for one cost, by rising
 * cost: the line that is drawn. As `_members` of Python's payload. */
export function lineOf({ score, cost, fixed }, problem, name) {
  if (problem.empty || problem.crossed) return { costs: [], damages: [] };
  const column = cost[name];
  const all = problem.rows.flatMap(({ options }) => [...options]);
  const [low, high] = all.reduce(
    ([l, h], at) => [Math.min(l, score[at]), Math.max(h, score[at])],
    [Infinity, -Infinity],
  );
  const dearest = all.reduce((most, at) => Math.max(most, column[at]), 1);
  const found = [];
  for (let at = -1; at < PRICES; at++) {
    const rate = at < 0 ? 0 : (10 ** ((10 * at) / PRICES - 6) * (high - low || 1)) / dearest;
    const choice = cheapest(problem, score, [column], [rate]);
    found.push([fixed[name] + sum(choice, column), sum(choice, score)]);
  }
  found.sort(([a, x], [b, y]) => a - b || x - y);
  const front = found.filter(([, damage], at) =>
    found.slice(0, at).every(([, other]) => damage < other)
  );
  return { costs: front.map(([c]) => c), damages: front.map(([, d]) => d) };
}

/** A line of `lineOf` as a method of points and the places of its front. */
const predictedFront = (method, { costs, damages }, id) => [
  { ...method, cost: { [id]: costs }, y: { damage: damages } },
  costs.map((_, at) => at),
];
