/** The time strip's own state: how wide it is, what part of time it shows, and the bars in it. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import type { MapModel } from "./model";
import { useSteps } from "./questions";
import { type Bar, type Step, bars, binFor, fetchWindow, firstView, panned, revealing, zoomed } from "./strip";
import { HOUR, type Range, UNIT_MS, sameRange } from "./time";

export interface StripModel {
  /** The plot; null until it is there. */
  readonly box: HTMLDivElement | null;
  setBox(box: HTMLDivElement | null): void;
  /** Of the plot, in CSS pixels; 0 until it is measured. */
  readonly width: number;
  readonly view: Range;
  readonly limits: Range;
  readonly bars: readonly Bar[];
  readonly bin: number;
  readonly steps: { readonly steps: readonly Step[]; readonly step: number };
  readonly loading: boolean;
  /** What there is to show is not known yet: nothing is drawn that would move a moment later. */
  readonly pending: boolean;
  /** Events in a range, when the steps are fine enough to tell. */
  eventsIn(range: Range): number | null;
  zoom(factor: number, anchor?: number): void;
  pan(by: number): void;
  showAll(): void;
  refetch(): void;
}

export function useStrip(model: MapModel): StripModel {
  const { data, range, limits, now, history } = model;
  const [box, setBox] = useState<HTMLDivElement | null>(null);
  const width = useWidth(box);
  const [chosen, setChosen] = useState<Range | null>(null);
  const usual = useMemo(() => firstView(data, range, now), [data?.from, data?.to]);
  const view = revealing(clip(chosen ?? usual, limits), range, limits);
  useEffect(() => {
    if (chosen !== null && !sameRange(view, chosen)) setChosen(view);
  }, [view.from, view.to]);
  // A screen has its own past.
  useEffect(() => setChosen(null), [model.client, model.screen]);
  const wanted = fetchWindow(view, limits);
  const query = useSteps(model.client, model.screen, model.kinds, data === null ? null : wanted);
  const { step, steps } = useMemo(() => {
    const found = query.data?.steps.map(({ start, events }) => ({ start: Date.parse(start), events })) ?? [];
    return { step: query.data ? UNIT_MS[query.data.step as "hour" | "day" | "week"] : HOUR, steps: found };
  }, [query.data]);
  const bin = binFor(view, Math.max(width, 280), step);
  const made = useMemo(() => bars(steps, view, bin), [steps, view.from, view.to, bin]);
  const { refetch } = query;
  const seen = useRef(model.freshness?.version);
  useEffect(() => {
    const { version } = model.freshness ?? {};
    if (seen.current !== undefined && version !== seen.current) refetch();
    seen.current = version;
  }, [model.freshness?.version]);
  return {
    box,
    setBox,
    width,
    view,
    limits,
    bars: made,
    bin,
    steps: { steps, step },
    pending: history === null,
    loading: history === null || query.loading,
    eventsIn: (part) => sumOf(steps, step, part),
    zoom: (factor, anchor) => setChosen(zoomed(view, factor, anchor ?? middleOf(view, range), limits)),
    pan: (by) => setChosen(panned(view, by, limits)),
    showAll: () => setChosen(limits),
    refetch,
  };
}

function sumOf(steps: readonly { start: number; events: number }[], step: number, part: Range): number | null {
  const first = steps[0];
  const last = steps.at(-1);
  if (!first || !last || part.from < first.start || part.to > last.start + step) return null;
  const offset = (time: number): boolean => (time - first.start) % step !== 0;
  if (offset(part.from) || offset(part.to)) return null;
  return steps.reduce((sum, { start, events }) => (start >= part.from && start < part.to ? sum + events : sum), 0);
}

/** Zooming keeps what is selected in place as long as it is seen. */
function middleOf(view: Range, range: Range): number {
  const middle = (range.from + range.to) / 2;
  return middle >= view.from && middle <= view.to ? middle : (view.from + view.to) / 2;
}

function clip(view: Range, limits: Range): Range {
  return panned(view, 0, limits);
}

function useWidth(box: HTMLDivElement | null): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    if (!box) return undefined;
    const measure = (): void => setWidth(Math.round(box.getBoundingClientRect().width));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(box);
    return () => observer.disconnect();
  }, [box]);
  return width;
}
