/** What the page knows: its address, the answers to its questions, and what follows from them. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { ProblemError } from "../../api/client";
import { useFreshness } from "../../api/queries";
import type { Query } from "../../api/query";
import type { Freshness, HeatmapColumns, ScreenRow } from "../../api/types";
import { heatMapFromColumns } from "../../heat/columns";
import type { HeatMap, Shape } from "../../heat/types";
import { type SetSearch, useSearch } from "../../url";
import { allTime, useHeatmap, useScreenRow, useSteps } from "./questions";
import { type MapValues, SPEC, type When, defaultKinds, kindsOf, rangeOf, whenOf } from "./state";
import { type Step, extent, limitsOf } from "./strip";
import { HOUR, type Range, UNIT_MS, WEEK, ceilTo, floorTo } from "./time";

/** While events pour in, what changes slowly (the screen's row, all its past) is asked for again after so long. */
const SLOW_MS = 10_000;

export const UNKNOWN_SHAPE: Shape = { w: 1440, h: 900 };

/** A map that is complete enough to be drawn: counts, and the screen they belong to. */
export interface Scene {
  readonly screen: string;
  readonly kinds: readonly string[];
  readonly range: Range;
  readonly row: ScreenRow | null;
  readonly shape: Shape;
  readonly answer: HeatmapColumns;
  readonly map: HeatMap;
}

export interface MapModel {
  readonly client: string;
  readonly values: MapValues;
  readonly set: SetSearch<typeof SPEC>;
  readonly screen: string;
  readonly when: When;
  readonly range: Range;
  readonly kinds: readonly string[];
  /** The server's clock, to the second of the last look at it. */
  readonly now: number;
  readonly freshness: Freshness | undefined;
  readonly row: Query<ScreenRow | null>;
  /** Events of each kind in the range. */
  readonly counts: Query<ScreenRow | null>;
  readonly heat: Query<HeatmapColumns>;
  /** The last map that could be drawn; the one asked for, unless `heat.stale` or `heat.error`. */
  readonly scene: Scene | null;
  /** Steps of all time, as coarse as the server chose. */
  readonly history: { readonly steps: readonly Step[]; readonly step: number } | null;
  /** Where there are events at all; null while unknown or without any. */
  readonly data: Range | null;
  readonly limits: Range;
  refetch(): void;
}

export function useMapModel(client: string): MapModel {
  const [values, set] = useSearch(SPEC);
  const freshness = useFreshness(client).data;
  const now = useClock(freshness);
  const { screen } = values;
  const hour = floorTo("hour", now);
  const when = useMemo(() => whenOf(values), [values.from, values.to, values.now]);
  const range = useMemo(() => rangeOf(when, hour), [when, hour]);
  const row = useScreenRow(client, screen, null);
  const kinds = useKinds(values, row.stale ? null : (row.data ?? null), row.loading);
  const question = screen === "" ? null : { client, screen, from: range.from, to: range.to, types: kinds };
  const heat = useHeatmap(question);
  const counts = useScreenRow(client, screen, range);
  const week = floorTo("week", now);
  const past = useSteps(client, screen, kinds, useMemo(() => allTime(week), [week]));
  const history = useHistory(past);
  const data = useMemo(() => extentOf(history, hour), [history, hour]);
  const refetch = (): void => [row, heat, counts, past].forEach((query) => query.refetch());
  const refetchSlow = useSparingly(() => [row, past].forEach((query) => query.refetch()), SLOW_MS);
  useGrowth(freshness?.version, () => {
    for (const query of [heat, counts]) query.refetch();
    refetchSlow();
  });
  const scene = useScene(screen, kinds, range, row, heat);
  const limits = useMemo(() => limitsOf(data, range, hour), [data, range, hour]);
  return { client, values, set, screen, when, range, kinds, now, freshness, row, counts, heat, scene, history, data, limits, refetch };
}

/** Calls at once, then at most every `rest` ms, and never forgets the last one. */
function useSparingly(act: () => void, rest: number): () => void {
  const latest = useRef(act);
  latest.current = act;
  const last = useRef(0);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  return () => {
    if (timer.current !== undefined) return;
    const run = (): void => {
      timer.current = undefined;
      last.current = Date.now();
      latest.current();
    };
    const wait = last.current + rest - Date.now();
    if (wait <= 0) run();
    else timer.current = setTimeout(run, wait);
  };
}

/** The server's clock: its last answer, else this computer's. */
function useClock(freshness: Freshness | undefined): number {
  const [local, setLocal] = useState(() => Date.now());
  useEffect(() => {
    // Only for the time without an answer; otherwise each answer moves the clock.
    const timer = setInterval(() => setLocal(Date.now()), 10_000);
    return () => clearInterval(timer);
  }, []);
  return freshness ? Math.max(Date.parse(freshness.now), 0) : local;
}

/** Kinds of the address, else what suits the screen; the choice for a screen does not change under the reader's eyes. */
function useKinds(values: MapValues, row: ScreenRow | null, loading: boolean): readonly string[] {
  const chosen = kindsOf(values);
  const counts = row?.screen_id === values.screen ? row.event_types : null;
  const usual = useRef<{ screen: string; kinds: readonly string[] } | null>(null);
  if (usual.current?.screen !== values.screen) usual.current = null;
  if (usual.current === null && !loading && counts) {
    usual.current = { screen: values.screen, kinds: defaultKinds(counts) };
  }
  const kinds = chosen.length > 0 ? chosen : (usual.current?.kinds ?? defaultKinds(null));
  const key = kinds.join(",");
  return useMemo(() => kinds, [key]);
}

function useHistory(past: ReturnType<typeof useSteps>): MapModel["history"] {
  return useMemo(() => {
    if (past.data === undefined && past.error === undefined) return null;
    if (past.data === undefined || past.data === null) return { steps: [], step: WEEK };
    const steps = past.data.steps.map(({ start, events }) => ({ start: Date.parse(start), events }));
    return { steps, step: UNIT_MS[past.data.step as "hour" | "day" | "week"] };
  }, [past.data, past.error]);
}

/** Where the events are; a week or a day that still runs has none beyond today. */
function extentOf(history: MapModel["history"], now: number): Range | null {
  const found = history && extent(history.steps, history.step);
  if (!history || !found || history.step === HOUR) return found;
  return { from: found.from, to: Math.max(found.from + HOUR, Math.min(found.to, ceilTo("day", now + HOUR))) };
}

/** Calls `grown` when the maps' version changes while the page is open. */
function useGrowth(version: number | undefined, grown: () => void): void {
  const seen = useRef<number | undefined>(undefined);
  useEffect(() => {
    if (version === undefined) return;
    if (seen.current !== undefined && seen.current !== version) grown();
    seen.current = version;
  }, [version]);
}

function useScene(
  screen: string,
  kinds: readonly string[],
  range: Range,
  row: Query<ScreenRow | null>,
  heat: Query<HeatmapColumns>,
): Scene | null {
  const last = useRef<Scene | null>(null);
  const { data: answer } = heat;
  // Both must be of this screen: the map of one is never drawn over the shape of another.
  const ready = answer && !heat.stale && row.data !== undefined && !row.stale && answer.screen_id === screen;
  const known = last.current;
  if (ready && (known?.answer !== answer || known.row !== row.data)) {
    const map = known?.answer === answer ? known.map : heatMapFromColumns(answer);
    const shape = row.data?.shape ?? UNKNOWN_SHAPE;
    last.current = { screen, kinds, range, row: row.data ?? null, shape, answer, map };
  }
  return last.current;
}

/** Whether an error says that nothing is known of this client or screen. */
export function isUnknown(error: Error | undefined): boolean {
  return error instanceof ProblemError && error.status === 404;
}

/** The range that an error of expired tiles names instead, or null. */
export function offeredRange(error: Error | undefined): Range | null {
  if (!(error instanceof ProblemError) || error.status !== 422) return null;
  const nearest = error.nearest as { from?: unknown; to?: unknown } | null;
  const from = typeof nearest?.from === "string" ? Date.parse(nearest.from) : Number.NaN;
  const to = typeof nearest?.to === "string" ? Date.parse(nearest.to) : Number.NaN;
  return from < to ? { from, to } : null;
}


