// Decodes images and runs the model, off the thread of the page. One request at a time.

const MAX_PIXELS = 64e6; // of an image, so that a decompression bomb does not take the memory
const here = new URL("./", import.meta.url);
let ort, model, image, text, tokenizer, targets, targetNames;

class Refusal extends Error {} // a message for the user

async function readFile(name, { report } = {}) {
  const facts = model.files[name];
  let response;
  try {
    response = await fetch(new URL(`model/${name}`, here));
  } catch {
    throw new Refusal(`The file model/${name} cannot be reached. Is the server still running?`);
  }
  if (!response.ok) throw new Refusal(`The file model/${name} is missing (${response.status}): copy the folder again.`);
  const bytes = new Uint8Array(facts.size);
  let length = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    if (length + value.length <= facts.size) bytes.set(value, length);
    length += value.length;
    report?.(length);
  }
  if (length !== facts.size || ((await hash(bytes)) ?? facts.sha256) !== facts.sha256) {
    throw new Refusal(`The file model/${name} is damaged: copy the folder again.`);
  }
  return bytes;
}

// The largest file of the libraries, with progress, so that a slow network is not taken for a failure.
async function readRuntime(name) {
  const response = await fetch(new URL(`runtime/${name}`, here)).catch(() => null);
  if (!response?.ok) throw new Refusal(`The file runtime/${name} is missing: copy the folder again.`);
  const parts = [];
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts).arrayBuffer();
    parts.push(value);
    postMessage({ type: "progress", done: 0, total: 1 });
  }
}

async function hash(bytes) {
  if (!self.crypto?.subtle) return null; // a page without TLS: files are compared by size alone
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function load({ provider, threads, model: description }) {
  model = description;
  ort = await import(new URL(`runtime/${provider === "webgpu" ? "ort.jspi.min.mjs" : "ort.wasm.min.mjs"}`, here));
  ort.env.wasm.wasmPaths = new URL("runtime/", here).href;
  ort.env.wasm.numThreads = threads;
  const runtime = `ort-wasm-simd-threaded${provider === "webgpu" ? ".jspi" : ""}.wasm`;
  ort.env.wasm.wasmBinary = await readRuntime(runtime);
  ort.env.logLevel = "error";
  const total = model.files[model.image].size;
  const report = (done) => postMessage({ type: "progress", done, total });
  image = await open(await readFile(model.image, { report }), provider);
  await useClasses();
  const size = model.image_size; // a first run compiles what has to be compiled
  await run(new Uint8Array(size * size * 4), size, size);
  postMessage({ type: "ready" });
}

function open(bytes, provider) {
  return ort.InferenceSession.create(bytes, { executionProviders: [provider], graphOptimizationLevel: "all" });
}

async function useClasses() {
  const bytes = await readFile(model.class_embeds);
  targets = new ort.Tensor("float32", new Float32Array(bytes.buffer), [model.labels.length, model.embed_dim]);
  targetNames = model.labels;
}

async function run(pixels, height, width) {
  const feeds = { pixels: new ort.Tensor("uint8", pixels, [height, width, 4]), name_embeds: targets };
  const outputs = await image.run(feeds);
  const logits = outputs.logits.data; // (number of names,)
  const top = logits.reduce((most, value) => Math.max(most, value), -Infinity);
  const exponents = Float64Array.from(logits, (value) => Math.exp(value - top));
  const sum = exponents.reduce((total, value) => total + value, 0);
  const heat = outputs.heat && { data: Float32Array.from(outputs.heat.data), height: outputs.heat.dims[0], width: outputs.heat.dims[1] };
  return { scores: Array.from(exponents, (value) => value / sum), heat };
}

async function decode(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, {
      imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none",
    });
  } catch {
    throw new Refusal("This file cannot be read as an image. Use JPEG, PNG or WebP.");
  }
  if (bitmap.width * bitmap.height > MAX_PIXELS) {
    throw new Refusal(`The image has ${Math.round((bitmap.width * bitmap.height) / 1e6)} megapixels; the limit is ${MAX_PIXELS / 1e6}.`);
  }
  return bitmap;
}

function readPixels(bitmap) {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const pixels = new Uint8Array(context.getImageData(0, 0, width, height).data.buffer);
  for (let index = 3; index < pixels.length; index += 4) {
    if (pixels[index] !== 255) return readBeneath(bitmap) ?? pixels;
  }
  return pixels;
}

// Colours of transparent pixels, which a 2D canvas loses. Training drops transparency and keeps the colour beneath.
function readBeneath(bitmap) {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2", { antialias: false });
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  const pixels = new Uint8Array(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  const failed = gl.getError() !== gl.NO_ERROR;
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return failed ? null : pixels;
}

async function predict({ blob, bitmap, names }) {
  const decoded = bitmap ?? (await decode(blob));
  await useNames(names);
  const start = performance.now();
  const { width, height } = decoded;
  const prediction = await run(readPixels(decoded), height, width);
  const reply = { ...prediction, names: targetNames, width, height, milliseconds: performance.now() - start };
  postMessage({ type: "prediction", ...reply, bitmap: decoded }, [decoded]);
}

async function useNames(names) {
  const wanted = names ?? model.labels;
  if (wanted.length === targetNames.length && wanted.every((name, index) => name === targetNames[index])) return;
  if (!names) return useClasses();
  if (!text) {
    const { Tokenizer } = await import(new URL("runtime/tokenizers.min.mjs", here));
    const read = async (name) => JSON.parse(new TextDecoder().decode(await readFile(name)));
    tokenizer = new Tokenizer(await read("tokenizer.json"), await read("tokenizer_config.json"));
    const total = model.files[model.text.file].size;
    const report = (done) => postMessage({ type: "progress", done, total });
    text = await open(await readFile(model.text.file, { report }), "wasm");
  }
  const encoded = names.map((name) => model.text.prompts.map((prompt) => tokenize(prompt.replaceAll("{}", name), name)));
  checkDistinct(names, encoded);
  const embeds = new Float32Array(names.length * model.embed_dim);
  for (const [index, prompts] of encoded.entries()) embeds.set(await encode(prompts), index * model.embed_dim);
  targets = new ort.Tensor("float32", embeds, [names.length, model.embed_dim]);
  targetNames = names;
}

function tokenize(prompt, name) {
  const { unknown_id, max_length, text_length, pad_id, padding_side } = model.text;
  const words = tokenizer.encode(name, { add_special_tokens: false }).ids;
  if (words.every((id) => id === unknown_id)) throw new Refusal(`The model knows no word of “${name}”. Use other words.`);
  const ids = tokenizer.encode(prompt).ids;
  if (ids.length > max_length) throw new Refusal(`“${name.slice(0, 40)}” is too long: the limit of this model is ${max_length} tokens.`);
  const padding = Array(Math.max((text_length ?? 0) - ids.length, 0)).fill(pad_id);
  const mask = [...ids.map(() => 1), ...padding.map(() => 0)];
  return padding_side === "left"
    ? { ids: [...padding, ...ids], mask: mask.reverse() }
    : { ids: [...ids, ...padding], mask };
}

function checkDistinct(names, encoded) {
  const first = new Map();
  for (const [index, [prompt]] of encoded.entries()) {
    const key = prompt.ids.join();
    if (first.has(key)) throw new Refusal(`“${first.get(key)}” and “${names[index]}” are the same to this model. Use other words for one of them.`);
    first.set(key, names[index]);
  }
}

// The mean of the embeddings of a name's prompts, of length 1 if the model normalizes.
async function encode(prompts) {
  const mean = new Float32Array(model.embed_dim);
  for (const { ids, mask } of prompts) {
    const inputs = { input_ids: ids, attention_mask: mask, token_type_ids: ids.map(() => 0) };
    const feeds = Object.fromEntries(model.text.inputs.map((name) => [
      name, new ort.Tensor("int64", BigInt64Array.from(inputs[name], BigInt), [1, ids.length]),
    ]));
    const { text_embeds } = await text.run(feeds);
    text_embeds.data.forEach((value, index) => (mean[index] += value / prompts.length));
  }
  if (!model.normalize) return mean;
  const length = Math.hypot(...mean);
  return mean.map((value) => value / length);
}

let waiting = Promise.resolve();
self.onmessage = ({ data }) => {
  waiting = waiting.then(async () => {
    try {
      await (data.type === "load" ? load(data) : predict(data));
    } catch (error) {
      const message = error instanceof Refusal ? error.message : String(error?.message ?? error);
      postMessage({ type: data.type === "load" ? "unusable" : "refused", message, isRefusal: error instanceof Refusal });
    }
  });
};
