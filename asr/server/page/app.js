// The page of `asr serve`: files and recordings go to /v1/audio/transcriptions, words come back to be heard again.

const $ = (id) => document.getElementById(id);
const FORMATS = { txt: "text", srt: "srt", vtt: "vtt", json: "verbose_json" };
const RATE = 16000;

$("key").value = sessionStorage.getItem("key") ?? "";
$("key").addEventListener("change", () => {
  sessionStorage.setItem("key", $("key").value);
  listModels();
});

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function ask(path, options = {}) {
  const key = $("key").value.trim();
  const answer = await fetch(path, { ...options, headers: key ? { Authorization: `Bearer ${key}` } : {} });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => null);
  throw new Error(problem?.error?.message ?? `The server answered ${answer.status}.`);
}

async function listModels() {
  try {
    const { data } = await (await ask("v1/models")).json();
    $("model").replaceChildren(...data.map(({ id, x_description: about, x_streams: streams }) => {
      const option = new Option(id, id);
      option.title = about;
      option.dataset.streams = streams;
      return option;
    }));
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

function transcribe(file, format) {
  const form = new FormData();
  form.append("file", file, file.name);
  form.append("model", $("model").value);
  form.append("response_format", format);
  if (format === "verbose_json") for (const kind of ["word", "segment"]) form.append("timestamp_granularities[]", kind);
  for (const keyword of $("keywords").value.split(",")) if (keyword.trim()) form.append("keywords[]", keyword.trim());
  return ask("v1/audio/transcriptions", { method: "POST", body: form });
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

function show(file, transcript, seconds) {
  const node = $("result").content.cloneNode(true);
  const article = node.querySelector("article");
  const audio = node.querySelector("audio");
  node.querySelector("h2").textContent = file.name;
  const speed = seconds > 0 ? `, ${Math.round(transcript.duration / seconds)} × real time` : "";
  node.querySelector(".meta").textContent = [`${transcript.duration < 60 ? `${transcript.duration.toFixed(1)} s` : clock(transcript.duration)} of audio${speed}`, ...(transcript.x_warnings ?? [])].join(" – ");
  audio.src = URL.createObjectURL(file);
  const words = transcript.words.map((word) => {
    const button = document.createElement("button");
    const level = Math.min(3, Math.floor((word.x_confidence - 0.3) / 0.2));
    button.className = `word c${Math.max(0, level)}`;
    button.textContent = word.word;
    button.title = `${word.start.toFixed(2)} s, confidence ${Math.round(100 * word.x_confidence)} %`;
    button.addEventListener("click", () => {
      audio.currentTime = word.start;
      audio.play();
    });
    return button;
  });
  const separator = transcript.text.includes(" ") ? " " : "";
  node.querySelector(".words").replaceChildren(
    ...(words.length ? words.flatMap((button) => [button, separator]) : ["No words were heard."]),
  );
  let now = null;
  audio.addEventListener("timeupdate", () => {
    const index = transcript.words.findIndex(({ start, end }) => start <= audio.currentTime && audio.currentTime < end);
    now?.classList.remove("now");
    now = words[index];
    now?.classList.add("now");
  });
  node.querySelector(".downloads").replaceChildren(...Object.entries(FORMATS).map(([suffix, format]) => {
    const button = document.createElement("button");
    button.textContent = suffix;
    button.setAttribute("aria-label", `Download ${suffix}`);
    button.addEventListener("click", async () => {
      try {
        const content = suffix === "json" ? new Blob([JSON.stringify(transcript, null, 2)]) : await (await transcribe(file, format)).blob();
        download(content, `${file.name.replace(/\.[^.]*$/, "")}.${suffix}`);
      } catch (error) {
        say(error.message, true);
      }
    });
    return button;
  }));
  $("results").prepend(article);
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function handle(files) {
  let done = 0;
  for (const file of files) {
    say(files.length > 1 ? `${file.name} (${++done} of ${files.length}) …` : `${file.name} …`);
    const started = performance.now();
    try {
      const transcript = await (await transcribe(file, "verbose_json")).json();
      show(file, transcript, (performance.now() - started) / 1000);
      say("");
    } catch (error) {
      say(`${file.name}: ${error.message}`, true);
    }
  }
}

// Words while they are said, of models that stream: those that are sure, and what is likely said after them.
class Live {
  constructor() {
    const url = new URL("v1/realtime", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const key = $("key").value.trim();
    this.socket = new WebSocket(url, key ? ["realtime", `openai-insecure-api-key.${key}`] : ["realtime"]);
    this.sure = "";
    this.ended = this.refused = false;
    this.socket.addEventListener("open", () => {
      const keywords = $("keywords").value.split(",").map((text) => text.trim()).filter(Boolean);
      const input = { format: { type: "audio/pcm", rate: RATE }, transcription: { model: $("model").value, keywords } };
      this.send({ type: "session.update", session: { audio: { input }, include: ["x_partials"] } });
    });
    this.socket.addEventListener("message", ({ data }) => this.heard(JSON.parse(data)));
    // The browser says nothing of why, and closes after each error. What is recorded is transcribed at its end all the same.
    this.socket.addEventListener("close", ({ reason }) => {
      if (this.ended) return;
      this.clear();
      if (!this.refused) say(`Words cannot be shown while you speak${reason ? ` (${reason})` : ""}; recording goes on.`, true);
    });
  }

  send(event) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  push(samples) {
    const bytes = new DataView(new ArrayBuffer(2 * samples.length));
    samples.forEach((sample, i) => bytes.setInt16(2 * i, Math.max(-1, Math.min(1, sample)) * 32767, true));
    const text = Array.from(new Uint8Array(bytes.buffer), (byte) => String.fromCharCode(byte)).join("");
    this.send({ type: "input_audio_buffer.append", audio: btoa(text) });
  }

  heard({ type, delta, text, error }) {
    if (type.endsWith(".delta")) this.sure += delta;
    else if (type.endsWith(".completed")) this.sure += " ";
    else if (type === "error") {
      this.refused = true;
      return say(error.message, true);
    }
    else if (!type.endsWith(".x_partial")) return;
    $("live-sure").textContent = this.sure;
    $("live-likely").textContent = text ?? "";
  }

  clear() {
    $("live-sure").textContent = $("live-likely").textContent = "";
  }

  close() {
    this.ended = true;
    this.socket.close();
    this.clear();
  }
}

// What the microphone gives, as a WAV file at 16 kHz: every browser resamples to the rate of its context.
class Recorder {
  async start() {
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    this.context = new AudioContext({ sampleRate: RATE });
    await this.context.audioWorklet.addModule("page/recorder.js");
    this.chunks = [];
    say("Listening …");
    this.live = $("model").selectedOptions[0]?.dataset.streams === "true" ? new Live() : null;
    this.node = new AudioWorkletNode(this.context, "recorder");
    this.node.port.onmessage = ({ data }) => {
      this.chunks.push(data);
      this.live?.push(data);
    };
    this.context.createMediaStreamSource(this.stream).connect(this.node);
  }

  async stop() {
    const rest = new Promise((resolve) => {
      this.node.port.onmessage = ({ data }) => (data.rest ? resolve(data.rest) : this.chunks.push(data));
    });
    this.node.port.postMessage("end");
    this.chunks.push(await rest);
    this.live?.close();
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
    const samples = this.chunks.flatMap((chunk) => [...chunk]);
    const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
    const text = (offset, value) => [...value].forEach((letter, i) => bytes.setUint8(offset + i, letter.charCodeAt(0)));
    text(0, "RIFF"); bytes.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
    bytes.setUint32(16, 16, true); bytes.setUint16(20, 1, true); bytes.setUint16(22, 1, true);
    bytes.setUint32(24, RATE, true); bytes.setUint32(28, 2 * RATE, true); bytes.setUint16(32, 2, true); bytes.setUint16(34, 16, true);
    text(36, "data"); bytes.setUint32(40, 2 * samples.length, true);
    samples.forEach((sample, i) => bytes.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, sample)) * 32767, true));
    const name = `recording ${new Date().toLocaleTimeString()}.wav`;
    return new File([bytes.buffer], name.replaceAll(":", "."), { type: "audio/wav" });
  }
}

let recorder = null;

async function record() {
  if (recorder) {
    const ended = recorder;
    recorder = null;
    $("record").setAttribute("aria-pressed", "false");
    $("record-label").textContent = "Record";
    await handle([await ended.stop()]);
    return;
  }
  try {
    const started = new Recorder();
    await started.start();
    recorder = started;
    $("record").setAttribute("aria-pressed", "true");
    $("record-label").textContent = "Stop";
  } catch (error) {
    say(`The microphone cannot be used: ${error.message}`, true);
  }
}

$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => handle([...$("file").files]).finally(() => ($("file").value = "")));
$("record").addEventListener("click", record);
for (const type of ["dragenter", "dragover"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => event.relatedTarget ?? $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  handle([...event.dataTransfer.files]);
});
listModels();
