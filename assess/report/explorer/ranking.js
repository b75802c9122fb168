// ---- the generator of numpy, bit for bit: PCG64 (XSL RR 128/64) and what draws from it ----

const LIMB = 65536; // 128 bits are eight limbs of 16
const limbs = (hex) => Float64Array.from({ length: 8 }, (_, i) =>
  parseInt(hex.slice(28 - 4 * i, 32 - 4 * i), 16));
const FACTOR = limbs("2360ed051fc65da44385df649fccf645");
const TWO_53 = 2 ** 53;

class Generator {
  constructor([state, increment]) {
    this.state = limbs(state);
    this.spare = new Float64Array(8);
    this.increment = limbs(increment);
    this.half = -1;
  }

  step() {
    const old = this.state;
    const next = this.spare;
    let carry = 0;
    for (let k = 0; k < 8; k += 1) {
      let sum = carry + this.increment[k];
      for (let i = 0; i <= k; i += 1) sum += old[i] * FACTOR[k - i];
      carry = Math.floor(sum / LIMB);
      next[k] = sum - carry * LIMB;
    }
    this.state = next;
    this.spare = old;
    let low = (next[0] | next[1] << 16) ^ (next[4] | next[5] << 16);
    let high = (next[2] | next[3] << 16) ^ (next[6] | next[7] << 16);
    const turn = next[7] >>> 10;
    if (turn & 32) [low, high] = [high, low];
    const by = turn & 31;
    this.low = (by ? low >>> by | high << 32 - by : low) >>> 0;
    this.high = (by ? high >>> by | low << 32 - by : high) >>> 0;
  }

  uint32() {
    const half = this.half;
    if (half >= 0) {
      this.half = -1;
      return half;
    }
    this.step();
    this.half = this.high;
    return this.low;
  }

  bits53() {
    this.step();
    return this.high * 2097152 + (this.low >>> 11);
  }

  /** A whole number up to and with `most`, by masked rejection. */
  upTo(most) {
    const mask = 2 ** (32 - Math.clz32(most)) - 1;
    for (;;) {
      const value = this.uint32() & mask;
      if (value <= most) return value;
    }
  }

  exponential() {
    for (;;) {
      const bits = this.bits53();
      const i = this.low >>> 3 & 255;
      const x = bits * ZIGGURAT.width[i];
      if (bits < ZIGGURAT.key[i]) return x;
      const u = this.bits53() / TWO_53;
      if (i === 0) return ZIGGURAT.end - Math.log1p(-u);
      const { height } = ZIGGURAT;
      if ((height[i - 1] - height[i]) * u + height[i] < Math.exp(-x)) return x;
    }
  }
}

/** Tables of Marsaglia and Tsang (2000), The ziggurat method for generating random variables. */
const ZIGGURAT = (() => {
  const end = 7.69711747013104972;
  const area = 0.0039496598225815571993;
  const key = new Float64Array(256);
  const width = new Float64Array(256);
  const height = new Float64Array(256);
  const base = area / Math.exp(-end);
  let x = end;
  let before = end;
  key[0] = Math.floor(x / base * TWO_53);
  width[0] = base / TWO_53;
  width[255] = x / TWO_53;
  height[0] = 1;
  height[255] = Math.exp(-x);
  for (let i = 254; i >= 1; i -= 1) {
    x = -Math.log(area / x + Math.exp(-x));
    key[i + 1] = Math.floor(x / before * TWO_53);
    before = x;
    height[i] = Math.exp(-x);
    width[i] = x / TWO_53;
  }
  return { key, width, height, end };
})();

// ---- SMAA: weights and chances as `assess` draws them, in whole steps of a grid ----

const GRID = 2 ** 20;
const HALVES = 2 ** 52; // added and taken away, it rounds halves to even
const round = (x) => x + HALVES - HALVES;
const SLACK = 1e-9;

/** Weights uniform on the simplex, not on the grid yet. */
function simplex(generator, draws, n) {
  const weights = new Float64Array(draws * n);
  for (let at = 0; at < weights.length; at += n) {
    let sum = 0;
    for (let c = at; c < at + n; c += 1) {
      weights[c] = generator.exponential();
      sum += weights[c];
    }
    for (let c = at; c < at + n; c += 1) weights[c] /= sum;
  }
  return weights;
}

function ordered(generator, draws, n, order) {
  const weights = simplex(generator, draws, n);
  const others = Array.from({ length: n }, (_, c) => c).filter((c) => !order.includes(c));
  for (let at = 0; at < weights.length; at += n) {
    const falling = weights.slice(at, at + n).sort().reverse();
    const rest = falling.slice(order.length);
    for (let i = rest.length - 1; i > 0; i -= 1) {
      const j = generator.upTo(i);
      [rest[i], rest[j]] = [rest[j], rest[i]];
    }
    order.forEach((c, i) => { weights[at + c] = falling[i]; });
    others.forEach((c, i) => { weights[at + c] = rest[i]; });
  }
  return weights;
}

const ROUNDS = 500;
const rounds = new Map(); // by stream and draws: rejection starts anew with every preference

function between(stream, draws, low, high) {
  const n = low.length;
  const key = `${stream} ${draws} ${n}`;
  if (!rounds.has(key)) rounds.set(key, { generator: new Generator(stream), parts: [] });
  const { generator, parts } = rounds.get(key);
  const add = (a, b) => a + b;
  const roomUp = Math.max(1 - low.reduce(add, 0), 0);
  const roomDown = Math.max(high.reduce(add, 0) - 1, 0);
  const weights = new Float64Array(draws * n);
  let found = 0;
  for (let part = 0; part < ROUNDS && found < draws; part += 1) {
    if (part === parts.length) parts.push(simplex(generator, draws, n));
    const shares = parts[part];
    for (let at = 0; at < shares.length && found < draws; at += n) {
      let fits = true;
      for (let c = 0; c < n && fits; c += 1) {
        const share = shares[at + c];
        const weight = roomUp <= roomDown ? low[c] + roomUp * share : high[c] - roomDown * share;
        fits = weight >= low[c] - SLACK && weight <= high[c] + SLACK;
        weights[found * n + c] = weight;
      }
      found += fits;
    }
  }
  return found < draws ? null : weights;
}

/** Weights of a preference on the grid; null where none fit. */
function drawn(rank, wish) {
  const names = rank.criteria;
  const n = names.length;
  const stream = rank.streams[wish.salt];
  let weights;
  if (wish.order?.length) {
    const order = wish.order.map((name) => names.indexOf(name));
    weights = ordered(new Generator(stream), wish.draws, n, order);
  } else if (wish.intervals && Object.keys(wish.intervals).length) {
    const ends = names.map((name) => wish.intervals[name] ?? [0, 1]);
    weights = between(stream, wish.draws, ends.map((e) => e[0]), ends.map((e) => e[1]));
  } else if (wish.weights && Object.keys(wish.weights).length) {
    const fixed = names.map((name) => wish.weights[name] ?? 0);
    const sum = fixed.reduce((a, b) => a + b, 0);
    if (!(sum > 0)) return null;
    weights = new Float64Array(wish.draws * n);
    for (let at = 0; at < weights.length; at += 1) weights[at] = fixed[at % n] / sum;
  } else {
    weights = simplex(new Generator(stream), wish.draws, n);
  }
  return weights && weights.map((x) => round(x * GRID));
}

/** Reorder the first `n` of `values` so that the k-th largest is at its place, and return it. */
function kthLargest(values, n, k) {
  let left = 0;
  let right = n - 1;
  const place = k - 1;
  while (left < right) {
    const pivot = values[left + right >> 1];
    let i = left;
    let j = right;
    while (i <= j) {
      while (values[i] > pivot) i += 1;
      while (values[j] < pivot) j -= 1;
      if (i <= j) {
        const swap = values[i];
        values[i] = values[j];
        values[j] = swap;
        i += 1;
        j -= 1;
      }
    }
    if (place <= j) right = j;
    else if (place >= i) left = i;
    else break;
  }
  return values[place];
}

let bits = null; // uniform numbers of the neutral run

function uniforms(rank, count, pool) {
  if (!bits || bits.all.length < count) {
    const generator = new Generator(rank.streams.neutral);
    const all = Uint32Array.from({ length: count }, () => generator.uint32());
    bits = { all, shares: new Float32Array(0) };
  }
  if (bits.shares.length < pool) {
    bits.shares = Float32Array.from(bits.all.subarray(0, pool), (u) => (u >>> 8) / 2 ** 24);
  }
  return bits;
}

/** Chances of being first, and among the first k, of the alternatives `who`. */
function chances(rank, weights, who, lo, hi) {
  const c = rank.criteria.length;
  const n = who.length;
  const first = new Float64Array(n);
  const top = new Float64Array(n);
  if (!n) return { first, top };
  let draws = weights.length / c;
  const sums = new Float64Array(c);
  for (let at = 0; at < weights.length; at += 1) sums[at % c] += weights[at];
  const mean = sums.map((x) => round(x / draws));
  const score = who.map((i) => mean.reduce((sum, w, j) => sum + w * (lo[i * c + j] + hi[i * c + j]), 0));
  const order = [...who.keys()].sort((a, b) => score[b] - score[a] || a - b);
  const columns = [];
  let isWide = false;
  for (let j = 0; j < c; j += 1) {
    const low = Float64Array.from(order, (p) => lo[who[p] * c + j]);
    const span = Float32Array.from(order, (p) => hi[who[p] * c + j] - lo[who[p] * c + j]);
    const wide = span.some((x) => x !== 0);
    isWide ||= wide;
    columns.push({ low, span, wide });
  }
  if (!isWide && weights.every((w, at) => w === weights[at % c])) draws = 1;
  let shares = null;
  let entries = null;
  if (isWide) {
    const pool = rank.pool + n;
    const { all, shares: drawnShares } = uniforms(rank, pool + draws * c, pool);
    shares = drawnShares;
    const by = 32 - Math.log2(rank.pool);
    entries = all.subarray(pool, pool + draws * c).map((u) => u >>> by);
  }
  const k = Math.min(rank.k, n);
  const strong = Math.min(n, 2 * k); // places that are strong on average
  const total = new Float64Array(n);
  const work = new Float64Array(n);
  const near = new Int32Array(n);
  for (let d = 0; d < draws; d += 1) {
    total.fill(0);
    for (let j = 0; j < c; j += 1) {
      const w = weights[d * c + j];
      const { low } = columns[j];
      for (let p = 0; p < n; p += 1) total[p] += w * low[p];
    }
    if (isWide) {
      for (let j = 0; j < c; j += 1) {
        const { span, wide } = columns[j];
        if (!wide) continue;
        const w = weights[d * c + j];
        const start = entries[d * c + j];
        for (let p = 0; p < n; p += 1) {
          total[p] += Math.fround(Math.fround(shares[start + p] * span[p]) * w);
        }
      }
      for (let p = 0; p < n; p += 1) total[p] = round(total[p]);
    }
    // the k-th best of some bounds the k-th best of all: few have to be looked at twice
    for (let p = 0; p < strong; p += 1) work[p] = total[p];
    const bound = kthLargest(work, strong, k);
    let found = 0;
    let best = bound;
    for (let p = 0; p < n; p += 1) {
      const sum = total[p];
      if (sum >= bound) {
        near[found] = p;
        work[found] = sum;
        found += 1;
        if (sum > best) best = sum;
      }
    }
    share(total, near, found, kthLargest(work, found, k), k, top);
    share(total, near, found, best, 1, first);
  }
  const inPlace = (values) => {
    const back = new Float64Array(n);
    order.forEach((p, place) => { back[p] = values[place] / draws; });
    return back;
  };
  return { first: inPlace(first), top: inPlace(top) };
}

/** Count who reaches the bar; those that equal it share the places that are left. */
function share(total, near, found, bar, k, counts) {
  let above = 0;
  let equal = 0;
  for (let at = 0; at < found; at += 1) {
    if (total[near[at]] > bar) {
      above += 1;
      counts[near[at]] += 1;
    } else if (total[near[at]] === bar) {
      equal += 1;
    }
  }
  const part = (k - above) / equal;
  for (let at = 0; at < found; at += 1) if (total[near[at]] === bar) counts[near[at]] += part;
}

// ---- labels, and what could be different about a service ----

function labelOf(data, gate, inside, top, ready) {
  const { bars, gated_inside: gated } = data.rank;
  if (gate) return inside ? gated[gate] ?? "FIX" : gate;
  const isReady = ready >= bars.ready_points;
  if (inside) return isReady ? "KEEP" : "FIX";
  if (top >= bars.move_p && isReady) return "MOVE NOW";
  if (top >= bars.pilot_p && ready >= bars.pilot_points) return "PILOT";
  return isReady ? "LATER" : "PREPARE";
}

/** Answer a rule about coverage: nested lists of an operator and its parts. */
function answer(tree, values) {
  if (typeof tree === "string") return values[tree];
  if (typeof tree === "number") return tree;
  const [sign, ...parts] = tree;
  const ends = parts.map((part) => answer(part, values));
  if (sign === "and") return ends.every(Boolean);
  if (sign === "or") return ends.some(Boolean);
  if (sign === "not") return !ends[0];
  const [a, b] = ends;
  const order = Math.sign(a - b);
  return { "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0, "==": order === 0, "!=": order !== 0 }[sign];
}

const UNKNOWN = -1; // a gate holds (1), does not (0), or that is unknown

function combined(answers, failsWhen) {
  const decisive = failsWhen === "any" ? 1 : 0;
  if (answers.includes(decisive)) return decisive;
  return answers.includes(UNKNOWN) ? UNKNOWN : 1 - decisive;
}

/** Gate and readiness of a service with some items found good (true) or bad (false). */
function outcome(whatIf, service, marks) {
  const given = whatIf.cases[service];
  const n = given.total.length;
  const earned = [...given.earned];
  const unknown = [...given.unknown];
  for (const [item, isGood] of marks) {
    for (let d = 0; d < n; d += 1) {
      if (isGood) earned[d] += given.gains[item * n + d];
      unknown[d] -= given.unknowns[item * n + d];
    }
  }
  const points = (weight) => {
    let logs = 0;
    for (let d = 0; d < n; d += 1) {
      logs += given.shares[d] * Math.log(Math.max(100 / given.total[d] * weight(d), whatIf.floor));
    }
    return Math.min(Math.exp(logs), 100);
  };
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const tidy = (x) => Math.round(x * 1e9) / 1e9;
  const values = {
    coverage: tidy(1 - sum(unknown) / sum(given.total)),
    coverage_lowest: tidy(Math.min(...given.total.map((total, d) => 1 - unknown[d] / total))),
  };
  let hardest = 0;
  for (const [hardness, failsWhen, reasons] of given.gates) {
    const answers = reasons.map(([holds, item, rule]) => {
      if (rule) return answer(rule, values) ? 1 : 0;
      if (marks.has(item)) return marks.get(item) ? 0 : 1;
      return holds ? 1 : UNKNOWN;
    });
    const fails = combined(answers, failsWhen);
    const rank = fails === UNKNOWN ? whatIf.hardness["NOT DECIDABLE"] : fails * hardness;
    hardest = Math.max(hardest, rank);
  }
  const gate = Object.keys(whatIf.hardness).find((name) => whatIf.hardness[name] === hardest);
  return {
    gate: gate ?? null,
    lo: points((d) => earned[d]),
    hi: points((d) => earned[d] + unknown[d]),
  };
}

/** Rank every service by a wish, with the marks of a what-if in force. */
function ranked(data, wish, marks) {
  const { rank } = data;
  const n = data.names.length;
  const c = rank.criteria.length;
  const gates = rank.gates.map((at) => (at < 0 ? null : data.texts[at]));
  const ready = data.names.map((_, i) => rank.points[3 * i]);
  let lo = rank.lo;
  let hi = rank.hi;
  const column = rank.criteria.indexOf("readiness");
  if (marks.size) {
    lo = [...lo];
    hi = [...hi];
    for (const [i, items] of marks) {
      const now = outcome(data.what_if, i, items);
      gates[i] = now.gate;
      ready[i] = now.lo;
      if (column >= 0) {
        lo[i * c + column] = round(now.lo / 100 * GRID);
        hi[i * c + column] = round(now.hi / 100 * GRID);
      }
    }
  }
  const chance = { first: Array(n).fill(0), top: Array(n).fill(0), neutral: Array(n).fill(0) };
  const weights = wish.salt === "" && !marks.size ? undefined : drawn(rank, wish);
  if (weights === null) return null;
  if (weights) {
    const everyone = [...data.names.keys()].filter((i) => !rank.inside[i]);
    const competing = everyone.filter((i) => !gates[i]);
    const worst = chances(rank, weights, competing, lo, lo);
    competing.forEach((i, at) => {
      chance.first[i] = worst.first[at];
      chance.top[i] = worst.top[at];
    });
    const neutral = chances(rank, weights, competing, lo, hi);
    competing.forEach((i, at) => { chance.neutral[i] = neutral.top[at]; });
  } else {
    // over all weightings nothing has to be drawn: these are the chances of the report
    ["first", "top", "neutral"].forEach((name, j) => {
      chance[name] = data.names.map((_, i) => rank.chances[3 * i + j] ?? 0);
    });
  }
  const label = data.names.map((_, i) =>
    labelOf(data, gates[i], rank.inside[i], chance.top[i], ready[i]));
  const place = (i) => data.labels.indexOf(label[i]);
  const order = [...data.names.keys()].sort((a, b) =>
    place(a) - place(b) || chance.top[b] - chance.top[a] || ready[b] - ready[a] || a - b);
  return { ...chance, label, order, gates, ready };
}
