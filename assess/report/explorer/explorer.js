// ---- small helpers for the page: text is only ever text ----

// the name is read from an element: a page that loads nothing holds no address
const SVG = new DOMParser().parseFromString("<svg></svg>", "text/html").body.firstChild.namespaceURI;

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const KINDS = { az: "zone", ext: "outside" };
const words = (name) => KINDS[name] ?? name.replaceAll("_", " ");
/** Cut a long name in the middle: names of one team often differ at the end only. */
function short(text, most = 120) {
  const signs = [...text];
  if (signs.length <= most) return text;
  const tail = Math.floor(most / 3);
  return `${signs.slice(0, most - tail - 1).join("")}…${signs.slice(-tail).join("")}`;
}
const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
const known = (x) => x !== null && x !== undefined;
/** A typed price: empty is unknown, 0 is free. */
const priceOf = (text = "") => (text.trim() && Number(text) >= 0 ? Number(text) : null);

function percent(share) {
  if (!known(share)) return "–";
  return share > 0 && share < 0.005 ? "< 1%" : `${round(share * 100)}%`;
}

const wholePercent = (x) => (x === 0.5 ? "< 1%" : `${x}%`);

function number(x, digits = 0, signed = false) {
  if (!known(x)) return "unknown";
  const at = Math.abs(x) < 10 ? digits : 0;
  const digitsOf = { minimumFractionDigits: at, maximumFractionDigits: at, roundingMode: "halfEven" };
  const text = Math.abs(x).toLocaleString("en", digitsOf);
  const isZero = Number(text.replaceAll(",", "")) === 0;
  if (x < 0 && !isZero) return `−${text}`;
  return signed ? `+${text}` : text;
}

function interval([lo, point, hi], digits = 0, signed = false) {
  const [a, b, c] = [lo, point, hi].map((x) => number(x, digits, signed));
  return (a === b && b === c) || (!known(lo) && !known(hi)) ? b : `${b} (${a} to ${c})`;
}

/** Two ends without a middle. */
function range(lo, hi) {
  const [a, b] = [number(lo), number(hi)];
  return a === b ? a : `${a} to ${b}`;
}

const name = (text) => h("bdi", null, short(text));

/** A binary heap: the cheapest comes first, of equal ones the earliest. */
class Heap {
  constructor() {
    this.items = [];
    this.n = 0;
  }

  isBefore(a, b) {
    const [x, y] = [this.items[a], this.items[b]];
    return x[0] < y[0] || (x[0] === y[0] && x[2] < y[2]);
  }

  swap(a, b) {
    [this.items[a], this.items[b]] = [this.items[b], this.items[a]];
  }

  push(cost, value) {
    let at = this.items.push([cost, value, this.n]) - 1;
    this.n += 1;
    for (let up = at - 1 >> 1; at > 0 && this.isBefore(at, up); up = at - 1 >> 1) {
      this.swap(at, up);
      at = up;
    }
  }

  pop() {
    this.swap(0, this.items.length - 1);
    const first = this.items.pop();
    const least = (at) => [2 * at + 1, 2 * at + 2].reduce((a, b) => (b < this.items.length && this.isBefore(b, a) ? b : a), at);
    for (let at = 0, down = least(0); this.items.length && down !== at; down = least(at)) {
      this.swap(at, down);
      at = down;
    }
    return first;
  }
}

// ---- the explorer ----

const BASE = "#explore/";
const NO_SERVICES = "the snapshot has no services.";
const ROWS = 12;
const STEP = 200; // rows that a table grows by: a browser lays out ten thousand slowly
// columns that need no head on a phone
const PLAIN = ["#", "Service", "Label", "Element", "Check", "Check or fact", "Gate", "Kind", "Name", "Target"];
const DRAWN = 14; // services in a layer
const ABOUT = { team: 0, platform: 1, move: 2, why: 3 }; // places in the row of a service
const TABS = [
  ["ranking", "Ranking", "rank"],
  ["find", "Find", "facts"],
  ["blast", "Blast radius", "blast"],
  ["targets", "Targets", "targets"],
];
const ASKING = new Set(("a an and are at be by can do does for from go have how if in is it its many most my no of on or our "
  + "service services should so that the this to up was we what when where which who whose why will with would could you").split(" "));
const FAILING = /\b(fail|break|crash|down|outage)/;
const escaped = (text) => encodeURIComponent(text.toWellFormed?.() ?? text);

const bare = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");

/** Count the letters to change, add, drop or swap that turn one word into another. */
function slips(a, b) {
  let before = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
      // two letters in the wrong order are one slip
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) next[j] = Math.min(next[j], before[j - 2] + 1);
    }
    [before, row] = [row, next];
  }
  return row[b.length];
}

/** Things with a name, or a part of one, that is spelt nearly like a word; the nearest first. */
function near(things, word) {
  const asked = bare(word);
  const most = Math.floor(asked.length / 3);
  const distance = ({ text }) => {
    const parts = [text, ...text.split(/[-_./:@ ]/)].map(bare);
    // one or two letters are near to everything; a part of another length cannot be near
    const alike = parts.filter((part) => part.length > 2 && Math.abs(part.length - asked.length) <= most);
    return Math.min(Infinity, ...alike.map((part) => slips(asked, part)));
  };
  const far = new Map(things.map((thing) => [thing, distance(thing)]));
  return things.filter((thing) => far.get(thing) <= most).sort((a, b) => far.get(a) - far.get(b));
}

/** Things that a word names, then those whose kind, name or question has any; a rare word counts more. */
function related(things, asked) {
  const weights = new Map();
  const text = ({ kind, text, note }) => `${kind} ${text} ${typeof note === "string" ? note : ""}`.toLowerCase();
  const hasPart = (thing, word) => thing.text.toLowerCase().split(/[-_./:@]/).includes(word);
  for (const word of asked) {
    // a word of questions is in nearly every text, and a short one inside of other words
    const isContained = (thing) => !ASKING.has(word) && (hasPart(thing, word) || (word.length > 3 && text(thing).includes(word)));
    const isName = (thing) => thing.text.toLowerCase() === word;
    const exact = things.filter((thing) => isName(thing) || isContained(thing));
    const found = exact.length || ASKING.has(word) ? exact : near(things, word);
    for (const thing of found) weights.set(thing, (weights.get(thing) ?? 0) + isName(thing) + 1 / found.length);
  }
  return [...weights].sort(([, a], [, b]) => b - a).map(([thing]) => thing);
}

class Explorer {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.isFramed = root.dataset.framed !== undefined;
    this.place = new Map(data.names.map((text, i) => [text, i]));
    this.wish = { kind: "all" };
    this.marks = new Map();
    this.prices = new Map();
    this.more = new Map(); // rows beyond the first, by table
    this.tabs = TABS.filter(([, , part]) => data[part]);
    this.body = h("div", { class: "x-body" });
    this.status = h("p", { class: "x-status", role: "status" });
    this.nav = h("nav", { "aria-label": "Views of the explorer", class: "x-tabs" });
    root.append(this.nav, this.body, this.status);
    root.addEventListener("click", (event) => this.follow(event));
    addEventListener("hashchange", () => this.arrive());
    this.go(location.hash.startsWith(BASE) ? location.hash : root.dataset.start, false);
  }

  text(at) {
    return at < 0 ? "" : this.data.texts[at];
  }

  /** The name of an element as people read it. */
  elementName(text) {
    return this.data.blast.shorter.reduce((cut, [long, by]) => cut.replace(new RegExp(long), by), text);
  }

  // -- where we are: every view has an address --

  /** The address of a view; the wish and the marks go along. */
  link(view, ...rest) {
    const query = this.query();
    return BASE + [view, ...rest].map(escaped).join("/") + (query ? `?${query}` : "");
  }

  query() {
    const parts = [];
    const { wish } = this;
    const pairs = (values, show) => Object.entries(values).map(([key, value]) => `${escaped(key)}:${show(value)}`);
    if (wish.kind === "board") parts.push(`board=${escaped(wish.id)}`);
    if (wish.kind === "order") parts.push(`order=${wish.order.map(escaped).join()}`);
    if (wish.kind === "weights") parts.push(`weights=${pairs(wish.weights, String).join()}&give=${wish.give}`);
    for (const [j, prices] of this.prices) parts.push(`price=${escaped(this.data.targets.places[j].id)}:${prices.join(":")}`);
    for (const [service, items] of this.marks) {
      const title = escaped(this.data.names[service]);
      for (const [item, isGood] of items) {
        parts.push(`${isGood ? "good" : "bad"}=${title}/${escaped(this.itemName(service, item))}`);
      }
    }
    return parts.join("&");
  }

  /** Read a view, a wish and marks from an address; what does not exist is left out. */
  read(hash) {
    const [path, query = ""] = hash.slice(BASE.length).split("?");
    const decode = (text) => {
      try {
        return decodeURIComponent(text);
      } catch {
        return text;
      }
    };
    this.path = path.split("/").map(decode);
    if (!this.path[0]) this.path = [this.tabs[0][0]];
    this.wish = { kind: "all" };
    this.marks = new Map();
    this.prices = new Map();
    const { rank } = this.data;
    for (const part of query.split("&").filter(Boolean)) {
      const [key, value = ""] = part.split("=");
      if (key === "price") {
        const [id, ...prices] = value.split(":").map(decode);
        const j = this.data.targets?.places.findIndex((place) => place.id === id) ?? -1;
        if (j >= 0) this.prices.set(j, [0, 1, 2].map((at) => priceOf(prices[at])));
      }
      if (!rank) continue;
      if (key === "board") {
        const id = decode(value);
        if (rank.boards.some((board) => board.id === id)) this.wish = { kind: "board", id };
      } else if (key === "order") {
        const order = value.split(",").map(decode).filter((c) => rank.criteria.includes(c));
        this.wish = { kind: "order", order: [...new Set([...order, ...rank.criteria])] };
      } else if (key === "weights") {
        const pairs = value.split(",").map((pair) => pair.split(":"));
        const given = Object.fromEntries(pairs.map(([c, w]) => [decode(c), Math.min(Math.max(Number(w) || 0, 0), 100)]));
        const weights = Object.fromEntries(rank.criteria.map((c) => [c, given[c] ?? 0]));
        this.wish = { kind: "weights", weights, give: this.wish.give ?? 10 };
      } else if (key === "give" && this.wish.kind === "weights") {
        this.wish.give = Math.min(Math.max(Number(value) || 0, 0), 50);
      } else if (key === "good" || key === "bad") {
        const [title, item] = value.split("/").map(decode);
        this.mark(title, item, key === "good");
      }
    }
  }

  mark(title, item, isGood) {
    const service = this.place.get(title);
    const items = this.data.what_if?.cases[service]?.items ?? [];
    const at = items.findIndex((_, i) => this.itemName(service, i) === item);
    if (at >= 0) this.setMark(service, at, isGood);
  }

  setMark(service, item, isGood) {
    const items = new Map(this.marks.get(service));
    if (isGood === null) items.delete(item);
    else items.set(item, isGood);
    if (items.size) this.marks.set(service, items);
    else this.marks.delete(service);
  }

  itemName(service, item) {
    return this.text(this.data.what_if.cases[service].items[item]);
  }

  follow(event) {
    const link = event.target.closest?.("a[href]");
    if (!link || !this.isFramed) return;
    // in a frame the address bar is not ours
    event.preventDefault();
    if (link.getAttribute("href").startsWith(BASE)) this.go(link.getAttribute("href"), true);
  }

  arrive() {
    if (location.hash.startsWith(BASE)) this.go(location.hash, true);
  }

  go(hash, isMoved) {
    this.read(hash?.startsWith(BASE) ? hash : BASE);
    this.show();
    const isHere = location.hash.startsWith(BASE);
    if (isMoved) this.body.querySelector("h3")?.focus({ preventScroll: true });
    if (isHere && !this.isFramed) this.root.scrollIntoView();
  }

  /** Keep the address in step with what was changed in place. */
  note() {
    const hash = this.link(...this.path);
    if (this.isFramed) return;
    try {
      history.replaceState(null, "", hash);
    } catch {
      // some browsers refuse that to a file, or refuse too many: the view works without
    }
  }

  // -- the parts that every view shares --

  show() {
    const [view] = this.path;
    const views = {
      ranking: () => this.ranking(),
      find: () => this.find(),
      service: () => this.service(),
      team: () => this.group("team"),
      label: () => this.group("label"),
      gate: () => this.group("gate"),
      check: () => this.group("check"),
      blast: () => this.blast(),
      fails: () => this.fails(),
      targets: () => this.targets(),
      target: () => this.target(),
    };
    const first = this.tabs[0][0];
    const draw = Object.hasOwn(views, view) ? views[view] : views[first];
    const groups = ["service", "team", "label", "gate", "check"];
    const tab = { fails: "blast", target: "targets" }[view] ?? (groups.includes(view) ? "find" : view);
    const open = this.tabs.some(([id]) => id === tab) ? tab : first;
    this.nav.replaceChildren(...this.tabs.map(([id, title]) =>
      h("a", { href: this.link(id), "aria-current": id === open ? "page" : null }, title)));
    this.say("");
    this.body.replaceChildren(...[draw()].flat(2).filter(Boolean));
  }

  say(text) {
    this.status.textContent = text;
  }

  title(text, ...more) {
    return h("h3", { tabindex: -1 }, text, ...more);
  }

  none(what) {
    const wanted = this.path[1];
    return [this.title("Nothing of that name"), h("p", { class: "note" }, `There is no ${what} here. `,
      this.data.facts && wanted && h("a", { href: this.link("find", wanted) }, "Find similar names"))];
  }

  badge(label) {
    return h("span", { class: `badge ${this.data.bands[label] ?? "unknown"}` }, label);
  }

  serviceLink(i) {
    const text = this.data.names[i];
    return h("a", { href: this.link("service", text) }, name(text));
  }

  /** A table; cells are nodes or texts, a column is [title, isNumber]. */
  table(id, caption, columns, rows, { most = ROWS, empty = "Nothing to list." } = {}) {
    const wanted = most + (this.more.get(id) ?? 1); // a button would be as high as one row more
    // a row may be a function that makes it: only what is shown is made
    const shown = rows.slice(0, rows.length <= wanted ? wanted : wanted - 1).map((row) => (typeof row === "function" ? row() : row));
    const body = shown.map((row) => h("tr", row.attributes ?? null, (row.cells ?? row).map((cell, j) =>
      h("td", { class: columns[j][1] ? "number" : null, "data-head": PLAIN.includes(columns[j][0]) ? null : columns[j][0] }, cell))));
    const rest = rows.length - shown.length;
    const button = rest > 0 && h("button", { type: "button", class: "x-more", onclick: () => {
      this.more.set(id, (this.more.get(id) ?? 1) + STEP);
      this.refresh();
    } }, `Show ${Math.min(rest, STEP)} more${rest > STEP ? ` of ${rest}` : ""}`);
    if (!rows.length) return h("p", { class: "note" }, `${caption}: ${empty}`);
    return h("div", { class: "x-table" },
      h("div", { class: "x-scroll", tabindex: 0, role: "region", "aria-label": caption }, h("table", null,
        h("caption", null, caption),
        h("thead", null, h("tr", null, columns.map(([text, isNumber]) =>
          h("th", { scope: "col", class: isNumber ? "number" : null }, text)))),
        h("tbody", null, body))),
      button);
  }

  refresh() {
    this.show();
  }

  // -- ranking: a wish in, chances and labels out --

  /** The wish as `drawn` reads it: a preference, its draws and the stream that they come from. */
  preference(wish = this.wish) {
    const { rank } = this.data;
    const { salt, draws } = rank.meeting;
    if (wish.kind === "board") {
      return { ...rank.boards.find((board) => board.id === wish.id), draws: rank.draws };
    }
    if (wish.kind === "order") return { order: wish.order, draws, salt };
    if (wish.kind === "weights") return { ...this.weighted(wish), draws, salt };
    return { draws: rank.draws, salt: "" };
  }

  /** Weights of the sliders: fixed, or give or take some percent of the whole. */
  weighted({ weights, give }) {
    const sum = Object.values(weights).reduce((a, b) => a + b, 0);
    if (!give || !sum) return { weights };
    const intervals = {};
    for (const [criterion, weight] of Object.entries(weights)) {
      const at = Math.round(100 * weight / sum);
      intervals[criterion] = [Math.max(at - give, 0) / 100, Math.min(at + give, 100) / 100];
    }
    return { intervals };
  }

  ranking() {
    const { rank } = this.data;
    const kinds = [["all", "All weightings"], ...rank.boards.map((board) => [`board ${board.id}`, board.title ?? board.id]),
      ["order", "My order"], ["weights", "My weights"]];
    const now = this.wish.kind === "board" ? `board ${this.wish.id}` : this.wish.kind;
    const choice = h("fieldset", { class: "x-choice" }, h("legend", null, "Whose preferences"),
      kinds.map(([id, title]) => h("label", null,
        h("input", { type: "radio", name: "x-wish", checked: id === now, onchange: () => this.choose(id) }), title)));
    this.result = h("div");
    this.knobs = h("div", { class: "x-knobs" });
    this.turnable();
    this.rerank();
    return [this.title("Ranking by the preferences you choose"), choice, this.knobs, this.marked(), this.result];
  }

  choose(id) {
    const { rank } = this.data;
    const [kind, ...rest] = id.split(" ");
    if (kind === "all") this.wish = { kind };
    if (kind === "board") this.wish = { kind, id: rest.join(" ") };
    if (kind === "order") this.wish = { kind, order: [...rank.criteria] };
    if (kind === "weights") {
      this.wish = { kind, weights: Object.fromEntries(rank.criteria.map((c) => [c, 50])), give: 10 };
    }
    this.turnable();
    this.rerank();
    this.note();
  }

  /** Draw the knobs of the wish. */
  turnable() {
    const { wish } = this;
    if (wish.kind === "weights") this.knobs.replaceChildren(...this.sliders());
    else if (wish.kind === "order") this.knobs.replaceChildren(this.ladder());
    else if (wish.kind === "board") this.knobs.replaceChildren(h("p", { class: "note" }, this.boardText()));
    else this.knobs.replaceChildren();
  }

  boardText() {
    const board = this.preference();
    if (board.order?.length) return `Weightiest first: ${board.order.map(words).join(", ")}.`;
    const pairs = Object.entries(board.intervals ?? board.weights ?? {});
    const range = (x) => (Array.isArray(x) ? `${percent(x[0])} to ${percent(x[1])}` : String(x));
    return pairs.length ? `${pairs.map(([c, x]) => `${words(c)} ${range(x)}`).join("; ")}.` : "Any weights.";
  }

  sliders() {
    const { wish } = this;
    const outputs = {};
    const show = () => {
      const sum = Object.values(wish.weights).reduce((a, b) => a + b, 0);
      for (const [c, output] of Object.entries(outputs)) {
        output.value = sum ? `${Math.round(100 * wish.weights[c] / sum)}%` : "–";
      }
    };
    const turn = (act) => (event) => {
      act(Number(event.target.value));
      show();
      cancelAnimationFrame(this.frame);
      this.frame = requestAnimationFrame(() => this.rerank());
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.note(), 250);
    };
    const rows = Object.keys(wish.weights).map((c) => {
      outputs[c] = h("output");
      return h("label", { class: "x-slider" }, h("span", null, words(c)),
        h("input", { type: "range", min: 0, max: 100, value: wish.weights[c], "data-criterion": c, oninput: turn((x) => { wish.weights[c] = x; }) }),
        outputs[c]);
    });
    const give = h("label", { class: "x-slider" }, h("span", null, "give or take"),
      h("input", { type: "range", min: 0, max: 30, step: 5, value: wish.give, "data-criterion": "give", oninput: turn((x) => {
        wish.give = x;
        giveOutput.value = x ? `${x} points` : "exactly";
      }) }));
    const giveOutput = h("output", null, wish.give ? `${wish.give} points` : "exactly");
    give.append(giveOutput);
    show();
    return [h("div", { class: "x-sliders" }, rows, give)];
  }

  ladder() {
    const { order } = this.wish;
    const step = (at, by) => () => {
      const other = at + by;
      [order[at], order[other]] = [order[other], order[at]];
      this.turnable();
      this.rerank();
      this.note();
      this.knobs.querySelectorAll("li")[other].querySelector("button:not(:disabled)").focus();
    };
    return h("ol", { class: "x-order" }, order.map((c, at) => h("li", null, h("span", null, words(c)),
      h("button", { type: "button", disabled: at === 0, "aria-label": `${words(c)}: more weight`, onclick: step(at, -1) }, "↑"),
      h("button", { type: "button", disabled: at === order.length - 1, "aria-label": `${words(c)}: less weight`, onclick: step(at, 1) }, "↓"))));
  }

  rerank() {
    const { data } = this;
    const found = ranked(data, this.preference(), this.marks);
    if (!found) {
      this.result.replaceChildren(h("p", { class: "note" }, "These weights leave nothing to rank by: give one criterion some weight."));
      return;
    }
    const { rank } = data;
    const before = rank.label.map((at) => data.labels[at]);
    const rows = found.order.map((i, place) => () => {
      const isMoved = found.label[i] !== before[i];
      const chance = (values) => (rank.inside[i] ? "–" : percent(values[i]));
      return { attributes: { "data-service": i, class: isMoved ? "x-changed" : null }, cells: [
        String(place + 1), this.serviceLink(i),
        [this.badge(found.label[i]), isMoved && h("span", { class: "x-was" }, ` was ${before[i]}`)],
        chance(found.first), chance(found.top), chance(found.neutral)] };
    });
    const columns = [["#", true], ["Service"], ["Label"], ["First", true], [`Top ${rank.k}, worst case`, true], [`Top ${rank.k}, neutral case`, true]];
    const changed = found.label.filter((label, i) => label !== before[i]).length;
    const wish = this.preference();
    this.result.replaceChildren(
      this.table("ranking", "All services, best first", columns, rows, { empty: NO_SERVICES }),
      h("p", { class: "note" }, `${wish.draws.toLocaleString("en")} weightings. Gates and unknowns stay in force: in the worst case every unknown counts against the service.`));
    const isOwn = this.wish.kind !== "all" || this.marks.size;
    this.say(isOwn ? `${plural(changed, "label")} of ${data.names.length} ${changed === 1 ? "differs" : "differ"} from the report.` : "");
  }

  /** What is assumed in a what-if, with a way back. */
  marked() {
    if (!this.marks.size) return null;
    const count = [...this.marks.values()].reduce((sum, items) => sum + items.size, 0);
    return h("p", { class: "x-marks" }, `What if: ${plural(count, "assumption")} on `,
      [...this.marks.keys()].map((i, at) => [at ? ", " : "", this.serviceLink(i)]).flat(), ". ",
      h("button", { type: "button", onclick: () => {
        this.marks = new Map();
        this.note();
        this.refresh();
      } }, "Undo all"));
  }

  // -- find: services, teams, labels, gates and checks, and the evidence behind them --

  labelNow(i) {
    const { rank } = this.data;
    return rank ? this.current().label[i] : "";
  }

  /** The ranking in force, computed once for a wish and its marks. */
  current() {
    const key = this.query();
    if (this.known?.key !== key) {
      this.known = { key, found: ranked(this.data, this.preference(), this.marks) ?? ranked(this.data, { salt: "", draws: 0 }, new Map()) };
    }
    return this.known.found;
  }

  about(i, column) {
    const { rank } = this.data;
    return rank ? this.text(rank.about[Object.keys(ABOUT).length * i + column]) : "";
  }

  team(i) {
    return this.about(i, ABOUT.team);
  }

  find() {
    const { data } = this;
    const things = this.things();
    const found = h("div");
    const search = (wanted) => {
      const lower = wanted.trim().toLowerCase();
      const asked = lower.split(/[\s?!,;:"']+/).filter(Boolean);
      const named = things.filter(({ text }) => text.toLowerCase().includes(lower));
      // no name has it all: what most of its words are about
      const hits = named.length ? named : related(things, asked);
      const starts = (thing) => !thing.text.toLowerCase().startsWith(lower);
      if (lower && named.length) hits.sort((a, b) => starts(a) - starts(b));
      const fails = (kind, text) => kind === "service" && data.blast && FAILING.test(lower)
        && [" ", h("a", { href: this.link("fails", kind, text) }, "When it fails")];
      const rows = hits.map(({ kind, text, href, note }) => () => [kind, h("a", { href }, name(text)),
        [typeof note === "function" ? note() : note, fails(kind, text)].flat()]);
      found.replaceChildren(this.table("find", "What there is to look at", [["Kind"], ["Name"], ["About"]], rows, { most: 20, empty: "No name and no question has these words." }));
      this.say(lower ? `${named.length ? "" : "No such name. Similar or related: "}${hits.length} found.` : "");
    };
    const input = h("input", { type: "search", id: "x-find", value: this.path[1] ?? "", oninput: (event) => {
      search(event.target.value);
      this.path = ["find", event.target.value];
      this.note();
    } });
    const panel = [this.title("Find a service, team, label, gate, check or element"),
      h("p", { class: "x-search" }, h("label", { for: "x-find" }, "Find"), input), this.marked(), found];
    search(this.path[1] ?? "");
    return data.facts ? panel : this.none("evidence");
  }

  /** Everything with a view of its own. */
  things() {
    const { names, facts, rank, blast, labels } = this.data;
    const things = names.map((text, i) => ({ kind: "service", text, href: this.link("service", text), note: () => (rank ? this.badge(this.labelNow(i)) : "") }));
    const groups = (kind, values) => {
      const counts = new Map();
      for (const text of values) if (text) counts.set(text, (counts.get(text) ?? 0) + 1);
      for (const [text, n] of counts) things.push({ kind, text, href: this.link(kind, text), note: plural(n, "service") });
    };
    if (rank) {
      groups("team", names.map((_, i) => this.team(i)));
      const found = this.current().label;
      groups("label", [...found].sort((a, b) => labels.indexOf(a) - labels.indexOf(b)));
    }
    for (const { id, title } of facts?.gates ?? []) things.push({ kind: "gate", text: id, href: this.link("gate", id), note: title });
    for (const { id, question } of facts?.checks ?? []) things.push({ kind: "check", text: id, href: this.link("check", id), note: question });
    blast?.elements.forEach((at, i) => {
      const kind = this.text(blast.kinds[i]);
      if (kind !== "service") things.push({ kind: words(kind), text: this.elementName(this.text(at)), href: this.link("fails", kind, this.text(at)), note: "" });
    });
    return things;
  }

  /** Services of a team or label, or those that a gate or check is about. */
  group(kind) {
    const { names, facts, rank } = this.data;
    const wanted = this.path[1] ?? "";
    const everyone = [...names.keys()];
    const states = new Map();
    let head = [this.title(`${kind[0].toUpperCase()}${kind.slice(1)} `, name(wanted))];
    let members = everyone;
    if (kind === "team" && rank) members = everyone.filter((i) => this.team(i) === wanted);
    else if (kind === "label" && rank) members = everyone.filter((i) => this.labelNow(i) === wanted);
    else if (kind === "gate" || kind === "check") {
      const rules = kind === "gate" ? facts?.gates : facts?.checks;
      const rule = (rules ?? []).findIndex(({ id }) => id === wanted);
      if (rule < 0) return this.none(kind);
      head = [...head, ...this.rule(kind, rules[rule])];
      for (const i of everyone) {
        const row = (kind === "gate" ? this.gatesOf(i) : this.checksOf(i)).find((r) => r.rule === rules[rule]);
        if (row && row.state !== "na") states.set(i, row);
      }
      members = [...states.keys()];
    }
    if (!members.length) return this.none(kind);
    if (rank) {
      const place = new Map(this.current().order.map((i, at) => [i, at]));
      members.sort((a, b) => place.get(a) - place.get(b));
    }
    if (kind === "gate" || kind === "check") {
      const worst = ["fail", "conflict", "unknown", "partial", "waived", "pass"];
      members.sort((a, b) => worst.indexOf(states.get(a).state) - worst.indexOf(states.get(b).state));
      const rows = members.map((i) => () => {
        const { state, evidence, fact } = states.get(i);
        return [this.serviceLink(i), rank ? this.badge(this.labelNow(i)) : "", this.state(state), evidence || (fact && `to find out: ${fact}`), this.team(i)];
      });
      return [...head, this.marked(), this.table(kind, `Services, ${kind === "gate" ? "blocked" : "failing"} ones first`,
        [["Service"], ["Label"], ["State"], ["Evidence"], ["Team"]], rows, { most: 20 })];
    }
    // every service of a label has that label; its reason differs
    const [title, cell] = kind === "label" ? ["Why", (i) => this.about(i, ABOUT.why)] : ["Label", (i) => this.badge(this.labelNow(i))];
    return [...head, this.marked(), this.table(kind, "Services, best first",
      [["Service"], ["Readiness", true], ["Team"], ["Runs on"], [title]],
      members.map((i) => () => [this.serviceLink(i), interval(rank.points.slice(3 * i, 3 * i + 3)), this.team(i), this.about(i, ABOUT.platform), cell(i)]), { most: 20 })];
  }

  /** What a check or gate asks, why, what mends it, and where that comes from. */
  rule(kind, rule) {
    const lines = kind === "gate"
      ? [rule.title, `Blocks as: ${rule.label}.`, rule.remedy && `Remedy: ${rule.remedy}`]
      : [rule.question, rule.why, rule.remedy && `Remedy: ${rule.remedy}`, rule.source && `Source: ${rule.source}`, `Read from: ${rule.table}`];
    return lines.filter(Boolean).map((line) => h("p", { class: "x-line" }, line));
  }

  state(state) {
    const bands = { pass: "ready", partial: "conditional", waived: "conditional", fail: "blocked" };
    const titles = { pass: "passes", fail: "fails", partial: "in part", conflict: "disputed", na: "does not apply" };
    return h("span", { class: `badge ${bands[state] ?? "unknown"}` }, titles[state] ?? state);
  }

  checksOf(i) {
    const { atoms, checks } = this.data.facts;
    const rows = [];
    for (let at = 0; at < atoms[i].length; at += 5) {
      const [check, ...cells] = atoms[i].slice(at, at + 5);
      const [state, source, date, evidence] = cells.map((cell) => this.text(cell));
      rows.push({ rule: checks[check], state, source, date, evidence, fact: "" });
    }
    return rows;
  }

  gatesOf(i) {
    const { judged, gates } = this.data.facts;
    const rows = [];
    for (let at = 0; at < judged[i].length; at += 4) {
      const [gate, ...cells] = judged[i].slice(at, at + 4);
      const [state, evidence, fact] = cells.map((cell) => this.text(cell));
      rows.push({ rule: gates[gate], state, evidence, fact });
    }
    return rows;
  }

  // -- one service: its label, gates, evidence, and what would change it --

  service() {
    const { data } = this;
    const i = this.place.get(this.path[1]);
    if (i === undefined) return this.none("service");
    return [this.title(name(data.names[i])), data.rank && this.verdict(i), this.marked(),
      data.what_if && this.whatIf(i), data.facts && this.evidence(i), data.blast && this.takenDown(i), data.targets && this.places(i)];
  }

  verdict(i) {
    const { rank, labels } = this.data;
    const now = this.current();
    const before = labels[rank.label[i]];
    const points = rank.points.slice(3 * i, 3 * i + 3);
    const team = this.team(i);
    const items = [
      ["Label", [this.badge(now.label[i]), now.label[i] !== before && h("span", { class: "x-was" }, ` was ${before}`)]],
      ["Rank", rank.inside[i] ? "–" : `${now.order.indexOf(i) + 1} of ${this.data.names.length}`],
      ["Readiness", `${interval(points)} of 100`],
      [`Top ${rank.k}, worst case`, rank.inside[i] ? "runs in containers already" : percent(now.top[i])],
      ["Could move", this.about(i, ABOUT.move) || "–"],
      ["Team", team ? h("a", { href: this.link("team", team) }, name(team)) : "unknown"],
    ];
    return [this.facts(items), h("p", null, this.about(i, ABOUT.why))];
  }

  whatIf(i) {
    const given = this.data.what_if.cases[i];
    if (!given) return null;
    const marks = this.marks.get(i) ?? new Map();
    const checks = new Map(this.data.facts.checks.map((check) => [check.id, check]));
    const now = outcome(this.data.what_if, i, marks);
    const rows = given.items.flatMap((at, item) => {
      if (!given.fixable[item]) return [];
      const text = this.text(at);
      const fact = given.facts[item] >= 0;
      const set = (event) => {
        this.setMark(i, item, { good: true, bad: false }[event.target.value] ?? null);
        this.note();
        this.refresh();
        this.body.querySelector(`[data-item="${item}"]`)?.focus();
      };
      const options = fact ? [["", "unknown"], ["good", "it is good"], ["bad", "it is bad"]] : [["", "fails"], ["good", "fixed"]];
      const value = marks.has(item) ? (marks.get(item) ? "good" : "bad") : "";
      const select = h("select", { "aria-label": `What if: ${text}`, "data-item": item, onchange: set },
        options.map(([id, title]) => h("option", { value: id, selected: id === value }, title)));
      select.value = value;
      const check = checks.get(text);
      return [{ attributes: marks.has(item) ? { class: "x-changed" } : null, cells: [
        check ? h("a", { href: this.link("check", text) }, text) : text,
        check?.question ?? this.text(given.facts[item]), select, check?.remedy ?? ""] }];
    });
    const gate = now.gate ? `Gates say ${now.gate}.` : "Every gate passes.";
    return [h("h4", null, "What if"),
      h("p", { class: "x-outcome" }, `${gate} Readiness ${number(now.lo)} to ${number(now.hi)}.`),
      this.table(`what-if ${i}`, "Facts to find out, and checks to mend",
        [["Check or fact"], ["Question"], ["What if"], ["Remedy"]], rows, { most: 8, empty: "nothing is open." })];
  }

  evidence(i) {
    const gates = this.gatesOf(i).map(({ rule, state, evidence, fact }) => [
      h("a", { href: this.link("gate", rule.id) }, rule.id), rule.title, this.state(state), evidence || fact]);
    const order = ["fail", "conflict", "unknown", "partial", "pass", "na"];
    const checks = this.checksOf(i).sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
    const rows = checks.map(({ rule, state, source, date, evidence }) => [
      h("a", { href: this.link("check", rule.id) }, rule.id), this.state(state), evidence || "–", source || rule.table, date || "–"]);
    return [h("h4", null, "Evidence"),
      this.table(`gates ${i}`, "Gates", [["Gate"], ["About"], ["State"], ["Evidence"]], gates, { most: 20 }),
      this.table(`checks ${i}`, "Checks, failing ones first", [["Check"], ["State"], ["Rows"], ["Source"], ["As of"]], rows, { most: 10 })];
  }

  // -- blast radius: what goes down with an element, and by which path --

  elementLink(e) {
    const { blast } = this.data;
    const kind = this.text(blast.kinds[e]);
    const text = this.text(blast.elements[e]);
    return [`${words(kind)} `, h("a", { href: this.link("fails", kind, text) }, name(this.elementName(text)))];
  }

  takenDown(i) {
    const { blast } = this.data;
    const node = blast.nodes.findIndex((at) => this.text(at) === this.data.names[i]);
    if (node < 0) return null;
    const [elements, services, lo, point, hi] = blast.affected;
    const rows = [];
    elements.forEach((e, at) => {
      if (services[at] === node && e !== node) rows.push(at);
    });
    rows.sort((a, b) => point[b] - point[a] || hi[b] - hi[a]);
    const delta = blast.delta.slice(3 * i, 3 * i + 3);
    const minutes = blast.minutes.slice(2 * i, 2 * i + 2).map((x) => number(x));
    const [least, most] = blast.exposure.slice(2 * i, 2 * i + 2);
    const unseen = most > least ? `, at most ${number(most)} with unseen calls and places` : "";
    const lines = [
      blast.placed[i] ? `Single points of failure: ${number(least)}${unseen}.` : "Where it runs is unknown: any host, zone or engine may take it down.",
      `Minutes to recover: ${minutes[0]}. Minutes of outage per year: ${minutes[1]}.`,
      `Change of the blast radius by the move: ${interval(delta, 1, true)} percentage points (negative: better contained).`,
      ...this.moveWords(node),
    ];
    return [h("h4", null, "What takes it down"), h("p", null, lines.join(" ")),
      h("p", null, h("a", { href: this.link("fails", "service", this.data.names[i]) }, "What goes down with it")),
      this.table(`taken ${i}`, "Elements that can take it down, most likely first", [["Element"], ["Chance", true], ["At least", true], ["At most", true]],
        rows.map((at) => () => [this.elementLink(elements[at]), wholePercent(point[at]), wholePercent(lo[at]), wholePercent(hi[at])]), { most: 8, empty: "none is known. That is unknown, not safe." })];
  }

  /** What a move to the target leaves and joins. */
  moveWords(node) {
    const [, services, signs, texts] = this.data.blast.moves;
    const named = (sign) => texts.filter((_, at) => services[at] === node && signs[at] === sign).map((at) => this.text(at));
    return [["It leaves", named(-1)], ["It joins", named(1)]].flatMap(([verb, list]) => (list.length ? `${verb} ${list.join(", ")}.` : []));
  }

  blast() {
    const { blast } = this.data;
    if (!blast) return this.none("blast radius");
    const kinds = [...new Set(blast.kinds)];
    const only = this.path[1] ?? "";
    const chosen = [...blast.kinds.keys()].filter((e) => !only || this.text(blast.kinds[e]) === only);
    chosen.sort((a, b) => (blast.impact[3 * b + 1] ?? 0) - (blast.impact[3 * a + 1] ?? 0) || a - b);
    const filter = h("p", { class: "x-kinds" }, [["", "all"], ...kinds.map((at) => [this.text(at), words(this.text(at))])].map(([kind, title]) =>
      h("a", { href: kind ? this.link("blast", kind) : this.link("blast"), "aria-current": kind === only ? "true" : null }, title)));
    return [this.title("What goes down with what"), filter,
      this.table(`blast ${only}`, "Elements, worst first", [["Element"], ["Share of criticality (%)", true], ["One failure takes (%)", true], ["Computed"]],
        chosen.map((e) => () => [this.elementLink(e), interval(blast.impact.slice(3 * e, 3 * e + 3)),
          known(blast.next[2 * e]) ? range(...blast.next.slice(2 * e, 2 * e + 2)) : "–",
          known(blast.impact[3 * e]) ? this.text(blast.how[e]) : "–"]), { most: 15, empty: "nothing is known that could fail." })];
  }

  /** The most probable path from an element to every service: for each, the service before it. */
  ways(e, moved = null) {
    const { blast } = this.data;
    const [callee, caller] = blast.edges;
    let starts = blast.direct[0].flatMap((element, at) => (element === e ? [blast.direct[1][at]] : []));
    if (moved) starts = starts.filter((node) => !moved.left.includes(node)).concat(moved.joined);
    const ways = new Map();
    for (const p of blast.p) {
      const arcs = new Map();
      callee.forEach((from, at) => {
        if (!(p[at] > 0)) return;
        if (arcs.has(from)) arcs.get(from).push(at);
        else arcs.set(from, [at]);
      });
      const cost = new Map(starts.map((node) => [node, 0]));
      const before = new Map();
      const open = new Heap();
      for (const node of starts) open.push(0, node);
      while (open.items.length) {
        const [sumHere, node] = open.pop();
        if (sumHere > cost.get(node)) continue; // a cheaper way came later
        for (const at of arcs.get(node) ?? []) {
          const to = caller[at];
          // the small cost of a step makes the shortest of equal ways win
          const sum = cost.get(node) - Math.log(p[at]) + 1e-9;
          if (!cost.has(to) || sum < cost.get(to)) {
            cost.set(to, sum);
            before.set(to, { node });
            open.push(sum, to);
          }
        }
      }
      for (const node of cost.keys()) if (!ways.has(node)) ways.set(node, before.get(node) ?? null);
    }
    return ways;
  }

  fails() {
    const { blast } = this.data;
    const [, kind = "", wanted = ""] = this.path;
    const e = blast ? blast.elements.findIndex((at, i) => this.text(at) === wanted && this.text(blast.kinds[i]) === kind) : -1;
    if (e < 0) return this.none("element");
    const [elements, services, lo, point, hi] = blast.affected;
    let rows = [...elements.keys()].filter((at) => elements[at] === e);
    rows.sort((a, b) => point[b] - point[a] || hi[b] - hi[a]);
    const moved = this.movedOn(e);
    const isAfter = Boolean(moved) && this.path[3] === "after";
    const ways = this.ways(e, isAfter ? moved : null);
    // fewer services that go down at first raise no chance: today's chances are upper bounds
    // services that are reached by unseen calls alone stay in the list
    if (isAfter) {
      const before = this.ways(e);
      rows = rows.filter((at) => ways.has(services[at]) || !before.has(services[at]));
    }
    const bound = (x) => (isAfter ? `≤ ${wholePercent(x)}` : wholePercent(x));
    const path = (node) => {
      const steps = [];
      for (let at = ways.get(node); at; at = ways.get(at.node)) steps.unshift(this.elementName(this.text(blast.nodes[at.node])));
      return steps;
    };
    const frozen = blast.frozen[1].filter((_, at) => blast.frozen[0][at] === e);
    const impact = blast.impact.slice(3 * e, 3 * e + 3);
    const head = known(impact[1])
      ? `Expected to go down: ${interval(impact)} percent of the fleet's criticality. In brackets: the least expected, and all that can be reached, with unseen calls. Computed: ${this.text(blast.how[e])}.`
      : "No source says what runs there, nor what goes down with it.";
    const isPlaced = kind !== "registry";
    const cells = rows.map((at) => () => {
      const node = services[at];
      const steps = path(node);
      const way = ways.has(node) ? steps.join(" → ") || "directly" : "by calls or places that nobody has seen";
      return [this.nodeLink(node), bound(point[at]), isAfter ? "–" : wholePercent(lo[at]), bound(hi[at]), h("bdi", null, way)];
    });
    return [this.title(`When ${words(kind)} `, name(this.elementName(wanted)), " fails"), h("p", null, head),
      frozen.length > 0 && h("p", null, `${plural(frozen.length, "service")} can be neither moved nor deployed meanwhile: `,
        frozen.slice(0, ROWS).flatMap((node, at) => [at ? ", " : "", this.nodeLink(node)]), frozen.length > ROWS ? " …" : ""),
      moved && this.beforeAfter(kind, wanted, moved, isAfter),
      isPlaced && rows.length > 1 && this.layers(e, rows, ways),
      this.table(`fails ${e}`, "What goes down, most likely first", [["Service"], ["Chance", true], ["At least", true], ["At most", true], ["By way of"]], cells,
        { most: 15, empty: kind === "registry" ? "nothing goes down with a registry." : "nothing that is known." })];
  }

  /** Services that a move takes off an element, and those that it brings. */
  movedOn(e) {
    const [elements, services, signs] = this.data.blast.moves;
    const of = (sign) => services.filter((_, at) => elements[at] === e && signs[at] === sign);
    const moved = { left: of(-1), joined: of(1) };
    return moved.left.length || moved.joined.length ? moved : null;
  }

  beforeAfter(kind, text, { left, joined }, isAfter) {
    const views = [["Before the moves", []], ["After the moves", ["after"]]];
    const effect = `If every service moved to the target, ${left.length} would no longer go down with it directly, and ${joined.length} more would.`;
    const caution = isAfter && (joined.length ? " What the new ones would lose is not computed here." : " No chance rises, so those of today are upper bounds.");
    return [h("p", { class: "x-kinds" }, views.map(([title, rest], at) =>
      h("a", { href: this.link("fails", kind, text, ...rest), "aria-current": isAfter === Boolean(at) ? "true" : null }, title))), h("p", { class: "note" }, effect, caution)];
  }

  nodeLink(node) {
    const text = this.text(this.data.blast.nodes[node]);
    return this.place.has(text) ? h("a", { href: this.link("service", text) }, name(text)) : name(this.elementName(text));
  }

  /** Draw in layers what goes down, by the number of steps; the table has the same services. */
  layers(e, rows, ways) {
    const { blast } = this.data;
    const [, services, , point] = blast.affected;
    const reached = rows.filter((at) => ways.has(services[at]) && services[at] !== e);
    const depth = (node) => {
      let n = 1;
      for (let at = ways.get(node); at; at = ways.get(at.node)) n += 1;
      return n;
    };
    const isService = this.text(blast.kinds[e]) === "service" || this.text(blast.kinds[e]) === "ext";
    const columns = [];
    for (const at of reached) {
      const layer = depth(services[at]) - (isService ? 1 : 0);
      (columns[layer] ??= []).push(at);
    }
    const filled = columns.filter(Boolean).map((column) => column.slice(0, DRAWN));
    const shown = filled.flat();
    if (!filled.length) return null;
    const [wide, high, gap] = [168, 34, 72];
    const most = Math.max(...filled.map((column) => column.length));
    const size = [(filled.length + 1) * (wide + gap) - gap, most * (high + 8) + 8];
    const at = new Map();
    const box = (x, y, text, chance, key, act) => {
      at.set(key, [x, y]);
      return s("g", act ? { class: "x-node", onclick: act } : { class: "x-node x-root" },
        s("rect", { x, y, width: wide, height: high, rx: 5 }),
        known(chance) && s("rect", { class: "x-chance", x, y: y + high - 4, width: wide * Math.min(chance, 100) / 100, height: 4 }),
        s("text", { x: x + 8, y: y + 19 }, short(text, 14)),
        known(chance) && s("text", { x: x + wide - 8, y: y + 19, class: "x-figure" }, wholePercent(chance)),
        s("title", null, text));
    };
    const top = (n) => (size[1] - n * (high + 8)) / 2 + 4;
    const boxes = [box(0, top(1), this.elementName(this.text(blast.elements[e])), null, "root")];
    filled.forEach((column, layer) => column.forEach((row, place) => {
      const text = this.text(blast.nodes[services[row]]);
      boxes.push(box((layer + 1) * (wide + gap), top(column.length) + place * (high + 8), text, point[row], services[row], () => this.open("service", text)));
    }));
    const lines = shown.map((row) => {
      const before = ways.get(services[row])?.node;
      const [x, y] = at.get(services[row]);
      const [fromX, fromY] = at.get(before) ?? at.get("root");
      const [x1, y1, y2, middle] = [fromX + wide, fromY + high / 2, y + high / 2, (fromX + wide + x) / 2];
      return s("path", { d: `M${x1},${y1}C${middle},${y1} ${middle},${y2} ${x},${y2}` });
    });
    const more = reached.length - shown.length;
    return h("figure", { class: "x-layers" }, h("div", { class: "scroll" },
      s("svg", { viewBox: `-1 -1 ${size[0] + 2} ${size[1] + 2}`, width: size[0] + 2, height: size[1] + 2, "aria-hidden": "true" }, lines, boxes)),
    h("figcaption", null, `Each column is one step further. The bar is the chance to go down.${more > 0 ? ` The ${DRAWN} most likely of each step are drawn, ${more} more are in the table.` : ""}`));
  }

  open(view, ...rest) {
    const hash = this.link(view, ...rest);
    if (this.isFramed) this.go(hash, true);
    else location.hash = hash;
  }

  // -- targets: where to, and what it would cost --

  at(i, j) {
    return i * this.data.targets.places.length + j;
  }

  /** Numbers of a service at a target: low, middle and high, by name. */
  there(i, j) {
    const { targets } = this.data;
    const n = targets.columns.length;
    const cells = Object.fromEntries(targets.columns.map((column, c) => [column, targets.numbers[this.at(i, j) * n + c]]));
    const ends = (key) => [cells[`${key}_lo`], cells[key], cells[`${key}_hi`]];
    return { readiness: ends("readiness"), hours: ends("hours_per_year"), delta: ends("delta"), effort: cells.effort_hours,
      cost: this.prices.has(j) ? this.priced(i, j) : ends("cost_per_month") };
  }

  /** Cost a month by typed prices, as `cost.py` has it; without a size that has a price it is unknown. */
  priced(i, j) {
    const { targets } = this.data;
    const place = targets.places[j];
    const [cpuPrice, memoryPrice, fixed] = this.prices.get(j);
    const size = targets.sizes.slice(9 * i, 9 * i + 9);
    const least = place.id === targets.stay ? 1 : place.replicas;
    if (![cpuPrice, memoryPrice, fixed].every(known)) return [null, null, null];
    return [0, 1, 2].map((end) => {
      const parts = [[size[end], cpuPrice], [size[3 + end], memoryPrice]].filter(([, price]) => price);
      if (parts.some(([amount]) => !known(amount))) return null;
      const each = parts.reduce((sum, [amount, price]) => sum + amount * price * targets.hours, 0);
      return Math.round((each * Math.max(size[6 + end], least) + fixed) * 100) / 100;
    });
  }

  /** Whether another target that fits is at least as good in every respect at its worst, and better in one. */
  isBeaten(i, j) {
    const { targets } = this.data;
    if (!this.prices.size) return targets.dominated[this.at(i, j)] === 1;
    const losses = (other) => {
      const { readiness, hours, delta, cost, effort } = this.there(i, other);
      return [known(readiness[0]) ? -readiness[0] : null, hours[2], delta[2], cost[2], effort].map((x) => x ?? Infinity);
    };
    const here = losses(j);
    return targets.places.some((_, other) => {
      if (this.verdictAt(i, other) !== "fits") return false;
      const there = losses(other);
      return there.every((x, at) => x <= here[at]) && there.some((x, at) => x < here[at]);
    });
  }

  verdictAt(i, j) {
    const { targets } = this.data;
    return targets.verdicts[targets.verdict[this.at(i, j)]] ?? "unknown";
  }

  targets() {
    const { targets, names, rank } = this.data;
    if (!targets) return this.none("targets");
    const isCost = this.path[1] === "cost";
    const order = rank ? this.current().order : [...names.keys()];
    const { places } = targets;
    const rows = order.map((i) => () => [this.serviceLink(i), ...places.map((place, j) =>
      (isCost ? h("a", { href: this.link("target", names[i], place.id) }, interval(this.there(i, j).cost)) : this.verdictLink(i, j)))]);
    return [this.title("Where to: every service on every target"),
      h("p", { class: "x-kinds" }, [["Verdicts", []], ["Cost a month", ["cost"]]].map(([title, rest], at) =>
        h("a", { href: this.link("targets", ...rest), "aria-current": isCost === Boolean(at) ? "true" : null }, title))),
      h("p", { class: "note" }, isCost ? "By the prices of the policy, or those that you type below; unknown without a size or a price (0 is free)."
        : "A cell opens what is in the way there, and what it takes. Beaten: another target that fits is at least as good in every respect."),
      this.table("targets", isCost ? "Cost a month" : "Verdicts", [["Service"], ...places.map((place) => [place.title || place.id, isCost])], rows, { most: 15, empty: NO_SERVICES }),
      isCost && places.map((_, j) => this.priceKnobs(j))];
  }

  /** Fields for the prices of one target. */
  priceKnobs(j) {
    const place = this.data.targets.places[j];
    const names = { vcpu_hour: "vCPU-hour", gib_hour: "GiB-hour", service_month: "service-month" };
    const given = this.prices.get(j) ?? Object.values(place.prices);
    const typed = (at) => (event) => {
      const prices = [...given];
      prices[at] = priceOf(event.target.value);
      this.prices.set(j, prices);
      this.note();
      this.refresh();
      this.body.querySelector(`[data-price="${j} ${at}"]`)?.focus();
    };
    return h("fieldset", { class: "x-choice" }, h("legend", null, `Prices: ${place.title || place.id}${place.currency ? `, ${place.currency}` : ""}`),
      Object.values(names).map((title, at) => h("label", null, `per ${title}`,
        h("input", { type: "number", min: 0, step: "any", value: given[at] ?? "", placeholder: "unknown", "data-price": `${j} ${at}`, onchange: typed(at) }))));
  }

  verdictLink(i, j) {
    const { targets, names } = this.data;
    const verdict = this.verdictAt(i, j);
    const beaten = this.isBeaten(i, j) ? h("small", null, " beaten") : null;
    return h("a", { class: `badge ${this.verdictBand(verdict)}`, href: this.link("target", names[i], targets.places[j].id) }, verdict, beaten);
  }

  verdictBand(verdict) {
    return { fits: "ready", "after fixes": "conditional", no: "blocked" }[verdict] ?? "unknown";
  }

  blockers(i, j) {
    return this.data.targets.blockers[this.at(i, j)].map((at) => this.text(at));
  }

  places(i) {
    const rows = this.data.targets.places.map((place, j) =>
      [place.title || place.id, this.verdictLink(i, j), this.blockers(i, j).join("; ") || "nothing is in the way", interval(this.there(i, j).cost)]);
    return [h("h4", null, "Where to"), this.table(`places ${i}`, "Targets", [["Target"], ["Verdict"], ["In the way"], ["Cost a month", true]], rows)];
  }

  target() {
    const { targets, names } = this.data;
    const i = this.place.get(this.path[1]);
    const j = targets?.places.findIndex(({ id }) => id === this.path[2]) ?? -1;
    if (i === undefined || j < 0) return this.none("service and target");
    const place = targets.places[j];
    const { readiness, hours, delta, cost, effort } = this.there(i, j);
    const verdict = this.verdictAt(i, j);
    const items = [
      ["Verdict", h("span", { class: `badge ${this.verdictBand(verdict)}` }, verdict)],
      ["Readiness there", `${interval(readiness)} of 100`],
      ["Hours of upgrades a year", interval(hours, 1)],
      ["Change by the move", `${interval(delta, 1, true)} percentage points`],
      ["Cost a month", interval(cost)],
      ["Hours of the move", number(effort)],
      ["Who patches", place.patched_by],
    ];
    const blockers = this.blockers(i, j);
    return [this.title(name(names[i]), ` on ${place.title || place.id}`), this.facts(items), this.priceKnobs(j),
      h("h4", null, "In the way"),
      blockers.length ? h("ul", null, blockers.map((text) => h("li", null, text))) : h("p", null, "Nothing."),
      h("p", null, this.serviceLink(i), " · ", h("a", { href: this.link("targets") }, "All targets"))];
  }

  facts(items) {
    return h("dl", { class: "x-facts" }, items.map(([term, text]) => h("div", null, h("dt", null, term), h("dd", null, text))));
  }
}

// ---- start: the data is a compressed text beside the script ----

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (x) => x.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

async function start(root) {
  try {
    const data = await unpacked(root.dataset.packed);
    root.hidden = false;
    const link = document.getElementById("explore-link");
    if (link) link.hidden = false;
    const explorer = new Explorer(root, data);
    // a count on the first screen opens the services behind it
    if (data.rank) {
      for (const badge of document.querySelectorAll(".tally .badge")) {
        badge.replaceWith(h("a", { class: badge.className, href: explorer.link("label", badge.textContent) }, badge.textContent));
      }
    }
    // the first turn of a knob should not wait for these
    if (data.rank) setTimeout(() => uniforms(data.rank, data.rank.pool + data.names.length, data.rank.pool + data.names.length), 300);
  } catch (error) {
    root.hidden = false;
    root.append(`The explorer needs a newer browser (${error.message}). The tables hold the same facts.`);
  }
}

const root = document.getElementById("explore");
if (root) start(root);
