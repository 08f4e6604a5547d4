// What the explorer says of picks and points: their losses, small print, order and gaps.
// `of` is the explorer. Names of layers and methods may hold anything: they are told as text only.

const SHOWN_ROWS = 7;
const signed = (value) => (Object.is(+value.toFixed(2), -0) ? 0 : value).toFixed(2);

/** What a pick loses against the float network, with its interval, or what it scores. */
function scoreText(of, { y, low, high, absolute, bound }) {
  if (of.proxy) return `${figure(y.damage)} ${of.data.score.unit}`;
  if (bound !== undefined) {
    if (of.unit !== "nats") return `≤ ${bound.toFixed(2)}`;
    // a long unit would leave no room for the method; the line above the rows names it
    const { far } = of.data.words;
    return `≤ ${figure(bound)}${far.length > 5 ? "" : ` ${far}`}`;
  }
  if (Number.isNaN(y.loss)) return `${absolute.toFixed(1)} ${of.data.words.symbol}`;
  const half = Math.max(y.loss - low, high - y.loss);
  return `${signed(y.loss)} ±${half.toFixed(2)}`;
}

/** The small print of a pick: its size, its score, and what makes it another kind of thing. */
function detailText(of, r, id) {
  const gap = r.gap ? `at most ${figure(r.gap)} above the least` : "exact";
  if (of.proxy) return `predicted, ${gap} · ${costText(of, r, id)}`;
  const { method, absolute, tested, input } = r;
  return [
    costText(of, r, id),
    `${absolute.toFixed(1)} ${of.data.words.symbol} ${tested ? "test" : "search"}`,
    ...(method.trained ? ["trained"] : []),
    ...(method.aim === "loss" ? ["by loss"] : []),
    `inputs ${input === FLOAT ? "float" : +input.toFixed(1)}`,
  ].join(" · ");
}

function costText(of, r, id) {
  const { factor, unit } = of.axes.get(id);
  return `${figure(r.cost[id] / factor)} ${unit}`;
}

/** What the order of the rows means, in words. */
function tiesText(of, within) {
  const { now, equal, proxy, methods, data: { words } } = of;
  const known = now.filter((r) => r && !Number.isNaN(r.y.loss));
  if (proxy || !known.length) return "";
  const tested = known.filter((r) => r.tested).length;
  // beside tested networks those that only the search split has seen are compared with none
  const count = tested || known.length;
  const left = known.length - count;
  const untested = left ? `, ${left} not tested` : "";
  const more = methods.length - SHOWN_ROWS;
  const scroll = more > 0 ? `; ${more} more below` : "";
  if (within) {
    const unit = of.unit === "nats" ? words.far : words.lost;
    return `Smallest first; ${unit} lost at most, all rows together 95 %${scroll}`;
  }
  const same = equal.size > 1
    ? `; ${equal.size} of ${count}${left ? " tested" : ""} networks tie with the best (bar)`
    : count > 1
    ? "; the first network is told apart from all others"
    : "";
  const lost = words.lost === "points" ? "Points" : words.lost;
  return `${lost} lost against float, ±95 %${same}${untested}${scroll}`;
}

/** Offer to search the stretch of the axis, at the budget or the widest, that nobody has. */
function offerGap(of) {
  const { view: { x, on, values }, proxy, gap, sliders } = of;
  const { gaps, factor, unit } = of.axes.get(x);
  const limit = on[x] && sliders[x] ? values[x] * factor : NaN;
  const here = gaps.find(([low, high]) => low <= limit && limit <= high);
  const widest = gaps.reduce((a, b) => b[1] / b[0] > a[1] / a[0] ? b : a, gaps[0]);
  const [low, high] = here ?? widest ?? [];
  gap.hidden = Boolean(proxy) || low === undefined;
  const { run, id } = of.now[of.at] ?? {};
  of.searched = { cost: x, low, high, run, id };
  const words = `Not searched: ${figure(low / factor)} to ${figure(high / factor)} ${unit}. ` +
    "Search there";
  if (!gap.hidden && gap.textContent !== words) gap.textContent = words;
}

/** What is told of a measured point. */
function tipOf(of, r) {
  const split = `n=${r.n.toLocaleString("en-US")}, ${r.tested ? "test" : "search"} split`;
  const between = `${signed(r.low)} to ${signed(r.high)}`;
  const { symbol, lost: unit, far } = of.data.words;
  const lost = `loses ${signed(r.y.loss)} ${unit} (${between}; ${split})`;
  return [
    r.method.title,
    ...(Number.isNaN(r.y.loss) ? [] : [lost]),
    `${r.absolute.toFixed(2)} ${symbol} (${split})`,
    `objective ${figure(r.value)} ${far} on the search split`,
    ...of.data.axes.map((axis) => `${axis.label}: ${costText(of, r, axis.id)}`),
  ];
}

/** Why no method gives anything, in words, with the way out. */
function whyText(of, limits, within) {
  const { axes, data, proxy, problem, held, layers, methods, view } = of;
  const set = held.any;
  const none = set && noneText(held, layers);
  if (none) return none;
  if (problem?.crossed) return "These ties cross too often to be solved here. Untie some.";
  if (problem?.empty) return "Tied layers have no widths in common. Untie some, or allow more.";
  const words = `what is set (${heldText(held, layers)})`;
  if (set && !proxy && !methods.some(({ sel, keeps }) => sel.some((at) => keeps[at]))) {
    return `No measured point has ${words}. Set less, or clear it.`;
  }
  const short = limits.flatMap(([name, limit]) => {
    const { least, label, factor, unit } = axes.get(name);
    const cost = set ? leastOf(of, name) : least.cost;
    if (!(cost > limit * (1 + SLACK))) return [];
    const smallest = `${label}: the smallest with ${words} is ${figure(cost / factor)} ${unit}.`;
    return [set ? smallest : least.words];
  });
  const budgets = `${short.join(" ") || "Each budget alone can be met, but not both at once."} ` +
    `Raise a budget${set ? ", or set less" : ""}.`;
  if (!within || short.length) return `${data.nothing} ${budgets}`;
  return methods.some((method) => smallest(method, within, view.x, [])[0] >= 0)
    ? "Within these budgets no tested point is shown to lose so little. Raise a budget."
    : "No tested point is shown to lose so little. Accept more, or have more points tested.";
}

/** The least of a cost that what is set leaves. */
function leastOf({ proxy, problem, methods }, name) {
  if (!proxy) {
    const costs = methods.flatMap(({ sel, keeps, cost }) =>
      [...sel].filter((at) => keeps[at]).map((at) => cost[name][at])
    );
    return Math.min(...costs);
  }
  const column = proxy.cost[name];
  return proxy.fixed[name] + sum(cheapest(problem, column, [], []), column);
}

/** The least settings of a budget that allow each member of a front, rising. */
function stopsOf(of, method, id) {
  if (!of.held.any || !of.sliders[id]) return method.stops[id] ?? [];
  const { factor, decimals } = of.sliders[id].b;
  const [{ cost }, front] = of.frontOf(method, id);
  const grid = 10 ** decimals;
  return unique([...front].map((at) => Math.ceil((cost[id][at] / factor) * grid - SLACK) / grid));
}

/** What is told of a layer, and of what a method gives it. */
function linesOf(of, { layer, part, method }) {
  const facts = of.layers[layer];
  const r = of.now[method ?? of.at];
  const bits = (all) => bitsText(all[layer]);
  const bytes = r?.w && weightBytes(of.data, facts.weights, r.w[layer]);
  const held = bytes
    ? [
      `${r.method.title}: weights ${bits(r.w)}, activations ${bits(r.a)}`,
      `weights take ${bytes} B`,
    ]
    : [];
  const set = part ? of.cells.setText({ part, layer }) : [];
  return [facts.name, ...held, ...set, ...facts.facts];
}

/** The rows of the methods, best first: what each gives. */
function writeRows(of, id, within) {
  const { now, cards, methods, order } = of;
  order.forEach((at, slot) => {
    const r = now[at];
    const card = cards.children[slot];
    const { title, path, colour, label } = methods[at];
    card.ariaPressed = at === of.at;
    card.classList.toggle("tied", Boolean(r && !within && of.equal.has(r.method)));
    if (card.dataset.method !== label) {
      card.dataset.method = label;
      const mark = card.querySelector("path");
      mark.setAttribute("d", path);
      mark.style.color = colour;
    }
    put(card, {
      b: title,
      strong: r ? scoreText(of, r) : within ? "none" : "nothing fits",
      ".detail": r ? detailText(of, r, id) : "",
    });
  });
}
