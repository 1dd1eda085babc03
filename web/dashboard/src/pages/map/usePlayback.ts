/** A time-lapse over the selected range: fetch its frames, run through them, return to the sum. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { ProblemError, isAbort } from "../../api/client";
import { fetchHeatmap } from "../../api/queries";
import { heatMapFromColumns } from "../../heat/columns";
import type { HeatMap } from "../../heat/types";
import type { MapModel } from "./model";
import { type Film, type Mode, type Plan, film, inParallel, nextFrame, plan, shownFrames } from "./playback";
import type { Range, Unit } from "./time";

const AT_ONCE = 4;

interface Reel {
  readonly plan: Plan;
  readonly maps: readonly HeatMap[];
}

type State =
  | { readonly is: "off" }
  | { readonly is: "loading"; readonly done: number; readonly count: number }
  | { readonly is: "failed"; readonly error: Error }
  | { readonly is: "on"; readonly reel: Reel; readonly at: number; readonly playing: boolean };

export interface Playback {
  readonly state: State;
  readonly film: Film | null;
  /** What the stage shows instead of the sum; null when no time-lapse is on. */
  readonly frame: { readonly map: HeatMap; readonly range: Range; readonly top: number } | null;
  readonly mode: Mode;
  readonly speed: number;
  /** Less motion is asked for: frames change by hand only. */
  readonly still: boolean;
  start(): void;
  /** Pause, or go on; at the end, from the first frame. */
  toggle(): void;
  step(by: -1 | 1): void;
  seek(at: number): void;
  stop(): void;
  setMode(mode: Mode): void;
  setSpeed(speed: number): void;
}

export function usePlayback(model: MapModel): Playback {
  const { client, screen, kinds, range, now } = model;
  const [state, setState] = useState<State>({ is: "off" });
  const [mode, setMode] = useState<Mode>("frame");
  const [speed, setSpeed] = useState(4);
  const still = useMedia("(prefers-reduced-motion: reduce)");
  const abort = useRef<AbortController | null>(null);
  const stop = (): void => {
    abort.current?.abort();
    setState({ is: "off" });
  };
  const key = JSON.stringify([client, screen, kinds, range.from, range.to]);
  useEffect(() => stop, [key]);

  const load = async (finest: Unit, abortion: AbortController): Promise<void> => {
    const made = plan(range, finest);
    const count = made.frames.length;
    setState({ is: "loading", done: 0, count });
    const fetch = async (frame: Range): Promise<HeatMap> => {
      const question = { client, screen, types: kinds, from: frame.from, to: frame.to };
      return heatMapFromColumns(await fetchHeatmap(question, abortion.signal));
    };
    const report = (done: number): void => {
      if (!abortion.signal.aborted) setState({ is: "loading", done, count });
    };
    const maps = await inParallel(made.frames, AT_ONCE, fetch, report);
    if (abortion.signal.aborted) return;
    const shown = shownFrames(made, maps.map((map) => map.total), now);
    const reel = { plan: { ...made, frames: made.frames.slice(0, shown) }, maps: maps.slice(0, shown) };
    setState({ is: "on", reel, at: 0, playing: !still });
  };
  const start = (): void => {
    abort.current?.abort();
    const abortion = new AbortController();
    abort.current = abortion;
    const failed = (error: unknown): void => {
      if (isAbort(error) || abortion.signal.aborted) return;
      setState({ is: "failed", error: error instanceof Error ? error : new Error(String(error)) });
    };
    // Hours, then days, may have expired for this range: then the frames are as fine as the tiles still are.
    const coarser = (finest: Unit) => (error: unknown) => {
      if (error instanceof ProblemError && error.status === 422) return load(finest, abortion);
      throw error;
    };
    load("hour", abortion).catch(coarser("day")).catch(coarser("week")).catch(failed);
  };

  const reel = state.is === "on" ? state.reel : null;
  const made = useMemo(() => (reel ? film(reel.maps, mode) : null), [reel, mode]);
  useTicks(state, speed, setState);
  const at = state.is === "on" ? state.at : 0;
  const map = made?.maps[at];
  const part = reel?.plan.frames[at];
  return {
    state,
    film: made,
    frame: made && map && part ? { map, range: part, top: made.top } : null,
    mode,
    speed,
    still,
    start,
    stop,
    toggle: () => {
      if (state.is !== "on") start();
      else if (still) setState({ ...state, at: (state.at + 1) % state.reel.maps.length });
      else setState({ ...state, playing: !state.playing });
    },
    step: (by) => {
      if (state.is !== "on") return;
      const count = state.reel.maps.length;
      setState({ ...state, playing: false, at: Math.min(Math.max(state.at + by, 0), count - 1) });
    },
    seek: (to) => {
      if (state.is === "on") setState({ ...state, playing: false, at: to });
    },
    setMode,
    setSpeed,
  };
}

/** One frame after the other while it plays; after the last one the sum is shown again. */
function useTicks(state: State, speed: number, setState: (state: State) => void): void {
  useEffect(() => {
    if (state.is !== "on" || !state.playing) return undefined;
    const next = nextFrame(state.at, state.reel.maps.length);
    // The last frame stands a little longer.
    const timer = setTimeout(
      () => setState(next === null ? { is: "off" } : { ...state, at: next }),
      next === null ? Math.max(1000 / speed, 900) : 1000 / speed,
    );
    return () => clearTimeout(timer);
  }, [state, speed]);
}

export function useMedia(query: string): boolean {
  const list = useMemo(() => matchMedia(query), [query]);
  const [matches, setMatches] = useState(list.matches);
  useEffect(() => {
    const changed = (): void => setMatches(list.matches);
    changed();
    list.addEventListener("change", changed);
    return () => list.removeEventListener("change", changed);
  }, [list]);
  return matches;
}
