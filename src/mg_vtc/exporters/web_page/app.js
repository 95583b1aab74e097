// The page: takes an image, frames of a camera and names, and shows what the worker predicts.

import { startEngine } from "./engine.js";

const TOP = 5;
const FRAME_INTERVAL = 100; // milliseconds between frames of the camera, at least
const MOST_NAMES = 100;
const SHOWN = [480, 1280]; // pixels, least and most of the longer side on the page
const CAMERA_ERRORS = {
  NotAllowedError: "The camera was not allowed. Allow it for this page in the browser, then press Camera again.",
  NotFoundError: "No camera was found. Connect one, then press Camera again.",
  NotReadableError: "Another program uses the camera. Close it, then press Camera again.",
};
const element = (id) => document.getElementById(id);
const state = { worker: null, model: null, names: null, last: null, busy: false, next: null, stream: null, startedAt: 0, cameraRequest: 0, accepted: null };

function say(message) {
  if (element("message").textContent === message) return;
  element("message").textContent = message;
  element("message").hidden = !message;
}

function showProgress(fraction, words) {
  element("progress").hidden = fraction === null;
  element("progress-text").textContent = words ?? "";
  element("bar").value = fraction ?? 0;
}

function ask(request) {
  if (!state.worker || state.busy) {
    state.next = request; // the newest waits, older ones are dropped
    return;
  }
  state.busy = true;
  const transfer = request.bitmap ? [request.bitmap] : [];
  state.worker.postMessage({ type: "predict", names: state.names, ...request }, transfer);
}

function onReply({ data }) {
  if (data.type === "progress") return showProgress(data.done / data.total, "Loading the text model");
  showProgress(null);
  state.busy = false;
  if (data.type === "prediction") {
    say("");
    state.accepted = state.names;
    state.last = data;
    drawImage(data);
    drawHeat();
    showScores();
    element("facts").textContent = `${data.width} × ${data.height} pixels, ${Math.round(data.milliseconds)} ms`;
  } else {
    state.names = state.accepted; // not names that the model refused
    say(data.isRefusal ? data.message : `The model failed: ${data.message} Reload the page.`);
  }
  const next = state.next;
  state.next = null;
  if (next) ask(next);
  else if (state.stream) setTimeout(takeFrame, Math.max(FRAME_INTERVAL - (performance.now() - state.startedAt), 0));
}

function drawImage({ bitmap, width, height }) {
  const canvas = element("image");
  const longest = Math.max(width, height);
  const scale = Math.min(Math.max(longest, SHOWN[0]), SHOWN[1]) / longest;
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  state.still = bitmap;
  element("frame").hidden = false;
  element("empty").hidden = true;
  element("drop").classList.add("full");
}

// The part of the image that the model sees, in fractions of its sides.
function visibleBox({ width, height }) {
  const { shortest_edge: edge, image_size: size } = state.model;
  if (!edge) return [0, 0, 1, 1];
  const side = (Math.min(width, height) * size) / edge;
  return [(1 - side / width) / 2, (1 - side / height) / 2, side / width, side / height];
}

function drawHeat() {
  const canvas = element("heat"), shownImage = element("image"), { last } = state;
  canvas.hidden = !last?.heat || !element("show-heat").checked;
  if (canvas.hidden) return;
  const { data, width, height } = last.heat;
  const grid = new ImageData(width, height);
  data.forEach((value, index) => grid.data.set([225, 29, 72, Math.round(255 * value)], 4 * index));
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d").putImageData(grid, 0, 0);
  [canvas.width, canvas.height] = [shownImage.width, shownImage.height];
  const [left, top, wide, high] = visibleBox(last);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, left * canvas.width, top * canvas.height, wide * canvas.width, high * canvas.height);
  const shown = shownImage.getBoundingClientRect(), frame = element("frame").getBoundingClientRect();
  canvas.style.left = `${shown.left - frame.left}px`;
  canvas.style.top = `${shown.top - frame.top}px`;
  canvas.style.width = `${shown.width}px`;
  canvas.style.height = `${shown.height}px`;
}

function percent(score) {
  return score < 0.001 ? "< 0.1 %" : `${(100 * score).toFixed(1)} %`;
}

function showScores() {
  const { last } = state;
  if (!last) return;
  const order = last.scores.map((score, index) => [score, last.names[index]]).sort((one, other) => other[0] - one[0]);
  const threshold = state.threshold;
  const [score, name] = order[0];
  const isNone = score < threshold;
  const best = isNone ? "None of these" : name;
  if (element("best").textContent !== best) element("best").textContent = best;
  element("best").classList.toggle("none", isNone);
  element("image").setAttribute("aria-label", `Image: ${best}, ${percent(score)}`);
  element("scores").replaceChildren(...order.slice(0, TOP).map(([value, label]) => {
    const row = document.createElement("li");
    const [words, number, track, bar] = Array.from({ length: 4 }, () => document.createElement("span"));
    words.className = "name";
    words.textContent = label;
    number.className = "value";
    number.textContent = percent(value);
    track.className = "track";
    bar.style.width = `${100 * value}%`;
    track.append(bar);
    row.append(words, number, track);
    return row;
  }));
}

function open(blob) {
  if (!blob) return;
  stopCamera();
  ask({ blob });
}

async function again() {
  if (state.stream) return;
  const { still } = state;
  if (still) ask({ bitmap: await createImageBitmap(still, { premultiplyAlpha: "none", colorSpaceConversion: "none" }) });
}

async function takeFrame() {
  if (!state.stream || state.busy) return;
  state.startedAt = performance.now();
  try {
    ask({ bitmap: await createImageBitmap(state.video) });
  } catch {
    setTimeout(takeFrame, FRAME_INTERVAL); // before the first frame
  }
}

async function startCamera() {
  const request = ++state.cameraRequest;
  if (!navigator.mediaDevices) return say("The camera needs a page that is served by https or from localhost.");
  element("camera").disabled = true;
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 640 } } });
    if (request !== state.cameraRequest) return stream.getTracks().forEach((track) => track.stop()); // an image came first
    state.stream = stream;
  } catch (error) {
    return say(CAMERA_ERRORS[error.name] ?? `The camera cannot be used: ${error.message}`);
  } finally {
    element("camera").disabled = false;
  }
  say("");
  state.video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, srcObject: state.stream });
  state.stream.getVideoTracks()[0].onended = stopCamera;
  await state.video.play();
  element("camera").setAttribute("aria-pressed", "true");
  element("camera").textContent = "Stop the camera";
  takeFrame();
}

function stopCamera() {
  state.cameraRequest += 1;
  for (const track of state.stream?.getTracks() ?? []) track.stop();
  state.stream = null;
  element("camera").setAttribute("aria-pressed", "false");
  element("camera").textContent = "Camera";
}

// The slider has whole percent; a stored threshold is used with all its digits until the slider moves.
function useThreshold(threshold) {
  state.threshold = threshold;
  element("threshold").value = Math.round(100 * threshold);
  element("threshold-value").textContent = threshold ? `${Math.round(100 * threshold)} %` : "off";
  showScores();
}

function readNames() {
  const names = element("names").value.split(/[\n;]+/).map((name) => name.trim()).filter(Boolean);
  const distinct = new Set(names.map((name) => name.toLowerCase()));
  if (names.length < 2) throw new Error("Write two or more names, one a line: a single one would always score 100 %.");
  if (names.length > MOST_NAMES) throw new Error(`There are ${names.length} names; the limit is ${MOST_NAMES}.`);
  if (distinct.size < names.length) throw new Error("A name is written twice: remove one.");
  return names;
}

function useNames(names) {
  state.names = names;
  element("reset").hidden = names === null;
  useThreshold(names ? 0 : (state.model?.threshold ?? 0)); // a stored one is for the trained classes
  if (state.last) again();
  else say(names ? "Names are set. Choose an image." : "");
}

function connectControls() {
  element("file").onchange = ({ target }) => {
    open(target.files[0]);
    target.value = ""; // the same file can be chosen again
  };
  element("camera").onclick = () => (state.stream ? stopCamera() : startCamera());
  element("show-heat").onchange = drawHeat;
  element("threshold").oninput = ({ target }) => {
    useThreshold(Number(target.value) / 100);
  };
  element("apply").onclick = () => {
    try {
      useNames(readNames());
    } catch (error) {
      say(error.message);
    }
  };
  element("reset").onclick = () => useNames(null);
  document.onpaste = ({ clipboardData }) => open([...clipboardData.files].find((file) => file.type.startsWith("image/")));
  const drop = element("drop");
  document.ondragover = (event) => {
    event.preventDefault();
    drop.classList.add("over");
  };
  document.ondragleave = () => drop.classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    open(event.dataTransfer.files[0]);
  };
  window.onresize = drawHeat;
}

function describeModel(model, title) {
  document.title = `${model.name}: micro-gestures`;
  element("title").textContent = model.name;
  element("engine").textContent = title;
  element("made").textContent = `mg-vtc ${model.version}`;
  element("heat-switch").hidden = !model.heat;
  element("own").hidden = !model.text;
  useThreshold(model.threshold ?? 0);
}

async function start() {
  element("start").hidden = true;
  document.querySelector("main").hidden = false;
  connectControls();
  showProgress(0, "Loading the model");
  try {
    const { worker, model, title } = await startEngine((fraction) => showProgress(fraction, "Loading the model"));
    Object.assign(state, { worker, model });
    worker.onmessage = onReply;
    worker.onerror = () => say("The model stopped. Reload the page.");
    describeModel(model, title);
  } catch (error) {
    element("engine").textContent = "Not running";
    say(error.message);
    return;
  } finally {
    showProgress(null);
  }
  const { next } = state;
  state.next = null;
  if (next) ask(next);
}

const missing = { WebAssembly: self.WebAssembly, OffscreenCanvas: self.OffscreenCanvas, createImageBitmap: self.createImageBitmap };
const absent = Object.keys(missing).filter((name) => !missing[name]);
if (absent.length) {
  element("start").textContent = `This browser lacks ${absent.join(" and ")}. Use a current Chrome, Edge, Firefox or Safari.`;
} else start();
