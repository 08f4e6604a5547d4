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
    input === FLOAT ? "a float" : `a ${+input.toFixed(1)}`,
  ].join(" · ");
}

function costText(of, r, id) {
  const { factor, unit } = of.axes.get(id);
  return `${figure(r.cost[id] / factor)} ${unit}`;
}

/** What the order of the rows means, in words. */
function tiesText(of, within) {
  const { now, equal, proxy, methods, data: { words } } = of;
  const count = now.filter((r) => r && !Number.isNaN(r.y.loss)).length;
  if (proxy || !count) return "";
  const more = methods.length - SHOWN_ROWS;
  const scroll = more > 0 ? `; ${more} more below` : "";
  if (within) {
    const unit = of.unit === "nats" ? words.far : words.lost;
    return `Smallest first; ${unit} lost at most, all rows together 95 %${scroll}`;
  }
  const same = equal.size > 1
    ? `; ${equal.size} of ${count} networks tie with the best (bar)`
    : count > 1
    ? "; the first network is told apart from all others"
    : "";
  const lost = words.lost === "points" ? "Points" : words.lost;
  return `${lost} lost against float, ±95 %${same}${scroll}`;
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
