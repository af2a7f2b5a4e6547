// A walk through a server that is there: KLUIS_URL and KLUIS_TOKEN name it and an admin. It ends with 0, or tells what is not so.

import assert from "node:assert/strict";
import {
  addAttachment, completeTask, configure, createComment, createProject, createTask, createTimeEntry, deleteTask, getAttachmentContent,
  getMe, getTask, getTaskHistory, listTasks, Refused, replay, updateTask,
} from "../src/index.js";

const url = process.env["KLUIS_URL"] ?? "";
configure({ url, token: process.env["KLUIS_TOKEN"] ?? "" });

const refusal = async (promise: Promise<unknown>): Promise<Refused> => {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof Refused, String(error));
    return error;
  }
  throw new Error("nothing was refused");
};

const me = (await getMe()).data;
assert.equal(me.role.id, "admin");

const project = (await createProject({ key: "TSC", name: "Client" })).data;
const made = await createTask({ title: "Écrire à Zoë", project_id: project.id });
const task = made.data;
assert.equal(made.status, 201);
assert.equal(task.key, "TSC-1");

// The version that a thing was read in goes with its change: a second change of the same version is refused.
const etag = made.headers.get("ETag") ?? "";
const renamed = await updateTask(task.id, { title: "Écrire à Zoé" }, { headers: { "If-Match": etag } });
assert.equal(renamed.data.version, task.version + 1);
const stale = await refusal(updateTask(task.id, { title: "Other" }, { headers: { "If-Match": etag } }));
assert.equal(stale.status, 412);

// The same request twice is one task.
const once = { headers: { "Idempotency-Key": crypto.randomUUID() } };
const first = (await createTask({ title: "Once" }, once)).data;
assert.equal((await createTask({ title: "Once" }, once)).data.id, first.id);

// A list, page by page.
const ids: string[] = [];
for (let cursor: string | undefined; ; ) {
  const page = (await listTasks(cursor === undefined ? { limit: 1 } : { limit: 1, cursor })).data;
  ids.push(...page.items.map((t) => t.id));
  if (page.next_cursor == null) {
    break;
  }
  cursor = page.next_cursor;
}
assert.deepEqual(ids, [first.id, task.id]);

await createComment(task.id, { body: "Done soon" });
await createTimeEntry({ task_id: task.id, start: "2026-03-02T08:00:00Z", end: "2026-03-02T09:30:00Z" });
const bytes = new Uint8Array([0, 1, 2, 250]);
const attachment = (await addAttachment(task.id, { file: new File([bytes], "bytes.bin") })).data;
assert.equal(attachment.size, bytes.length);
assert.deepEqual(new Uint8Array(await (await getAttachmentContent(attachment.id)).data.arrayBuffer()), bytes);

assert.equal((await completeTask(task.id)).data.status, "done");
assert.ok((await getTaskHistory(task.id)).data.items.length >= 4);
assert.equal((await deleteTask(first.id)).status, 204);
const gone = await refusal(getTask(first.id));
assert.deepEqual([gone.status, gone.code], [404, "task_not_found"]);

const types: string[] = [];
for await (const record of replay()) {
  assert.equal(record.position, types.length + 1);
  types.push(record.type);
}
assert.ok(types.includes("task.created") && types.includes("attachment.added"), types.join());

configure({ url, token: "kls_nobody" });
assert.equal((await refusal(getMe())).status, 401);
