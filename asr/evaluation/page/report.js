"use strict";
// The list of utterances: sorted, searched, and opened at single ones. Its state is in the address, after "#", so that
// it can be sent to somebody: #sort=wer&order=descending&search=seven&open=an409-fcaw-b

const PAGE_ROWS = 100;
const COLUMNS = [
  { name: "id", label: "utterance", value: u => u.id },
  { name: "speaker", label: "speaker", value: u => u.speaker },
  { name: "seconds", label: "seconds", value: u => u.seconds, number: true, show: u => u.seconds.toFixed(1) },
  { name: "words", label: "words", value: u => u.words, number: true },
  { name: "errors", label: "errors", value: errors, number: true, show: u => errorCell(u) },
  { name: "wer", label: "WER %", value: rate, number: true, show: u => (u.words ? (100 * rate(u)).toFixed(0) : "–") },
  { name: "text", label: "said and heard", value: u => said(u) },
];
const utterances = read("rows");
const body = document.querySelector("#utterances tbody");
const search = document.getElementById("search");
const wrong = document.getElementById("wrong");
const clear = document.getElementById("clear");
const more = document.getElementById("more");
const state = { sort: "errors", descending: true, confusion: null, open: new Set(), rows: PAGE_ROWS };

function read(id) { return JSON.parse(document.getElementById(id).textContent); }
function errors(u) { return u.substitutions + u.insertions + u.deletions; }
function rate(u) { return u.words ? errors(u) / u.words : errors(u) ? Infinity : 0; }
function said(u) { return u.alignment.map(step => step[0]).filter(word => word !== null).join(" "); }
function heard(u) { return u.alignment.map(step => step[1]).filter(word => word !== null).join(" "); }
function errorCell(u) {
  const kinds = [[u.substitutions, "S"], [u.deletions, "D"], [u.insertions, "I"]].filter(([count]) => count);
  return errors(u) + (kinds.length ? ` (${kinds.map(([count, kind]) => count + kind).join(" ")})` : "");
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function matches(u, query) {
  if (wrong.checked && !errors(u)) return false;
  if (state.confusion) {
    const [reference, hypothesis] = state.confusion;
    if (!u.alignment.some(step => (step[0] ?? "") === reference && (step[1] ?? "") === hypothesis)) return false;
  }
  return !query || [u.id, u.speaker, said(u), heard(u)].some(text => text.toLowerCase().includes(query));
}

function chosen() {
  const query = search.value.trim().toLowerCase();
  const value = COLUMNS.find(column => column.name === state.sort).value;
  const sign = state.descending ? -1 : 1;
  const compare = (x, y) => (x === y ? 0 : x < y ? -1 : 1);
  return utterances.filter(u => matches(u, query)).sort((x, y) => sign * compare(value(x), value(y)) || x.index - y.index);
}

function word(step) {
  const [reference, hypothesis] = step;
  if (reference === hypothesis) return element("span", { class: "word" }, reference);
  if (reference === null) return element("span", { class: "word ins", title: "inserted" }, element("ins", {}, hypothesis));
  if (hypothesis === null) return element("span", { class: "word del", title: "deleted" }, element("del", {}, reference));
  return element("span", { class: "word sub", title: "substituted" },
    element("del", {}, reference), " → ", element("ins", {}, hypothesis));
}

function row(u) {
  const has = document.getElementById(`detail-${u.index}`) !== null;
  const made = element("tr", { "data-id": u.id });
  for (const column of COLUMNS) {
    if (column.name === "id") {
      const toggle = has ? [element("button", { type: "button", "aria-expanded": "false",
        "aria-label": `details of ${u.id}`, onclick: () => unfold(u, made) }, "+")] : [];
      made.append(element("th", { scope: "row" }, ...toggle, " ", u.id));
    } else if (column.name === "text") {
      made.append(element("td", { class: "text" }, ...u.alignment.flatMap(step => [word(step), " "])));
    } else {
      const text = column.show ? column.show(u) : column.value(u);
      made.append(element("td", { class: column.number ? "n" : null }, String(text)));
    }
  }
  return made;
}

function unfold(u, made, wanted = !state.open.has(u.id)) {
  const toggle = made.querySelector("[aria-expanded]");
  if (!toggle) return;
  if (wanted) state.open.add(u.id); else state.open.delete(u.id);
  toggle.setAttribute("aria-expanded", String(wanted));
  toggle.textContent = wanted ? "–" : "+";
  made.classList.toggle("open", wanted);
  if (made.nextSibling?.classList?.contains("detail")) made.nextSibling.remove();
  if (wanted) made.after(element("tr", { class: "detail" }, element("td", { colspan: COLUMNS.length }, detail(u))));
  remember();
}

function render() {
  const found = chosen();
  const shown = found.slice(0, state.rows);
  body.replaceChildren(...shown.map(row));
  shown.forEach((u, index) => { if (state.open.has(u.id)) unfold(u, body.querySelectorAll("tr:not(.detail)")[index], true); });
  document.getElementById("count").textContent = `${found.length} of ${utterances.length} utterances`;
  more.hidden = found.length <= state.rows;
  more.textContent = `Show ${Math.min(PAGE_ROWS, found.length - state.rows)} more`;
  clear.hidden = !state.confusion;
  clear.textContent = state.confusion ? `${state.confusion.map(text => text || "∅").join(" → ")}  ✕` : "";
  for (const header of document.querySelectorAll("#utterances th[data-sort]")) {
    if (header.dataset.sort !== state.sort) header.removeAttribute("aria-sort");
    else header.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
  }
  remember();
}

function remember() {
  const parts = new URLSearchParams({ sort: state.sort, order: state.descending ? "descending" : "ascending" });
  if (search.value) parts.set("search", search.value);
  if (wrong.checked) parts.set("wrong", "1");
  if (state.confusion) parts.set("confusion", JSON.stringify(state.confusion));
  for (const id of state.open) parts.append("open", id);
  history.replaceState(null, "", `#${parts}`);
}

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  if (COLUMNS.some(column => column.name === parts.get("sort"))) state.sort = parts.get("sort");
  state.descending = parts.get("order") !== "ascending";
  search.value = parts.get("search") ?? "";
  wrong.checked = parts.has("wrong");
  try { state.confusion = JSON.parse(parts.get("confusion")); } catch { state.confusion = null; }
  if (!Array.isArray(state.confusion) || state.confusion.length !== 2) state.confusion = null;
  state.open = new Set(parts.getAll("open"));
}

function sortBy(column) {
  state.descending = state.sort === column.name ? !state.descending : Boolean(column.number);
  state.sort = column.name;
  render();
}

// One utterance: its features, the words under their times, and its sound.

function detail(u) {
  const facts = read(`detail-${u.index}`);
  const sound = facts.sound ? element("audio", { controls: "", preload: "metadata",
    src: `data:audio/mpeg;base64,${facts.sound}`, "aria-label": `recording of ${u.id}` }) : null;
  const canvas = element("canvas", { width: facts.columns, height: facts.bands, role: "img",
    "aria-label": `log-mel features of ${u.id}`, class: sound ? "playable" : null });
  paint(canvas, facts);
  const playhead = element("div", { class: "playhead", hidden: "" });
  const strip = element("div", { class: "strip", style: `min-width:${Math.round(90 * u.seconds)}px` },
    canvas, axis(u.seconds),
    ...(facts.said.length ? track("said", facts.said, u, 0, sound) : []), ...track("heard", u.heard, u, 1, sound), playhead);
  if (sound) {
    const seconds = event => u.seconds * (event.clientX - canvas.getBoundingClientRect().left) / canvas.clientWidth;
    canvas.addEventListener("click", event => play(sound, seconds(event), u.seconds));
    follow(sound, playhead, u.seconds);
  }
  const legend = "log-mel features as the model gets them; said: the reference by forced alignment; heard: the hypothesis";
  return element("div", {}, ...(sound ? [sound] : []), element("div", { class: "scroll" }, strip),
    element("p", { class: "caption" }, sound ? `${legend}. Choose a word to hear it.` : `${legend}. No recording here.`));
}

function play(sound, start, end) {
  sound.stopAt = end;
  sound.currentTime = start;
  sound.play();
}

function follow(sound, playhead, seconds) {
  const move = () => {
    playhead.hidden = false;
    playhead.style.left = `${Math.min(100, 100 * sound.currentTime / seconds)}%`;
    if (sound.stopAt !== undefined && sound.currentTime >= sound.stopAt) { sound.pause(); delete sound.stopAt; }
    if (!sound.paused) requestAnimationFrame(move);
  };
  sound.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== sound) other.pause();
    move();
  });
  sound.addEventListener("timeupdate", move);
}

function track(name, words, u, side, sound) {
  const right = u.alignment.filter(step => step[side] !== null);
  const kind = step => (!step || step[0] === step[1] ? "" : step[1 - side] !== null ? "sub" : side ? "ins" : "del");
  const made = words.map(([text, start, end, confidence], index) => {
    const about = `${text}, ${start.toFixed(2)}–${end.toFixed(2)} s, confidence ${confidence.toFixed(2)}`;
    const place = `left:${100 * start / u.seconds}%;width:${100 * Math.max(0, end - start) / u.seconds}%`;
    const attributes = { class: kind(right[index]), title: about, style: place, "aria-label": about };
    if (!sound) return element("span", attributes, text);
    return element("button", { ...attributes, type: "button", onclick: () => play(sound, start, end) }, text);
  });
  return [element("p", { class: "caption" }, name), element("div", { class: "track", "data-name": name }, ...made)];
}

function axis(seconds) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60].find(value => seconds / value <= 20) ?? 120;
  const count = Math.ceil(seconds / step);
  const ticks = Array.from({ length: count }, (_, index) => index * step);
  return element("div", { class: "axis", "aria-hidden": "true" }, ...ticks.map(time => element("span",
    { style: `left:${100 * time / seconds}%` }, `${Number(time.toFixed(1))}${time ? "" : " s"}`)));
}

// Dark blue over red to pale yellow: lightness grows steadily, so that it also reads without colours.
const PALETTE = [[8, 8, 32], [52, 16, 90], [120, 28, 109], [186, 54, 85], [236, 105, 37], [251, 180, 60], [252, 255, 190]];

function colour(share) {
  const at = share * (PALETTE.length - 1);
  const low = PALETTE[Math.floor(at)], high = PALETTE[Math.ceil(at)];
  return [...[0, 1, 2].map(channel => low[channel] + (at % 1) * (high[channel] - low[channel])), 255];
}

async function paint(canvas, facts) {
  const packed = Uint8Array.from(atob(facts.picture), character => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const levels = new Uint8Array(await new Response(stream).arrayBuffer());
  const context = canvas.getContext("2d");
  const image = context.createImageData(facts.columns, facts.bands);
  const colours = Array.from({ length: facts.levels }, (_, level) => colour(level / (facts.levels - 1)));
  levels.forEach((level, place) => image.data.set(colours[level], 4 * place));
  context.putImageData(image, 0, 0);
  canvas.dataset.painted = "yes";
}

document.querySelector("#utterances thead tr").append(...COLUMNS.map(column => element("th",
  { "data-sort": column.name, scope: "col", class: column.number ? "n" : null },
  element("button", { type: "button", onclick: () => sortBy(column) }, column.label))));
const again = () => { state.rows = PAGE_ROWS; render(); };
search.addEventListener("input", again);
wrong.addEventListener("change", again);
more.addEventListener("click", () => { state.rows += PAGE_ROWS; render(); });
clear.addEventListener("click", () => { state.confusion = null; again(); search.focus(); });
for (const button of document.querySelectorAll(".confusions button")) {
  button.addEventListener("click", () => {
    state.confusion = [button.dataset.reference, button.dataset.hypothesis];
    again();
    document.getElementById("list").scrollIntoView();
    clear.focus({ preventScroll: true });
  });
}
addEventListener("hashchange", () => { recall(); again(); });
recall();
render();
