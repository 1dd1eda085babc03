/** The screen that is shown, and a searchable list of the client's others with thumbnails of their heat. */

import { useEffect, useId, useRef, useState } from "preact/hooks";

import { fetchScreens, fetchThumbnail } from "../../api/queries";
import { useQuery } from "../../api/query";
import type { ScreenRow } from "../../api/types";
import { plural } from "../../format";
import { shownTheme } from "../../theme";
import { Icon, Popover, ScreenName, Skeleton } from "../../ui";
import { type MapValues, defaultKinds } from "./state";
import { DAY, floorTo } from "./time";

export interface ScreenPickerProps {
  readonly client: string;
  readonly screen: string;
  readonly now: number;
  readonly palette: MapValues["palette"];
  onPick(screen: string): void;
}

const LIMIT = 60;

export function ScreenPicker(props: ScreenPickerProps) {
  return (
    <Popover
      label="Choose a screen"
      trigger={({ buttonRef, ...trigger }) => (
        <button type="button" id="screen-picker" class="screen-button" ref={buttonRef} {...trigger} title={props.screen}>
          <span class="sr-only">Screen:</span>
          <span class="screen-name">{props.screen === "" ? "Choose a screen" : <ScreenName id={props.screen} />}</span>
          <Icon name="chevronDown" size={16} />
        </button>
      )}
    >
      {(close) => <ScreenList {...props} close={close} />}
    </Popover>
  );
}

function ScreenList({ client, screen, now, palette, onPick, close }: ScreenPickerProps & { close(): void }) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const [typed, setTyped] = useState("");
  const q = useLater(typed.trim(), 150);
  const found = useQuery(`map/screens ${JSON.stringify([client, q])}`, (abort) => fetchScreens({ client, ...(q === "" ? {} : { q }), limit: LIMIT }, abort), { keep: true });
  const rows = found.data?.screens ?? [];
  const [at, setAt] = useState(0);
  useEffect(() => setAt(Math.max(0, q === "" ? rows.findIndex((row) => row.screen_id === screen) : 0)), [found.data]);
  useEffect(() => list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }), [at]);
  const pick = (row: ScreenRow | undefined): void => {
    if (!row) return;
    close();
    onPick(row.screen_id);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const last = rows.length - 1;
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 6, PageUp: at - 6 }[event.key];
    if (next !== undefined) setAt(Math.min(Math.max(next, 0), Math.max(0, last)));
    else if (event.key === "Enter") pick(rows[at]);
    else return;
    event.preventDefault();
  };
  const span = { from: floorTo("day", now) - 27 * DAY, to: floorTo("day", now) + DAY };
  return (
    <div class="screens">
      <div class="screens-search">
        <Icon name="search" size={16} />
        <input
          data-autofocus
          type="text"
          role="combobox"
          aria-label="Search screens"
          aria-expanded="true"
          aria-controls={`${id}-list`}
          aria-autocomplete="list"
          {...(rows[at] ? { "aria-activedescendant": `${id}-${at}` } : {})}
          placeholder="Search screens"
          autocomplete="off"
          spellcheck={false}
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
      </div>
      <div id={`${id}-list`} ref={list} class="screens-list" role="listbox" aria-label="Screens">
        {rows.map((row, index) => (
          <div
            key={row.screen_id}
            id={`${id}-${index}`}
            class="screens-row"
            role="option"
            aria-selected={index === at}
            onPointerMove={() => setAt(index)}
            onClick={() => pick(row)}
          >
            <Thumbnail client={client} row={row} span={span} palette={palette} />
            <span class="screens-words">
              <span class="screens-id" title={row.screen_id}>
                <ScreenName id={row.screen_id} />
              </span>
              <span class="screens-facts tabular">
                {plural(row.events, "event")}
                {row.shape ? ` · ${row.shape.w} × ${row.shape.h}` : ""}
              </span>
            </span>
            {row.screen_id === screen && <Icon name="check" size={16} />}
          </div>
        ))}
      </div>
      {found.loading && <Skeleton height="56px" />}
      {rows.length === 0 && !found.loading && (
        <p class="screens-none" role="status">
          {q === "" ? "This client has no screens yet." : `No screen contains “${q}”.`}
        </p>
      )}
      {rows.length >= LIMIT && (
        <p class="screens-none">The {LIMIT} busiest are shown; type a part of a name to find the others.</p>
      )}
    </div>
  );
}

function Thumbnail({
  client,
  row,
  span,
  palette,
}: {
  readonly client: string;
  readonly row: ScreenRow;
  readonly span: { readonly from: number; readonly to: number };
  readonly palette: string;
}) {
  const box = useRef<HTMLSpanElement>(null);
  const seen = useSeen(box);
  const question = { client, screen: row.screen_id, ...span, types: defaultKinds(row.event_types) };
  const look = { palette, theme: shownTheme.value };
  const picture = useQuery(`map/thumbnail ${JSON.stringify([question, look])}`, (abort) => fetchThumbnail(question, look, abort), {
    enabled: seen,
  });
  const url = useObjectUrl(picture.data);
  return (
    <span class="screens-thumb" ref={box}>
      {url !== null && <img src={url} alt="" />}
    </span>
  );
}

/** Whether it was scrolled into view: a long list asks only for the pictures that are seen. */
function useSeen(box: { readonly current: HTMLElement | null }): boolean {
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    if (!box.current) return undefined;
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) setSeen(true);
    });
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return seen;
}

/** An address for a blob, given back when the blob changes or the component goes. */
export function useObjectUrl(blob: Blob | null | undefined): string | null {
  const [url, setUrl] = useState<string | null>(null);
  useEffect(() => {
    if (!blob) {
      setUrl(null);
      return undefined;
    }
    const made = URL.createObjectURL(blob);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [blob]);
  return url;
}

function useLater(value: string, wait: number): string {
  const [later, setLater] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLater(value), wait);
    return () => clearTimeout(timer);
  }, [value, wait]);
  return later;
}
