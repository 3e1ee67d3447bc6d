// One user: the segment and the list side by side, and why each item stands there.
// Ids come from data: they are written as text and never as markup.

const PARTS = ["Network", "Like last items", "Comes after them", "Popularity", "Had before", "Last category"];
const NAMED = 2; // events that are named as what carried an item

const byId = (id) => document.getElementById(id);
let shown = null;
let chosen = null;

export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function element(name, className, text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

// Keeps the children that are there, so that focus stays where it is.
export function keep(parent, count, make) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(make(parent.children.length));
  return [...parent.children];
}

export function signed(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return `${value < 0 ? "−" : "+"}${text}`;
}

function bar(cell, value, most) {
  const nothing = Math.abs(value) < 0.005;
  cell.classList.toggle("against", value < 0);
  cell.classList.toggle("nothing", nothing);
  cell.style.setProperty("--share", nothing ? 0 : Math.abs(value) / most);
  write(cell.firstElementChild, signed(value));
}

function barCell(name) {
  const cell = element(name, name === "dd" ? "bar" : "");
  const holder = name === "dd" ? cell : cell.appendChild(element("div", "bar"));
  holder.append(element("b"));
  return cell;
}

function item() {
  return shown.items.find((one) => one.item_id === chosen) ?? shown.items[0];
}

function drawSegment() {
  const { lost } = item();
  const most = Math.max(...shown.items.flatMap((one) => one.lost.map(Math.abs)), 0);
  const rows = keep(byId("segment").tBodies[0], shown.segment.length, () => {
    const row = element("tr");
    const when = element("td");
    when.append(element("span", "date"), element("span"));
    row.append(when, element("td"), element("td"), barCell("td"));
    return row;
  });
  rows.forEach((row, place) => {
    const at = shown.segment.length - 1 - place;
    const event = shown.segment[at];
    const [when, did, what, carries] = row.children;
    const [date, time] = new Date(event.time_ms).toISOString().slice(5, 19).split("T");
    write(when.firstElementChild, `${date} `);
    write(when.lastElementChild, time);
    write(did, event.behavior);
    write(what, event.item_id);
    carries.firstElementChild.hidden = !lost.length;
    if (lost.length) bar(carries.firstElementChild, lost[at], most);
  });
  write(byId("carried"), item().item_id);
}

function carriers(one) {
  const order = one.lost.map((value, at) => [value, at]).sort(([a], [b]) => b - a);
  const found = order.filter(([value]) => value >= 0.005).slice(0, NAMED);
  const words = found.map(([value, at]) => `${shown.segment[at].item_id} ${signed(value)}`);
  const near = one.neighbours.slice(0, NAMED).map((neighbour) => neighbour.item_id);
  return [words.length && `carried by ${words.join(", ")}`, near.length && `like ${near.join(", ")}`]
    .filter(Boolean).join("; ");
}

function listRow(place) {
  const row = element("li");
  const button = element("button");
  button.type = "button";
  button.setAttribute("aria-controls", `why-${place}`);
  const named = element("span");
  named.append(element("span", "id"), " ", element("span", "category"));
  button.append(element("span", "place", String(place + 1)), named, element("span", "score"), element("span", "carried"));
  button.addEventListener("click", () => {
    chosen = shown.items[place].item_id;
    draw();
  });
  const why = element("div", "why");
  why.id = `why-${place}`;
  const parts = element("dl");
  for (const name of PARTS) parts.append(element("dt", "", name), barCell("dd"));
  why.append(parts, element("p"));
  row.append(button, why);
  return row;
}

function drawList() {
  keep(byId("list"), shown.items.length, listRow).forEach((row, place) => {
    const one = shown.items[place];
    const [button, why] = row.children;
    const [, named, score, carried] = button.children;
    write(named.firstElementChild, one.item_id);
    write(named.lastElementChild, one.category_id);
    write(score, one.score.toFixed(2));
    write(carried, carriers(one));
    const open = one === item() && one.parts.length > 0;
    button.setAttribute("aria-expanded", String(open));
    why.hidden = !open;
    if (open) drawWhy(why, one);
  });
}

function drawWhy(why, one) {
  const most = Math.max(...one.parts.map(Math.abs));
  why.firstElementChild.querySelectorAll("dd").forEach((cell, part) => bar(cell, one.parts[part], most));
  const named = (links) => links.map(({ item_id, weight }) => `${item_id} (${weight.toPrecision(2)})`).join(", ");
  const words = [
    one.neighbours.length && `Like ${named(one.neighbours)}`,
    one.successors.length && `comes after ${named(one.successors)}`,
  ].filter(Boolean);
  write(why.lastElementChild, words.join("; ") || "Nothing ties it to the user's last items.");
}

function draw() {
  drawSegment();
  drawList();
  write(byId("segment-title"), `Segment of ${shown.user_id}`);
  write(byId("list-title"), `List of ${shown.user_id}`);
}

// Shows what the server said of a user; null: it has no list of `userId`.
export function show(found, userId) {
  byId("sides").hidden = found === null || !found.items.length;
  if (byId("sides").hidden) {
    write(byId("user-note"), `The worker holds no list of ${userId}.`);
    return;
  }
  if (found.user_id !== shown?.user_id) chosen = found.items[0].item_id;
  shown = found;
  if (!found.items.some((one) => one.item_id === chosen)) chosen = found.items[0].item_id;
  const kind = found.kind === "personalized" ? "a list of this user's own" : "the most popular items";
  write(byId("user-note"), `${found.user_id}: ${kind}, by weights ${found.model_version}.`);
  draw();
}
