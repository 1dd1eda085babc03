/** Questions that only this page asks. */

import { ProblemError, address } from "../../api/client";
import { fetchActivity, fetchHeatmap, fetchScreens, type MapQuestion } from "../../api/queries";
import { type Query, useQuery } from "../../api/query";
import type { Activity, HeatmapColumns, ScreenRow } from "../../api/types";
import { DAY, type Range, WEEK, ceilTo, floorTo } from "./time";

const PAGE = 1000;

/** The row of one screen, or null when it has no events (in the range, when one is given). */
async function findScreen(client: string, screen: string, range: Range | null, abort: AbortSignal): Promise<ScreenRow | null> {
  let cursor: string | null = null;
  try {
    do {
      const question = { client, q: screen, limit: PAGE, cursor, ...range };
      const page: Awaited<ReturnType<typeof fetchScreens>> = await fetchScreens(question, abort);
      const found = page.screens.find((row) => row.screen_id === screen);
      if (found) return found;
      cursor = page.next_cursor;
    } while (cursor !== null);
  } catch (error) {
    if (error instanceof ProblemError && (error.status === 404 || error.status === 422)) return null;
    throw error;
  }
  return null;
}

export function useScreenRow(client: string, screen: string, range: Range | null): Query<ScreenRow | null> {
  const key = screen === "" ? null : address("map/screen", { client, screen, from: range?.from, to: range?.to });
  return useQuery(key, (abort) => findScreen(client, screen, range, abort), { keep: true });
}

export function useHeatmap(question: MapQuestion | null): Query<HeatmapColumns> {
  const key = question === null ? null : `map/heatmap ${JSON.stringify(question)}`;
  return useQuery(key, (abort) => fetchHeatmap(question as MapQuestion, abort), { keep: true });
}

/** Events per step of a screen and kinds; without a screen nothing is asked. A client without data has no steps. */
export function useSteps(
  client: string,
  screen: string,
  types: readonly string[],
  range: Range | null,
): Query<Activity | null> {
  const key =
    screen === "" || range === null ? null : `map/steps ${JSON.stringify([client, screen, types, range.from, range.to])}`;
  const fetcher = async (abort: AbortSignal): Promise<Activity | null> => {
    try {
      return await fetchActivity({ client, screen, types, ...(range as Range), step: "auto" }, abort);
    } catch (error) {
      if (error instanceof ProblemError && error.status === 404) return null;
      throw error;
    }
  };
  return useQuery(key, fetcher, { keep: true });
}

/** All the time that tiles can be kept for, to the end of the current week. */
export function allTime(now: number): Range {
  const to = ceilTo("week", now + DAY);
  return { from: floorTo("week", now) - 260 * WEEK, to };
}
