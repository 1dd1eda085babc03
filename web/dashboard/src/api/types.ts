/** Names for the API's answers. */

import type { components } from "./schema";

type Schemas = components["schemas"];

export type Activity = Schemas["ActivityAnswer"];
export type ActivityStep = Schemas["ActivityStep"];

export type ClientRow = Schemas["ClientRow"];
export type Clients = Schemas["ClientsAnswer"];

/** Size of a screen in CSS px as one class of devices shows it, and that class's events. */
export type DeviceShape = Schemas["ShapeRow"];
export type ScreenShape = Schemas["Shape"];
export type Device = ScreenShape["device"];
export type Background = Schemas["BackgroundSize"];
export type ScreenRow = Schemas["ScreenRow"];
export type Screens = Schemas["ScreensAnswer"];

export type Freshness = Schemas["FreshnessAnswer"];

/** A map as two arrays: `cell` rises, cell = cell_y * grid_w + cell_x, and only counts above zero are there. */
export type HeatmapColumns = Schemas["RangeColumns"];

export type Sdk = Schemas["SdkAnswer"];

/** Dead letters that wait, by client, stage and reason. */
export type DeadCounts = Schemas["DeadCountsAnswer"];

/** What became of a client's events, or of one screen's. */
export type Ledger = Schemas["LedgerAnswer"];
/** What small marks on the maps of several screens say. */
export type Marks = Schemas["MarksAnswer"];
export type Mark = Schemas["ScreenMark"];
/** One hour: its start, and events by measure. */
export type LedgerHour = Readonly<Record<string, string | number>>;

interface Failing {
  readonly last_error: string | null;
  /** Milliseconds since the epoch. */
  readonly last_error_at: number | null;
}

/** What the process that runs the API adds to its lander's state. */
type Lander = Schemas["LanderState"] & Failing & { readonly oldest_unlanded_ms: number };

export type Status = Schemas["StatusAnswer"] & {
  readonly lander: Lander | null;
  readonly scheduler?: Failing;
  /** Whether something takes connections at the collector's address, and why it refuses what comes. */
  readonly collector?: { readonly answers: boolean; readonly refuses: string | null };
  readonly log?: { readonly bytes: number; readonly max_bytes: number };
};
