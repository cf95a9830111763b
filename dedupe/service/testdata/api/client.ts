// Calls a service through the types that openapi-typescript generates, and prints what
// it answers.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };
declare const console: { log(...values: unknown[]): void };

const client = createClient<paths>({ baseUrl: process.argv[2] });
const request: components["schemas"]["scanRequest"] = { path: ".", limit: 1 };
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
