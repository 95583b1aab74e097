// What the Hub's own tables make of a model: reads one model of their type ModelData, and prints JSON.
import { readFileSync } from "node:fs";
import { LIBRARY_TASK_MAPPING, MODEL_LIBRARIES_UI_ELEMENTS, PIPELINE_DATA } from "@huggingface/tasks";

const model = JSON.parse(readFileSync(0, "utf-8"));
const library = MODEL_LIBRARIES_UI_ELEMENTS[model.library_name];
console.log(
	JSON.stringify({
		task: PIPELINE_DATA[model.pipeline_tag]?.name,
		library: library?.prettyLabel,
		library_tasks: LIBRARY_TASK_MAPPING[model.library_name],
		snippets: library?.snippets(model),
	}),
);
