/** Data of the server in components: cached, fetched again, paused while nobody looks. */

import { effect, signal, type Signal } from "@preact/signals";
import { useCallback, useEffect, useMemo, useRef } from "preact/hooks";

import { isAbort, needsToken, OfflineError, offline, ProblemError } from "./client";

/** What a component knows of one question. */
export interface Query<T> {
  /** The last good answer; kept when a later attempt fails. */
  readonly data: T | undefined;
  readonly error: Error | undefined;
  /** No answer yet and none failed. */
  readonly loading: boolean;
  /** `data` belongs to the question asked before; the new answer is on its way. Only with `keep`. */
  readonly stale: boolean;
  /** When `data` came, in milliseconds since the epoch. */
  readonly at: number;
  readonly refetch: () => void;
}

interface State {
  readonly data: unknown;
  readonly error: Error | undefined;
  readonly at: number;
}

type Fetcher = (abort: AbortSignal) => Promise<unknown>;

interface Use {
  fetcher: Fetcher;
  every: number | undefined;
}

interface Entry {
  readonly state: Signal<State>;
  readonly uses: Set<Use>;
  running: AbortController | undefined;
  timer: ReturnType<typeof setTimeout> | undefined;
  failures: number;
}

/** An answer this young is not asked for again when a component appears. */
const FRESH_MS = 1000;
const RETRY_MS = 2000;
const RETRY_MAX_MS = 30_000;
/** Unused answers kept for the way back. */
const KEPT = 60;

const entries = new Map<string, Entry>();

function entryOf(key: string): Entry {
  let entry = entries.get(key);
  if (entry === undefined) {
    const state = signal<State>({ data: undefined, error: undefined, at: 0 });
    entry = { state, uses: new Set(), running: undefined, timer: undefined, failures: 0 };
  } else {
    entries.delete(key);
  }
  // A map keeps the order of insertion: the oldest are first.
  entries.set(key, entry);
  for (const [old, other] of entries) {
    if (entries.size <= KEPT) break;
    if (other.uses.size === 0 && other !== entry) entries.delete(old);
  }
  return entry;
}

function worthRetrying(error: Error): boolean {
  return error instanceof OfflineError || (error instanceof ProblemError && (error.status === 429 || error.status >= 500));
}

function pause(entry: Entry): number | undefined {
  const { error } = entry.state.value;
  const rests = [...entry.uses].flatMap((use) => (use.every === undefined ? [] : [use.every]));
  const every = rests.length === 0 ? undefined : Math.min(...rests);
  if (error === undefined || !worthRetrying(error)) return every;
  const asked = error instanceof ProblemError ? error.wait : null;
  return asked ?? Math.max(every ?? 0, Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** Math.max(0, entry.failures - 1)));
}

function schedule(entry: Entry): void {
  clearTimeout(entry.timer);
  entry.timer = undefined;
  if (entry.uses.size === 0 || document.hidden || needsToken.value) return;
  const wait = pause(entry);
  if (wait !== undefined) entry.timer = setTimeout(() => void run(entry), wait);
}

async function run(entry: Entry): Promise<void> {
  const use = [...entry.uses].at(-1);
  if (use === undefined) return;
  entry.running?.abort();
  clearTimeout(entry.timer);
  const controller = new AbortController();
  entry.running = controller;
  try {
    const data = await use.fetcher(controller.signal);
    if (entry.running !== controller) return;
    entry.failures = 0;
    entry.state.value = { data, error: undefined, at: Date.now() };
  } catch (error) {
    if (entry.running !== controller || isAbort(error)) return;
    entry.failures += 1;
    const shown = error instanceof Error ? error : new Error(String(error));
    entry.state.value = { ...entry.state.value, error: shown };
  }
  entry.running = undefined;
  schedule(entry);
}

function join(entry: Entry, use: Use): () => void {
  entry.uses.add(use);
  const { at, error } = entry.state.value;
  const young = error === undefined && at > 0 && Date.now() - at < Math.max(FRESH_MS, use.every ?? 0);
  if (entry.running === undefined) {
    if (young || document.hidden) schedule(entry);
    else void run(entry);
  }
  return () => {
    entry.uses.delete(use);
    if (entry.uses.size > 0) return;
    entry.running?.abort();
    entry.running = undefined;
    clearTimeout(entry.timer);
  };
}

/** Ask every question again whose answer is missing, failed or due: after a pause of any kind. */
function wake(all: boolean): void {
  for (const entry of entries.values()) {
    if (entry.uses.size === 0 || entry.running !== undefined) continue;
    const { at, error } = entry.state.value;
    const rest = pause(entry);
    const due = at === 0 || error !== undefined || (rest !== undefined && Date.now() - at >= rest);
    if (all || due) void run(entry);
    else schedule(entry);
  }
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    wake(false);
    return;
  }
  for (const entry of entries.values()) clearTimeout(entry.timer);
});

let wasBroken = false;
effect(() => {
  const broken = offline.value || needsToken.value;
  const recovered = wasBroken && !broken;
  wasBroken = broken;
  // Not inside the effect: reading entries' signals here would make it depend on them.
  if (recovered) queueMicrotask(() => wake(false));
});

/** Ask again whatever is on the page and starts with `prefix`: after something was changed. */
export function invalidate(prefix: string): void {
  for (const [key, entry] of entries) {
    if (!key.startsWith(prefix)) continue;
    if (entry.uses.size === 0) entries.delete(key);
    else void run(entry);
  }
}

/** Forget everything: another token may see other data. */
export function forget(): void {
  for (const [key, entry] of entries) {
    if (entry.uses.size === 0) entries.delete(key);
    else {
      entry.state.value = { data: undefined, error: undefined, at: 0 };
      void run(entry);
    }
  }
}

export interface QueryOptions {
  /** Milliseconds between an answer and the next question; without it the question is asked once. */
  readonly every?: number;
  readonly enabled?: boolean;
  /** While the answer to a changed key is on its way, show the last one (`stale`). */
  readonly keep?: boolean;
}

/** Ask the server; `key` names the question (same key, same answer), null asks nothing. */
export function useQuery<T>(
  key: string | null,
  fetcher: (abort: AbortSignal) => Promise<T>,
  { every, enabled = true, keep = false }: QueryOptions = {},
): Query<T> {
  const asked = enabled ? key : null;
  const entry = useMemo(() => (asked === null ? undefined : entryOf(asked)), [asked]);
  const latest = useRef(fetcher);
  latest.current = fetcher;
  useEffect(() => {
    if (entry === undefined) return undefined;
    return join(entry, { fetcher: (abort) => latest.current(abort), every });
  }, [entry, every]);
  const refetch = useCallback(() => {
    if (entry !== undefined) void run(entry);
  }, [entry]);
  const state = entry?.state.value;
  const before = useRef<State | undefined>(undefined);
  if (state?.data !== undefined) before.current = state;
  const stale = keep && state?.data === undefined && state?.error === undefined && before.current !== undefined;
  const shown = stale ? before.current : state;
  return {
    data: shown?.data as T | undefined,
    error: state?.error,
    loading: asked !== null && shown?.data === undefined && state?.error === undefined,
    stale,
    at: shown?.at ?? 0,
    refetch,
  };
}
