// Calls a service through the types that openapi-typescript generates, and prints what
// it answers.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };
declare const console: { log(...values: unknown[]): void };

const client = createClient<paths>({ baseUrl: process.argv[2] });
const request: components["schemas"]["scanRequest"] = { path: ".", limit: 1, keep: "first", priority: ["."] };
do {
  const { data, error } = await client.POST("/v1/scans", { body: request });
  if (!data) throw new Error(error.detail);
  for (const g of data.groups) console.log("group", g.size, g.files.length, g.files[0]!.path);
  request.next = data.next;
} while (request.next);

const bill = await client.POST("/v1/projections", { body: { opens: 100 } });
console.log("total", bill.data?.total_decimal);
const refused = await client.POST("/v1/scans", { body: { path: "nowhere" } });
console.log("refused", refused.error?.status);

const begun = await client.POST("/v1/jobs", { params: { header: { "Idempotency-Key": "a key" } }, body: {} });
const again = await client.POST("/v1/jobs", { params: { header: { "Idempotency-Key": "a key" } }, body: {} });
const made = begun.data, same = again.data;
if (!made || !("id" in made) || !same || !("id" in same)) throw new Error(begun.error?.detail);
console.log("the same job", made.id === same.id);
const path = { id: made.id };
for (;;) {
  const { data, error } = await client.GET("/v1/jobs/{id}", { params: { path } });
  if (!data) throw new Error(error.detail);
  if (!data.done) continue;
  console.log("job", data.metadata.state, data.response?.files);
  break;
}
let next: string | undefined;
do {
  const { data, error } = await client.GET("/v1/jobs/{id}/report", { params: { path, query: { limit: 1, next } } });
  if (!data || typeof data === "string") throw new Error(error?.detail);
  for (const g of data.groups) console.log("group", g.size, g.files.length, g.files[0]!.path);
  next = data.next;
} while (next);
