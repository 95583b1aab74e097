// Chooses how the model runs: on the GPU, on several threads or on one. One that fails or hangs is replaced by the next.

const START_LIMIT = 20_000; // milliseconds without any progress

export async function listEngines(isQuantized) {
  const engines = [];
  const cores = navigator.hardwareConcurrency ?? 1;
  if (!isQuantized && "Suspending" in WebAssembly && navigator.gpu && (await navigator.gpu.requestAdapter().catch(() => null))) {
    engines.push({ provider: "webgpu", threads: 1, title: "WebGPU" });
  }
  if (self.crossOriginIsolated && cores > 1) {
    const threads = Math.min(cores, 4);
    engines.push({ provider: "wasm", threads, title: `WebAssembly, ${threads} threads` });
  }
  engines.push({ provider: "wasm", threads: 1, title: "WebAssembly" });
  return engines;
}

// Resolves to { worker, title, model }. `onProgress` gets the fraction of the model that is loaded.
export async function startEngine(onProgress) {
  const response = await fetch("model/model.json").catch(() => null);
  const model = response?.ok && (await response.json().catch(() => null));
  if (!model) throw new Error("The file model/model.json cannot be read: copy the folder again.");
  let failure;
  const engines = await listEngines(model.quantized);
  for (const engine of engines) {
    const limit = engine === engines.at(-1) ? Infinity : START_LIMIT; // nothing replaces the last one
    try {
      return { model, title: engine.title, worker: await startWorker({ ...engine, model }, limit, onProgress) };
    } catch (error) {
      failure = error;
      if (error.isRefusal) break; // of a file: no other engine helps
    }
  }
  throw failure;
}

function createWorker() {
  const address = new URL("worker.js", document.baseURI).href;
  // A worker of a blob has the content policy of the page, unlike one of a file.
  const source = new Blob([`import ${JSON.stringify(address)};`], { type: "text/javascript" });
  return new Worker(URL.createObjectURL(source), { type: "module" });
}

function startWorker(engine, limit, onProgress) {
  return new Promise((resolve, reject) => {
    const worker = createWorker();
    let clock;
    const fail = (message, isRefusal = false) => {
      clearTimeout(clock);
      worker.terminate();
      reject(Object.assign(new Error(message), { isRefusal }));
    };
    const wait = () => {
      clearTimeout(clock);
      if (limit < Infinity) clock = setTimeout(() => fail("The model did not start in time."), limit);
    };
    worker.onerror = (event) => fail(event.message || "The worker cannot start in this browser.");
    worker.onmessage = ({ data }) => {
      if (data.type === "progress") {
        wait();
        onProgress(data.done / data.total);
      } else if (data.type === "ready") {
        clearTimeout(clock);
        worker.onerror = worker.onmessage = null;
        resolve(worker);
      } else fail(data.message, data.isRefusal);
    };
    wait();
    worker.postMessage({ type: "load", ...engine });
  });
}
