/** The query API: typed by its OpenAPI document, with the token of this tab and errors as exceptions. */

import { signal } from "@preact/signals";
import createClient from "openapi-fetch";

import type { paths } from "./schema";

const TOKEN = "isotherm-token";

/** An answer that is no success: RFC 9457's members as far as the server gave them. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";

  constructor(
    readonly status: number,
    readonly detail: string,
    readonly field: string | null = null,
    readonly nearest: unknown = null,
    /** Milliseconds that the server asks to wait. */
    readonly wait: number | null = null,
  ) {
    super(detail);
  }
}

/** Nobody answered: the program is stopped or the network is gone. */
export class OfflineError extends Error {
  override readonly name = "OfflineError";
}

/** The server asked for a token and this tab has none that it accepts. */
export const needsToken = signal(false);

/** The last request reached nobody. */
export const offline = signal(false);

let memory: string | null = null;

/** The token of this tab; null when there is none. */
export function token(): string | null {
  try {
    return sessionStorage.getItem(TOKEN);
  } catch {
    return memory;
  }
}

/** Keep a token until the tab is closed; null forgets it. */
export function setToken(value: string | null): void {
  memory = value;
  try {
    if (value === null) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, value);
  } catch {
    // A browser that stores nothing: the token lives until the page is closed.
  }
}

/** Whether an exception only says that nobody wants the answer any more. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function waitOf(response: Response): number | null {
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return Number.isFinite(seconds) ? seconds * 1000 : null;
}

/** The exception for a response that is no success. */
export async function problemOf(response: Response): Promise<ProblemError> {
  const wait = waitOf(response);
  const body: unknown = await response.json().catch(() => null);
  if (!isObject(body) || typeof body["detail"] !== "string") {
    return new ProblemError(response.status, `The server answered ${response.status}.`, null, null, wait);
  }
  const field = typeof body["field"] === "string" ? body["field"] : null;
  return new ProblemError(response.status, body["detail"], field, body["nearest"] ?? null, wait);
}

/** fetch with the token; ProblemError for an answer that is no success, OfflineError when there is none. */
export async function send(request: Request): Promise<Response> {
  const bearer = token();
  if (bearer !== null) request.headers.set("authorization", `Bearer ${bearer}`);
  let response: Response;
  try {
    response = await fetch(request);
  } catch (error) {
    if (isAbort(error)) throw error;
    offline.value = true;
    throw new OfflineError("Isotherm does not answer.", { cause: error });
  }
  offline.value = false;
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status === 401) needsToken.value = true;
  throw problem;
}

/** The typed client. Errors are thrown (see `send`), so `data` of an answer is always there. */
export const api = createClient<paths>({ baseUrl: location.origin, fetch: send });

/** The JSON of a typed answer (routes that can also answer in another form are never asked for it). */
export async function dataOf<T>(answer: Promise<{ data?: T }>): Promise<Exclude<T, string>> {
  const { data } = await answer;
  if (data === undefined || typeof data === "string") throw new ProblemError(200, "The server's answer was no JSON.");
  return data as Exclude<T, string>;
}

type Query = Record<string, string | number | null | undefined | readonly string[]>;

/** `/v1/x?a=b`: null and undefined are left out, an array repeats its name. */
export function address(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) search.append(name, String(one));
  }
  const said = search.toString();
  return said === "" ? path : `${path}?${said}`;
}

/** Bytes of a route, such as an image: for what an <img> cannot ask for because it sends no token. */
export async function blobOf(path: string, query: Query, abort?: AbortSignal, method = "GET"): Promise<Blob> {
  const init = abort === undefined ? { method } : { method, signal: abort };
  const response = await send(new Request(new URL(address(path, query), location.origin), init));
  return response.blob();
}

/** JSON of a route that the typed client does not know. */
export async function jsonOf<T>(path: string, query: Query = {}, init: RequestInit = {}): Promise<T> {
  const response = await send(new Request(new URL(address(path, query), location.origin), init));
  return (await response.json()) as T;
}
