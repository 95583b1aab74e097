// Scores of images by transformers.js: reads the model and the images as JSON, and prints what both pipelines give.
import { readFileSync } from "node:fs";
import { AutoConfig, LogLevel, env, pipeline } from "@huggingface/transformers";

const { model, host, cache, dtype, images, names, template, vision_only } = JSON.parse(readFileSync(0, "utf-8"));
env.logLevel = LogLevel.ERROR;
env.allowRemoteModels = Boolean(host);
env.allowLocalModels = !host;
if (host) env.remoteHost = host;
env.cacheDir = cache;

const config = { ...(await AutoConfig.from_pretrained(model)), model_type: "vit" };
const options = vision_only ? { config, dtype } : { config, dtype, model_file_name: "classifier" };
const classify = await pipeline("image-classification", model, options);
const told = { classes: await classify(images, { top_k: null }) };
if (!vision_only) {
	const compare = await pipeline("zero-shot-image-classification", model, { dtype });
	told.names = await compare(images, names, { hypothesis_template: template });
}
console.log(JSON.stringify(told));
