// What the reader has set: an ordered list of rules on layers' widths, and what it comes to.
// {pattern: layer, part, allow: [widths]} says which widths a part of a layer may have, a later one
// in place of an earlier one; {tie: [layers], part} that layers share one width. Nothing here touches
// the page. Names of layers may hold anything: they are told as text only.

const PARTS = ["weight", "activation"];
const SAID = { weight: "", activation: " activations" };
const MOST_SAID = 3;

const unique = (all) => [...new Set(all)].sort((a, b) => a - b);

/** The rules as decisions: layers that are tied are one. `layers` have a `key`, `widths` are those
 * that each part of each layer could have.
 *
 * Each class has its part, its members, the widths they may share (`allow`), and `kind`: "lock" where
 * rules leave one width, "only" where they leave fewer than there are, "none" where they leave none,
 * "" where nothing is set. `of[part][layer]` is the number of a layer's class. */
export function heldOf(rules, layers, widths) {
  const places = new Map(layers.map(({ key }, at) => [key, at]));
  const set = { weight: new Map(), activation: new Map() };
  const groups = { weight: new Map(), activation: new Map() };
  for (const { pattern, part, allow, tie } of rules) {
    if (!tie) set[part].set(places.get(pattern), allow);
    else {
      const members = tie.map((name) => places.get(name)).filter((at) => at !== undefined);
      const all = new Set(members.flatMap((at) => [at, ...(groups[part].get(at) ?? [])]));
      for (const at of all) groups[part].set(at, all);
    }
  }
  const classes = [];
  const of = { weight: [], activation: [] };
  for (const part of PARTS) {
    layers.forEach((_, layer) => {
      if (of[part][layer] !== undefined) return;
      const members = unique(groups[part].get(layer) ?? [layer]);
      const common = widths[part][layer]
        .filter((width) => members.every((at) => widths[part][at].includes(width)));
      const allow = common
        .filter((width) => members.every((at) => set[part].get(at)?.includes(width) ?? true));
      const narrowed = members.some((at) => set[part].has(at)) && allow.length < common.length;
      const kind = !allow.length ? "none" : narrowed ? allow.length > 1 ? "only" : "lock" : "";
      for (const at of members) of[part][at] = classes.length;
      classes.push({ part, members, common, allow, kind });
    });
  }
  const any = classes.some(({ kind, members }) => kind || members.length > 1);
  return { classes, of, any, key: keyOf(classes) };
}

/** What classes come to, as text: the same for rules that say the same. */
const keyOf = (classes) =>
  classes.filter(({ kind, members }) => kind || members.length > 1)
    .map(({ part, members, kind, allow }) => `${part[0]}${members}:${kind ? allow : "*"}`)
    .sort().join(" ");

const classOf = ({ classes, of }, part, layer) => classes[of[part][layer]];

/** Names of the layers that a decision is about. */
const namesOf = (held, layers, part, layer) =>
  classOf(held, part, layer).members.map((at) => layers[at].key);

const isOf = (names, part) => (rule) => rule.part === part && names.includes(rule.pattern);

/** The rules after a decision was locked at a width, or let go where it was locked. */
export function locked(rules, held, layers, part, layer, width) {
  const names = namesOf(held, layers, part, layer);
  if (classOf(held, part, layer).kind !== "lock") {
    return [...rules, ...names.map((pattern) => ({ pattern, part, allow: [width] }))];
  }
  // what was allowed before it was locked is allowed again
  const last = names.map((name) =>
    rules.findLast((rule) => rule.part === part && rule.pattern === name)
  ).filter((rule) => rule?.allow.length === 1);
  return last.length
    ? rules.filter((rule) => !last.includes(rule))
    : allowed(rules, held, layers, part, layer, null);
}

/** The rules after a decision was allowed just these widths; null allows all. */
export function allowed(rules, held, layers, part, layer, widths) {
  const names = namesOf(held, layers, part, layer);
  const others = rules.filter((rule) => !isOf(names, part)(rule));
  if (!widths || widths.length === classOf(held, part, layer).common.length) return others;
  return [...others, ...names.map((pattern) => ({ pattern, part, allow: unique(widths) }))];
}

/** The rules after two layers were tied, with all that either was tied to. */
export function joined(rules, held, layers, part, one, other) {
  const members = unique([one, other].flatMap((at) => classOf(held, part, at).members));
  const names = members.map((at) => layers[at].key);
  const others = rules.filter((rule) =>
    !(rule.tie && rule.part === part && names.includes(rule.tie[0]))
  );
  return [...others, { tie: names, part }];
}

/** The rules after one layer was let go from its tie. */
export function parted(rules, held, layers, part, layer) {
  const names = namesOf(held, layers, part, layer);
  const left = names.filter((name) => name !== layers[layer].key);
  const others = rules.filter((rule) =>
    !(rule.tie && rule.part === part && rule.tie.some((name) => names.includes(name)))
  );
  return left.length > 1 ? [...others, { tie: left, part }] : others;
}

// floats of 16 and 32 bits are told by name, as in Python
const NAMED = { 17: "bf16", 18: "fp16", 32: "float" };
// "4g64": groups of 128, 64 and 32 inputs add 32, 64 and 96 to their bits
for (const place of [1, 2, 3]) {
  for (let bits = 2; bits <= 8; bits++) NAMED[32 * place + bits] = `${bits}g${256 >> place}`;
}
const widthText = (width) => NAMED[width] ?? `${width}`;

/** "4 bits", or the name of a float. */
export const bitsText = (width) => NAMED[width] ?? `${width} bits`;

/** Widths in words: "4", "4 or 8", "2, 4 or 8", "no width". */
export const widthsText = (widths) =>
  [widths.slice(0, -1).map(widthText).join(", "), widths.slice(-1).map(widthText).join()]
    .filter(Boolean).join(" or ") || "no width";

const cellText = (layers, part, layer) => `${layers[layer].short}${SAID[part]}`;

/** What is set, in words: "2 locked, 1 tie of 3, conv1 only 4 or 8"; "" where nothing is. */
export function heldText({ classes }, layers) {
  const count = classes.filter(({ kind }) => kind === "lock")
    .reduce((total, { members }) => total + members.length, 0);
  const sizes = classes.map(({ members }) => members.length).filter((size) => size > 1);
  const ties = unique(sizes).map((size) => {
    const many = sizes.filter((each) => each === size).length;
    return `${many} ${many > 1 ? "ties" : "tie"} of ${size}`;
  });
  const narrow = classes.filter(({ kind }) => kind === "only" || kind === "none")
    .flatMap(({ part, members, allow }) =>
      members.map((at) => [cellText(layers, part, at), allow])
    );
  const told = narrow.slice(0, MOST_SAID).map(([name, allow]) =>
    `${name} only ${widthsText(allow)}`
  );
  const more = narrow.length - told.length;
  return [
    ...(count ? [`${count} locked`] : []),
    ...ties,
    ...told,
    ...(more ? [`${more} more narrowed`] : []),
  ].join(", ");
}

/** Which decisions have no width left, in words; "" where all have one. */
export function noneText({ classes }, layers) {
  const none = classes.filter(({ kind }) => kind === "none");
  if (!none.length) return "";
  const [{ part, members }] = none;
  const names = members.slice(0, MOST_SAID).map((at) => layers[at].short).join(", ");
  const others = members.length - MOST_SAID;
  const who = others > 0 ? `${names} and ${others} more` : names;
  const what = part === "weight" ? "weights" : "activations";
  const share = members.length > 1
    ? "share no width that each of them may have"
    : "have no width left";
  const rest = none.length > 1 ? ` So do ${none.length - 1} others.` : "";
  return `The ${what} of ${who} ${share}.${rest} Allow one, or clear what is set.`;
}

/** Which points of a method have bits as they are set: one entry a point, 0 or 1. */
export function keptOf(method, { classes }, count) {
  const rules = classes.filter(({ kind, members }) => kind || members.length > 1);
  return Uint8Array.from(method.row, (row) => {
    if (row < 0) return 0;
    return +rules.every(({ part, members, kind, allow }) => {
      const bits = method[part[0]];
      const width = bits[row * count + members[0]];
      return (!kind || allow.includes(width)) &&
        members.every((at) => bits[row * count + at] === width);
    });
  });
}

/** Widths that each part of each layer has in some of the options of a problem. */
export function widthsOf({ start, w, a }) {
  const of = (bits) =>
    [...start.slice(0, -1)].map((from, at) => unique(bits.slice(from, start[at + 1])));
  return { weight: of(w), activation: of(a) };
}

/** Places of the front of a method's points that have what is set, by rising cost. */
export function keptFront({ sel, keeps, cost, value }, id) {
  const prices = cost[id];
  const found = [...sel].filter((at) => keeps[at])
    .sort((a, b) => prices[a] - prices[b] || value[a] - value[b] || a - b);
  let least = Infinity;
  return found.filter((at) => {
    if (!(value[at] < least)) return false;
    least = value[at];
    return true;
  });
}
