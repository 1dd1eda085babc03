/** A screen's heat at its true shape, cropped at the fold. */

import { useEffect, useRef, useState } from "preact/hooks";

import { fetchBackground, fetchThumbnail } from "../../api/queries";
import { useQuery } from "../../api/query";
import type { ScreenRow } from "../../api/types";
import { shownTheme } from "../../theme";
import { type Edges, pictured, sheetOf } from "./data";

/** Whether the element has come near the window; stays true. */
function useSeen(): readonly [{ current: HTMLSpanElement | null }, boolean] {
  const box = useRef<HTMLSpanElement>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const element = box.current;
    if (element === null || seen) return undefined;
    const watcher = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) setSeen(true);
      },
      { rootMargin: "300px" },
    );
    watcher.observe(element);
    return () => watcher.disconnect();
  }, [seen]);
  return [box, seen];
}

/** An address for a blob, given back when it changes; the one before stays until the next is there. */
function useAddress(blob: Blob | undefined): string | undefined {
  const [address, setAddress] = useState<string | undefined>();
  useEffect(() => {
    if (blob === undefined) return undefined;
    const made = URL.createObjectURL(blob);
    setAddress(made);
    return () => URL.revokeObjectURL(made);
  }, [blob]);
  return address;
}

export function Picture({
  client,
  row,
  edges,
}: {
  readonly client: string;
  readonly row: ScreenRow;
  readonly edges: Edges | null;
}) {
  const [box, seen] = useSeen();
  const theme = row.background === null ? shownTheme.value : "light";
  const kind = pictured(row.event_types);
  // The counts are in the key: a picture is asked for again when they changed.
  const key = `thumbnail ${JSON.stringify([client, row.screen_id, edges, kind, theme, row.event_types[kind], row.shape])}`;
  const heat = useQuery(
    key,
    (abort) => {
      const { from, to } = edges ?? { from: 0, to: 0 };
      return fetchThumbnail({ client, screen: row.screen_id, from, to, types: [kind] }, { palette: "inferno", theme }, abort);
    },
    { enabled: seen && edges !== null, keep: true },
  );
  const behind = useQuery(
    row.background === null ? null : `background ${client} ${row.screen_id} ${row.background.version}`,
    (abort) => fetchBackground(client, row.screen_id, abort),
    { enabled: seen },
  );
  const heatAddress = useAddress(heat.data);
  const behindAddress = useAddress(behind.data);
  const { whole, fold } = sheetOf(row);
  const picture = { aspectRatio: `1 / ${whole}` };
  return (
    <span class="picture" ref={box} aria-hidden="true">
      <span
        class={`sheet${row.background === null ? "" : " sheet-light"}`}
        style={{ aspectRatio: `1 / ${whole}`, "--fold": String(fold) }}
      >
        {behindAddress !== undefined && <img class="sheet-behind" src={behindAddress} alt="" style={picture} />}
        {heatAddress !== undefined && <img class="sheet-heat" src={heatAddress} alt="" style={picture} />}
        {heat.loading && <span class="sheet-wait" />}
      </span>
    </span>
  );
}
