// The log, record by record. Written by hand: a generated function would read all of it first.

import type { RecordBody, ReplayAuditLogParams } from "./kluis.js";
import { ask } from "./transport.js";

/** replay gives the records of the log as they come, the oldest first: with follow, also those that are still to be. */
export async function* replay(params: ReplayAuditLogParams = {}, signal?: AbortSignal): AsyncGenerator<RecordBody> {
  const query = new URLSearchParams(Object.entries(params).map(([name, value]) => [name, String(value)]));
  const response = await ask(`/api/audit/replay?${query}`, signal === undefined ? {} : { signal });
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of response.body!) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line !== "") {
        yield JSON.parse(line) as RecordBody;
      }
    }
  }
}
