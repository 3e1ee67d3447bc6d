// A small line chart. The words stand beside the drawing, since its axes stretch.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 80;

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// The least of 1, 2 and 5 times a power of ten that is not below `value`.
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * (1 - 1e-9));
}

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function points(line, x, y) {
  const drawn = line.filter(([, value]) => value !== null);
  return drawn.map(([t_s, value]) => `${x(t_s).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
}

// Draws `lines` ({name: [[t_s, value or null], ...]}) and a mark at each of `marks` (t_s) into `place`.
export function draw(place, lines, marks, { most, unit = "", label }) {
  const all = Object.values(lines).flat();
  const times = all.map(([t_s]) => t_s);
  const begin = Math.min(...times, 0);
  const end = Math.max(...times, begin + 1);
  const top = most ?? roundUp(Math.max(...all.map(([, value]) => value ?? 0)));
  const x = (t_s) => ((t_s - begin) / (end - begin)) * WIDTH;
  const y = (value) => HEIGHT - (Math.min(value, top) / top) * HEIGHT;

  const drawing = shape("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label,
  });
  drawing.append(shape("line", { class: "top", x1: 0, x2: WIDTH, y1: 0, y2: 0 }));
  for (const t_s of marks.filter((mark) => mark >= begin && mark <= end)) {
    drawing.append(shape("line", { class: "mark", x1: x(t_s), x2: x(t_s), y1: 0, y2: HEIGHT }));
  }
  for (const [name, line] of Object.entries(lines).reverse()) {
    drawing.append(shape("polyline", { class: name, points: points(line, x, y) }));
  }
  const words = [["top", `${top}${unit}`], ["begin", clock(begin)], ["end", clock(end)]].map(([name, text]) => {
    const word = document.createElement("span");
    word.className = name;
    word.textContent = text;
    return word;
  });
  place.replaceChildren(drawing, ...words);
}
