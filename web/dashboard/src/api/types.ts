/** Names for the API's answers. */

import type { components } from "./schema";

type Schemas = components["schemas"];

export type EventType = string;
export type Device = "phone" | "tablet" | "desktop";

export type Activity = Schemas["ActivityAnswer"];
export type ActivityStep = Schemas["ActivityStep"];

export type ClientRow = Schemas["ClientRow"] & { readonly simulated: boolean };
export interface Clients {
  readonly clients: readonly ClientRow[];
  readonly next_cursor: string | null;
}

export interface DeviceShape {
  readonly device: Device;
  readonly w: number;
  readonly h: number;
  readonly events: number;
}

export interface Background {
  readonly w: number;
  readonly h: number;
  readonly version: string;
}

export type ScreenRow = Schemas["ScreenRow"] & {
  readonly shape: { readonly w: number; readonly h: number; readonly device: Device } | null;
  readonly shapes: readonly DeviceShape[];
  readonly background: Background | null;
};
export interface Screens {
  readonly client_id: string;
  readonly from: string | null;
  readonly to: string | null;
  readonly next_cursor: string | null;
  readonly screens: readonly ScreenRow[];
}

export interface Freshness {
  readonly client_id: string;
  readonly simulated: boolean;
  readonly now: string;
  readonly received: number;
  readonly last_received_at: string | null;
  readonly tiled_until: string | null;
  /** `lander` is null when the process cannot tell. */
  readonly waiting: { readonly lander: number | null; readonly tiles: number };
  readonly version: number;
}

/** A map as two arrays: `cell` rises, cell = cell_y * grid_w + cell_x, and only counts above zero are there. */
export type HeatmapColumns = Omit<Schemas["RangeAnswer"], "cells"> & {
  readonly cell: readonly number[];
  readonly count: readonly number[];
};

export interface Sdk {
  readonly version: string;
  readonly path: string;
  readonly versioned_path: string;
  readonly integrity: string;
  readonly bytes: number;
  readonly gzip_bytes: number;
  readonly collector_url: string;
  readonly snippet: string;
}

interface Failing {
  readonly last_error: string | null;
  readonly last_error_at: number | null;
}

export type Status = Pick<
  Schemas["StatusAnswer"],
  "dirty" | "idle" | "lake" | "now" | "tiles" | "version"
> & {
  readonly intake?: { readonly events: number; readonly events_per_second: number };
  readonly lander?: Failing & { readonly lag: number; readonly oldest_unlanded_ms: number };
  readonly scheduler?: Failing & { readonly failures: number };
};
