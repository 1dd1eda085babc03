/** One function per question, and the hooks that several pages share. */

import { address, api, blobOf, dataOf, jsonOf, ProblemError } from "./client";
import { learnNow } from "./now";
import { type Query, useQuery } from "./query";
import type { Activity, Clients, DeadCounts, Freshness, HeatmapColumns, Ledger, Screens, Sdk, Status } from "./types";

type Abort = AbortSignal | undefined;

const withAbort = (abort: Abort): { signal?: AbortSignal } => (abort === undefined ? {} : { signal: abort });

export interface MapQuestion {
  readonly client: string;
  readonly screen: string;
  /** Milliseconds since the epoch, on the hour; `to` is excluded. */
  readonly from: number;
  readonly to: number;
  readonly types: readonly string[];
}

function mapQuery({ client, screen, from, to, types }: MapQuestion) {
  return { client_id: client, screen_id: screen, from: String(from), to: String(to), event_type: [...types] };
}

export async function fetchStatus(abort?: AbortSignal): Promise<Status> {
  const status = await jsonOf<Status>("/v1/status", {}, withAbort(abort));
  learnNow(status.now);
  return status;
}

export function fetchClients(cursor: string | null, abort?: AbortSignal): Promise<Clients> {
  const query = { limit: 200, ...(cursor === null ? {} : { cursor }) };
  return dataOf(api.GET("/v1/clients", { params: { query }, ...withAbort(abort) }));
}

export function fetchFreshness(client: string, abort?: AbortSignal): Promise<Freshness> {
  const query = { client_id: client };
  return dataOf(api.GET("/v1/freshness", { params: { query }, ...withAbort(abort) }));
}

export function fetchSdk(abort?: AbortSignal): Promise<Sdk> {
  return dataOf(api.GET("/v1/sdk", withAbort(abort)));
}

export interface ScreensQuestion {
  readonly client: string;
  readonly q?: string;
  readonly from?: number;
  readonly to?: number;
  readonly limit?: number;
  readonly cursor?: string | null;
}

export function fetchScreens(question: ScreensQuestion, abort?: AbortSignal): Promise<Screens> {
  const { client, q, from, to, limit, cursor } = question;
  const query = {
    client_id: client,
    ...(q === undefined || q === "" ? {} : { q }),
    ...(from === undefined ? {} : { from: String(from) }),
    ...(to === undefined ? {} : { to: String(to) }),
    ...(limit === undefined ? {} : { limit }),
    ...(typeof cursor === "string" ? { cursor } : {}),
  };
  return dataOf(api.GET("/v1/screens", { params: { query }, ...withAbort(abort) }));
}

export interface ActivityQuestion {
  readonly client: string;
  readonly from: number;
  readonly to: number;
  readonly screen?: string;
  readonly types?: readonly string[];
  readonly step?: "auto" | "hour" | "day" | "week";
}

export function fetchActivity(question: ActivityQuestion, abort?: AbortSignal): Promise<Activity> {
  const { client, from, to, screen, types, step } = question;
  const query = {
    client_id: client,
    from: String(from),
    to: String(to),
    ...(screen === undefined ? {} : { screen_id: screen }),
    ...(types === undefined ? {} : { event_type: [...types] }),
    ...(step === undefined ? {} : { step }),
  };
  return dataOf(api.GET("/v1/activity", { params: { query }, ...withAbort(abort) }));
}

export async function fetchHeatmap(question: MapQuestion, abort?: AbortSignal): Promise<HeatmapColumns> {
  const query = { ...mapQuery(question), cells: "columns" } as const;
  const answer = await dataOf(api.GET("/v1/heatmap", { params: { query }, ...withAbort(abort) }));
  if (!("cell" in answer)) throw new ProblemError(200, "The server answered in another form than was asked for.");
  return answer;
}

export interface LedgerQuestion {
  readonly client: string;
  readonly screen: string | null;
  /** Milliseconds since the epoch, on the hour; `to` is excluded. */
  readonly from: number;
  readonly to: number;
  /** Also the numbers of each hour. */
  readonly hours: boolean;
}

/** What became of a client's events, or of one screen's. */
export function fetchLedger({ client, screen, from, to, hours }: LedgerQuestion, abort?: AbortSignal): Promise<Ledger> {
  const of = screen === null ? {} : { screen_id: screen };
  const query = { client_id: client, ...of, from: String(from), to: String(to), hours };
  return dataOf(api.GET("/v1/ledger", { params: { query }, ...withAbort(abort) }));
}

/** Dead letters that wait, by client, stage and reason. */
export function fetchDeadCounts(abort?: AbortSignal): Promise<DeadCounts> {
  return dataOf(api.GET("/v1/dead/counts", withAbort(abort)));
}

/** A small transparent PNG of a map. */
export function fetchThumbnail(
  question: MapQuestion,
  look: { palette: string; theme: string },
  abort?: AbortSignal,
): Promise<Blob> {
  return blobOf("/v1/thumbnail", { ...mapQuery(question), ...look }, abort);
}

/** The image behind a screen; `version` only makes the address change with the image. */
export function fetchBackground(client: string, screen: string, abort?: AbortSignal): Promise<Blob> {
  return blobOf("/v1/background", { client_id: client, screen_id: screen }, abort);
}

export interface StoredBackground {
  readonly w: number;
  readonly h: number;
  readonly bytes: number;
  readonly version: string;
}

/** Store an image (PNG, JPEG or WebP) behind a screen. */
export function putBackground(client: string, screen: string, image: Blob): Promise<StoredBackground> {
  const init = { method: "PUT", body: image, headers: { "content-type": image.type } };
  return jsonOf<StoredBackground>("/v1/background", { client_id: client, screen_id: screen }, init);
}

/** Remove the image behind a screen. */
export async function deleteBackground(client: string, screen: string): Promise<void> {
  await blobOf("/v1/background", { client_id: client, screen_id: screen }, undefined, "DELETE");
}

/** How often the state of the program is asked for, in milliseconds. */
export const STATUS_EVERY = 2000;

/** The state of the program, shared by the bar and the home page. */
export function useStatus(): Query<Status> {
  return useQuery("status", fetchStatus, { every: STATUS_EVERY });
}

/** Dead letters that wait; once a minute, as thousands of letters are looked at for it. */
export function useDeadCounts(): Query<DeadCounts> {
  return useQuery("dead/counts", fetchDeadCounts, { every: 60_000 });
}

/** All clients (the first 200). */
export function useClients(every = 10_000): Query<Clients> {
  return useQuery("clients", (abort) => fetchClients(null, abort), { every });
}

/** How far a client's events have come; every 2 s. */
export function useFreshness(client: string | null): Query<Freshness> {
  const key = client === null ? null : address("freshness", { client });
  return useQuery(key, (abort) => fetchFreshness(client ?? "", abort), { every: 2000 });
}

/** Activity of a client or one of its screens. */
export function useActivity(question: ActivityQuestion | null, every = 15_000): Query<Activity> {
  const key = question === null ? null : `activity ${JSON.stringify(question)}`;
  return useQuery(key, (abort) => fetchActivity(question as ActivityQuestion, abort), { every, keep: true });
}
