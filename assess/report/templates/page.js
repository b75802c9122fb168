"use strict";
document.documentElement.classList.add("scripted");
const LONG = 8;
const HITS = 8;

function compare(a, b, down) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  return down ? -order : order;
}

function sortBy(table, th, column) {
  const down = th.classList.contains("number")
    ? th.ariaSort !== "descending" : th.ariaSort === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  const key = ({ cells }) => cells[column].dataset.sort ?? cells[column].textContent;
  rows.sort((a, b) => compare(key(a), key(b), down));
  table.tBodies[0].append(...rows);
}

function addFilter(place, items, what) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("output");
  label.className = "filter";
  input.type = "search";
  input.setAttribute("aria-label", `Filter: ${what}`);
  count.setAttribute("role", "status");
  label.append(count, "Filter", input);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of items) {
      const text = item.textContent.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
      shown += !item.hidden;
    }
    count.value = words.length ? `${shown} of ${items.length}` : "";
  });
  place.append(label);
}

for (const table of document.querySelectorAll("table.data")) {
  const heads = [...table.tHead.rows[0].cells].map((th) => th.textContent);
  for (const row of table.tBodies[0].rows) {
    heads.forEach((head, column) => { row.cells[column].dataset.head = head; });
  }
  [...table.tHead.rows[0].cells].forEach((th, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = th.textContent;
    th.dataset.head = th.textContent; // for paper, where Chromium repeats a head without its buttons
    button.addEventListener("click", () => sortBy(table, th, column));
    th.replaceChildren(button);
  });
  const rows = [...table.tBodies[0].rows];
  const title = table.caption.textContent;
  if (rows.length > LONG) addFilter(table.caption, rows, title);
}

for (const deck of document.querySelectorAll("details.deck")) {
  const cards = [...deck.querySelectorAll("details.card")];
  if (cards.length > LONG) {
    const place = document.createElement("p");
    place.className = "cards filters";
    cards[0].before(place);
    addFilter(place, cards, deck.querySelector("summary").textContent);
  }
}

function linked(text, address) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = address;
  link.textContent = text;
  item.append(link);
  return item;
}

function addSearch(place, cards) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const found = document.createElement("ul");
  const count = document.createElement("output");
  const names = cards.map((card) => card.querySelector("summary strong").textContent);
  const lower = names.map((name) => name.toLowerCase());
  input.type = "search";
  input.id = "find-service";
  label.htmlFor = input.id;
  label.textContent = "Find a service";
  count.setAttribute("role", "status");
  const show = () => {
    const wanted = input.value.trim().toLowerCase();
    const hits = wanted ? [...names.keys()].filter((i) => lower[i].includes(wanted)) : [];
    hits.sort((a, b) => !lower[a].startsWith(wanted) - !lower[b].startsWith(wanted));
    found.replaceChildren(...hits.slice(0, HITS).map((i) => linked(names[i], `#${cards[i].id}`)));
    if (wanted && !hits.length && document.getElementById("explore")) {
      const address = `#explore/find/${encodeURIComponent(input.value.trim())}`;
      found.append(linked("Look in the explorer, which has every service", address));
    }
    count.value = wanted ? `${hits.length} of ${names.length}` : "";
  };
  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") found.querySelector("a")?.click();
    if (event.key === "Escape") found.replaceChildren();
  });
  found.addEventListener("click", () => found.replaceChildren());
  place.append(label, count, input, found);
  place.hidden = false;
}
const services = [...document.querySelectorAll("#services details.card")];
if (services.length) addSearch(document.getElementById("find"), services);

function openTarget() {
  let id = location.hash.slice(1);
  try {
    id = decodeURIComponent(id);
  } catch {
    // a typed address may hold a percent sign that stands for itself
  }
  const target = document.getElementById(id);
  if (!target) return;
  const inside = target.matches(".table") && target.querySelector("details.fold");
  let fold = inside || target.closest("details");
  while (fold) {
    fold.hidden = false;
    fold.open = true;
    fold = fold.parentElement.closest("details");
  }
  target.scrollIntoView();
}
addEventListener("hashchange", openTarget);
openTarget();
