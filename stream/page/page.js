// The page of `freshet demo`: asks its server each second what is new, and draws it.

import { clock, draw } from "./chart.js";
import { element, keep, show, write } from "./user.js";

const NEWS_MS = 1000;
const CURVE_S = 15;
const RATE_S = 5;

const byId = (id) => document.getElementById(id);
let samples = [];
let next = 0;
let users = [];
let user = "";
let paused = false;
let timer = 0;

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

// The sample `back_s` before number `at`, or the first.
function before(at, back_s) {
  let earlier = at;
  while (earlier > 0 && samples[earlier].t_s > samples[at].t_s - back_s) earlier -= 1;
  return samples[earlier];
}

const zero = { t_s: 0, events: 0, measured: 0, hits: 0, reciprocal_rank: 0, popular_hits: 0, popular_reciprocal_rank: 0 };

// The curve of `of` over `over` in the last `back_s` before each sample.
function curve(of, over, back_s) {
  return samples.map((sample, at) => {
    const earlier = at ? before(at, back_s) : zero;
    const passed = sample[over] - earlier[over];
    return [sample.t_s, passed > 0 ? (sample[of] - earlier[of]) / passed : null];
  });
}

function share(of, over) {
  return over ? (of / over).toFixed(3) : "–";
}

function tell(id, number, beside) {
  write(document.querySelector(`#${id} .number`), number);
  write(document.querySelector(`#${id} .beside`), beside);
}

function drawFigures(news) {
  const last = samples.at(-1);
  if (!last) return;
  const marks = news.hand_overs.map((one) => one.t_s);
  const chart = (id, lines, options) => draw(document.querySelector(`#${id} .chart`), lines, marks, options);

  tell("hit-rate", share(last.hits, last.measured),
    `popularity ${share(last.popular_hits, last.measured)}`);
  write(byId("size"), `at ${news.list_size}`);
  chart("hit-rate", { own: curve("hits", "measured", CURVE_S), popular: curve("popular_hits", "measured", CURVE_S) },
    { most: 1, label: "Hit rate over time, freshet and popularity" });

  tell("mrr", share(last.reciprocal_rank, last.measured),
    `popularity ${share(last.popular_reciprocal_rank, last.measured)}`);
  chart("mrr",
    { own: curve("reciprocal_rank", "measured", CURVE_S), popular: curve("popular_reciprocal_rank", "measured", CURVE_S) },
    { label: "Mean reciprocal rank over time, freshet and popularity" });

  const rate = curve("events", "t_s", RATE_S);
  tell("rate", rate.at(-1)[1] === null ? "–" : Math.round(rate.at(-1)[1]).toLocaleString("en"),
    `${last.lists.toLocaleString("en")} lists so far`);
  chart("rate", { own: rate }, { label: "Events a second over time" });

  tell("latency", last.p99_ms === null ? "–" : `${Math.round(last.p99_ms)} ms`,
    last.p50_ms === null ? "no list lately" : `half within ${Math.round(last.p50_ms)} ms`);
  chart("latency", { own: samples.map((one) => [one.t_s, one.p99_ms]) },
    { unit: " ms", label: "99th percentile of the latency over time" });
}

function drawWeights(news) {
  const last = news.hand_overs.at(-1);
  if (!last) return;
  const trained = new Date(last.trained_at_ms).toISOString().slice(11, 19);
  const changed = news.hand_overs.slice(1).map((one) => clock(one.t_s));
  const words = [`Weights in force: ${last.version}, trained at ${trained} UTC`];
  if (changed.length) words.push(`handed over at ${changed.join(", ")}`);
  if (news.refused_weights) words.push(`${news.refused_weights} refused`);
  write(byId("weights"), words.join("; "));
}

function drawEvents(news) {
  const rows = keep(byId("events").tBodies[0], news.newest.length, () => {
    const row = element("tr");
    row.append(element("td", "id"), element("td"), element("td"), element("td", "items"));
    return row;
  });
  rows.forEach((row, place) => {
    const { user_id, behavior, item_id, items } = news.newest[place];
    [user_id, behavior, item_id, items.join(" ")].forEach((text, column) => write(row.children[column], text));
  });
  const counts = Object.entries(news.outcomes).filter(([, count]) => count);
  write(byId("outcomes"), counts.map(([name, count]) => `${count.toLocaleString("en")} ${name}`).join(", "));
}

function drawUsers(news) {
  users = news.users;
  if (document.activeElement !== byId("user-id")) {
    keep(byId("users"), users.length, () => element("option")).forEach((option, place) => {
      option.value = users[place];
    });
  }
  if (!user && users.length) choose(users[0]);
}

function drawStatus(news) {
  const source = news.source === "simulated" ? "a simulated shop" : news.source;
  const words = news.phase === "training"
    ? `First training on ${source}${news.part && `: ${news.part}`}${news.epochs ? `, epoch ${news.epochs} done` : ""}`
    : `Live on ${source}`;
  write(byId("status"), words);
  if (news.metrics_url) byId("metrics").href = news.metrics_url;
}

async function showUser() {
  if (!user) return;
  const asked = user;
  const found = await ask(`user?id=${encodeURIComponent(asked)}`);
  if (asked === user) show(found, asked);
}

function choose(userId) {
  user = userId;
  byId("user-id").value = userId;
}

function ended() {
  paused = true;
  clearTimeout(timer);
  for (const button of document.querySelectorAll("header button, form button")) button.disabled = true;
  write(byId("status"), "The demo has ended; these are its last figures");
}

// Does what asks the server; where nothing listens any more, fetch's TypeError says that the demo is over.
async function whileServed(work) {
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    ended();
    return false;
  }
}

async function refresh() {
  const news = await ask(`news?since=${next}`);
  samples.push(...news.samples);
  next = news.next;
  drawStatus(news);
  drawFigures(news);
  drawWeights(news);
  drawEvents(news);
  drawUsers(news);
  await showUser();
}

async function tick() {
  if (paused) return;
  if (document.hidden || await whileServed(refresh)) timer = setTimeout(tick, NEWS_MS);
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  clearTimeout(timer);
  if (!paused) tick();
});
byId("chooser").addEventListener("submit", (event) => {
  event.preventDefault();
  choose(byId("user-id").value.trim());
  whileServed(showUser);
});
byId("another").addEventListener("click", () => {
  const others = users.filter((one) => one !== user);
  if (others.length) choose(others[Math.floor(Math.random() * others.length)]);
  whileServed(showUser);
});
tick();
