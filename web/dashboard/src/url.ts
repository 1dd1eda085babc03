/** The state of a view lives in the URL's query, so that every view has an address that restores it. */

import { signal } from "@preact/signals";
import { useCallback, useMemo } from "preact/hooks";
import { useLocation } from "preact-iso";

/** How one query parameter becomes a value and back; null as text means: not in the URL. */
export interface Param<T> {
  parse(text: string | null): T;
  format(value: T): string | null;
}

export type Spec = Readonly<Record<string, Param<unknown>>>;
export type Values<S> = { readonly [K in keyof S]: S[K] extends Param<infer T> ? T : never };

/** Any text; the default is left out of the URL. */
export function text(fallback = ""): Param<string> {
  return {
    parse: (found) => found ?? fallback,
    format: (value) => (value === fallback ? null : value),
  };
}

/** One of these words; anything else reads as the default. */
export function oneOf<const T extends string>(words: readonly T[], fallback: NoInfer<T>): Param<T> {
  return {
    parse: (found) => words.find((word) => word === found) ?? fallback,
    format: (value) => (value === fallback ? null : value),
  };
}

/** A number within bounds; `digits` after the point are kept. */
export function number(fallback: number, min: number, max: number, digits = 0): Param<number> {
  const factor = 10 ** digits;
  return {
    parse: (found) => {
      const value = found === null || found.trim() === "" ? Number.NaN : Number(found);
      return Number.isFinite(value) ? Math.min(max, Math.max(min, Math.round(value * factor) / factor)) : fallback;
    },
    format: (value) => {
      const kept = Math.round(value * factor) / factor;
      return kept === fallback ? null : String(kept);
    },
  };
}

/** On or off. */
export function flag(fallback = false): Param<boolean> {
  return {
    parse: (found) => (found === null ? fallback : found === "1"),
    format: (value) => (value === fallback ? null : value ? "1" : "0"),
  };
}

/** Words separated by commas. */
export function list(fallback: readonly string[] = []): Param<readonly string[]> {
  const usual = fallback.join(",");
  return {
    parse: (found) => (found === null ? fallback : found.split(",").filter((word) => word !== "")),
    format: (value) => (value.join(",") === usual ? null : value.join(",")),
  };
}

/** An instant as milliseconds since the epoch, RFC 3339 in the URL; null when absent or unreadable. */
export function instant(): Param<number | null> {
  return {
    parse: (found) => {
      const value = found === null ? Number.NaN : Date.parse(found);
      return Number.isNaN(value) ? null : value;
    },
    format: (value) => (value === null ? null : new Date(value).toISOString().replace(".000Z", "Z")),
  };
}

/** The values of `spec` in a query string such as `?period=7d`. */
export function readSearch<S extends Spec>(spec: S, search: string): Values<S> {
  const found = new URLSearchParams(search);
  const entries = Object.entries(spec).map(([name, param]) => [name, param.parse(found.get(name))]);
  return Object.fromEntries(entries) as Values<S>;
}

/** `search` with the values of `patch` written into it; parameters that `spec` does not know stay. */
export function writeSearch<S extends Spec>(spec: S, search: string, patch: Partial<Values<S>>): string {
  const query = new URLSearchParams(search);
  for (const [name, value] of Object.entries(patch)) {
    const said = spec[name]?.format(value) ?? null;
    if (said === null) query.delete(name);
    else query.set(name, said);
  }
  const written = query.toString().replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%2C", ",");
  return written === "" ? "" : `?${written}`;
}

/** A query that is shown already and written to the address bar a moment later; null when there is none. */
const draft = signal<{ path: string; search: string } | null>(null);
let timer: ReturnType<typeof setTimeout> | undefined;
const WRITE_MS = 120;

function dropDraft(): void {
  clearTimeout(timer);
  draft.value = null;
}

export type SetSearch<S> = (patch: Partial<Values<S>>, how?: "replace" | "push") => void;

/** The URL's query as typed values, and how to change it.
 *
 * `replace` (the default) is for tweaks such as a slider: shown at once, written to the address bar when it rests.
 * `push` is for steps that the Back button should undo.
 */
export function useSearch<S extends Spec>(spec: S): readonly [Values<S>, SetSearch<S>] {
  const { url, route } = useLocation();
  const at = new URL(url, location.origin);
  const drafted = draft.value;
  const search = drafted !== null && drafted.path === at.pathname ? drafted.search : at.search;
  const values = useMemo(() => readSearch(spec, search), [spec, search]);
  const set = useCallback<SetSearch<S>>(
    (patch, how = "replace") => {
      const path = location.pathname;
      const current = draft.value?.path === path ? draft.value.search : location.search;
      const next = writeSearch(spec, current, patch);
      dropDraft();
      if (next === location.search) return;
      if (how === "push") {
        route(path + next);
        return;
      }
      draft.value = { path, search: next };
      timer = setTimeout(() => {
        const still = draft.value !== null && location.pathname === path;
        draft.value = null;
        if (still) route(path + next, true);
      }, WRITE_MS);
    },
    [spec, route],
  );
  return [values, set];
}

const encode = (part: string): string => encodeURIComponent(part);

/** Addresses of the pages. */
export const href = {
  home: (): string => "/",
  setup: (client?: string): string => (client === undefined ? "/setup" : `/setup?client=${encode(client)}`),
  system: (): string => "/system",
  ledger: (client: string, query: Record<string, string> = {}): string => `/c/${encode(client)}/ledger${queryOf(query)}`,
  screens: (client: string, query: Record<string, string> = {}): string => `/c/${encode(client)}${queryOf(query)}`,
  map: (client: string, screen: string, query: Record<string, string> = {}): string =>
    `/c/${encode(client)}/map${queryOf({ screen, ...query })}`,
};

function queryOf(query: Record<string, string>): string {
  const spec = Object.fromEntries(Object.keys(query).map((name) => [name, text()]));
  return writeSearch(spec, "", query);
}
