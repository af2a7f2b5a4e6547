// How the generated functions reach a server. Written by hand.

const settings = { url: "", token: "" };

/** configure says where the server is, without a slash at the end, and who asks. */
export function configure(to: { url: string; token?: string }): void {
  settings.url = to.url;
  settings.token = to.token ?? "";
}

/** Refused is every answer that is not a success: a problem (RFC 9457). */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly retryAfter: number | undefined,
  ) {
    super(detail);
  }
}

/** ask sends a request as the caller, and throws Refused for what is not a success. */
export async function ask(path: string, init: RequestInit): Promise<Response> {
  const headers = new Headers(init.headers);
  if (settings.token !== "") {
    headers.set("Authorization", `Bearer ${settings.token}`);
  }
  const response = await fetch(settings.url + path, { ...init, headers });
  if (!response.ok) {
    const problem = (await response.json()) as { code: string; detail: string };
    const after = response.headers.get("Retry-After");
    throw new Refused(response.status, problem.code, problem.detail, after === null ? undefined : Number(after));
  }
  return response;
}

/** transport is what the generated functions call. */
export async function transport<T>(path: string, init: RequestInit): Promise<T> {
  const response = await ask(path, init);
  const type = response.headers.get("Content-Type") ?? "";
  let data: unknown;
  if (response.status !== 204) {
    data = type.includes("json") && !type.includes("ndjson") ? await response.json() : type.startsWith("text/") || type.includes("ndjson") ? await response.text() : await response.blob();
  }
  return { data, status: response.status, headers: response.headers } as T;
}
