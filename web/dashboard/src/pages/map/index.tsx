/** The map page, /c/:client/map: one screen's heat over its picture, and the strip of time it is taken from. */

import { useEffect, useRef, useState } from "preact/hooks";

import { fetchScreens } from "../../api/queries";
import { useQuery } from "../../api/query";
import type { HeatStageHandle } from "../../heat/HeatStage";
import { INITIAL_CAMERA } from "../../heat/camera";
import type { Cell } from "../../heat/types";
import { exact, screenWords } from "../../format";
import { waitingEvents } from "../../frame/words";
import { href } from "../../url";
import { shownTheme } from "../../theme";
import { Button, CopyButton, Dot, EmptyState, ErrorNote, Page, toast } from "../../ui";
import { BackgroundSection, useBackground, useFileDrop } from "./Background";
import { DisplaySection, KindSection, Legend, PanelSkeleton, TopCells, kindWords, save } from "./Panel";
import { LedgerMark, useMark } from "./Mark";
import { PlaybackBar } from "./PlaybackBar";
import { ScreenPicker } from "./ScreenPicker";
import { Stage } from "./Stage";
import { Strip } from "./Strip";
import { StripBar } from "./StripBar";
import { Glyph } from "./glyphs";
import { type MapModel, UNKNOWN_SHAPE, useMapModel } from "./model";
import { HelpDialog, type Shortcut, useShortcuts } from "./shortcuts";
import { type When, patchOf } from "./state";
import { isoHour, neighbour, rangeText, unitAt } from "./time";
import { type Playback, usePlayback } from "./usePlayback";
import { useStrip } from "./useStrip";
import { freshnessSaid } from "./words";
import "./map.css";
import "./panel.css";
import "./stage.css";
import "./strip.css";

export default function MapPage({ client }: { readonly client: string }) {
  // Another client is another page: nothing of the one before may linger.
  return <MapOf key={client} client={client} />;
}

function MapOf({ client }: { readonly client: string }) {
  const model = useMapModel(client);
  const first = useFirstScreen(model);
  const strip = useStrip(model);
  const background = useBackground(model);
  const playback = usePlayback(model);
  const dropping = useFileDrop(background.send);
  const stage = useRef<HeatStageHandle>(null);
  const [pointed, setPointed] = useState<Cell | null>(null);
  const [help, setHelp] = useState(false);
  const choose = (when: When, how: "push" | "replace" = "push"): void => model.set(patchOf(when), how);
  const shortcuts = shortcutsOf(model, playback, choose, stage, () => setHelp(true));
  const [keysOn, setKeysOn] = useShortcuts(shortcuts);
  const { scene, screen } = model;
  const title = screen === "" ? `Map of ${client}` : `${screen} · ${client}`;
  if (screen === "") return <NoScreen model={model} first={first} title={title} />;
  const shape = scene?.shape ?? UNKNOWN_SHAPE;
  const failed = model.heat.error !== undefined && model.heat.data === undefined;
  const shownMap = failed ? null : (playback.frame?.map ?? scene?.map ?? null);
  const centre = (cell: Cell): void => {
    const [x, y] = [(cell.x + 0.5) / (scene?.map.gridW ?? 1), (cell.y + 0.5) / (scene?.map.gridH ?? 1)];
    setPointed(cell);
    model.set({ at: { x, y, zoom: Math.max(model.values.at.zoom, 2) } });
  };
  return (
    <Page title={title} heading={`Heatmap of ${screen}, ${client}`} hideHeading width="full">
      <div class="map-page">
        <Header model={model} playback={playback} stage={stage} onHelp={() => setHelp(true)} />
        <Stage
          model={model}
          strip={strip}
          background={background}
          playback={playback}
          handle={stage}
          pointed={pointed}
          dropping={dropping}
        />
        <section class="map-strip" aria-label="Time">
          {playback.state.is === "off" ? (
            <StripBar model={model} strip={strip} onPlay={playback.start} onWhen={choose} />
          ) : (
            <PlaybackBar playback={playback} />
          )}
          <Strip
            strip={strip}
            selected={model.range}
            now={model.now}
            frame={playback.frame?.range ?? null}
            onSelect={(range, tweak) => choose(range, tweak ? "replace" : "push")}
          />
          <p class="strip-hint" id="strip-hint">
            Arrow keys move the range, with <kbd>Shift</kbd> they change its length; <kbd>+</kbd> and <kbd>−</kbd> zoom in
            time.
          </p>
        </section>
        <aside class="map-panel" aria-label="Map settings and counts">
          {model.row.loading ? (
            <PanelSkeleton />
          ) : (
            <>
              <KindSection model={model} />
              <Legend map={shownMap} top={playback.frame?.top ?? scene?.map.max ?? 0} model={model} />
              <DisplaySection model={model} />
              <TopCells
                map={shownMap}
                failed={failed}
                shape={shape}
                fileName={fileName(model)}
                onPoint={setPointed}
                onCentre={centre}
              />
              <BackgroundSection model={model} background={background} />
            </>
          )}
        </aside>
      </div>
      <HelpDialog open={help} onClose={() => setHelp(false)} shortcuts={shortcuts} on={keysOn} onSwitch={setKeysOn} />
    </Page>
  );
}

/** The busiest screen, when the address names none. */
function useFirstScreen({ client, screen, set }: MapModel) {
  const key = screen === "" ? `map/first ${client}` : null;
  const found = useQuery(key, (abort) => fetchScreens({ client, limit: 1 }, abort), { every: 3000 });
  const busiest = found.data?.screens[0]?.screen_id;
  useEffect(() => {
    if (screen === "" && busiest !== undefined) set({ screen: busiest }, "replace");
  }, [screen, busiest]);
  return found;
}

function NoScreen({ model, first, title }: { readonly model: MapModel; readonly first: ReturnType<typeof useFirstScreen>; readonly title: string }) {
  const waiting = waitingEvents(model.freshness);
  const none = first.data?.screens.length === 0 || first.error !== undefined;
  if (first.error && !("status" in first.error && first.error.status === 404)) {
    return (
      <Page title={title}>
        <ErrorNote error={first.error} onRetry={first.refetch} />
      </Page>
    );
  }
  return (
    <Page title={title} hideHeading>
      {none && waiting > 0 && (
        <EmptyState title={`${exact(waiting)} events are on their way`} icon="clock">
          The map appears by itself in a few seconds. Each event is on disk already; it is being counted.
        </EmptyState>
      )}
      {none && waiting === 0 && (
        <EmptyState
          title={`${model.client} has no screens yet`}
          icon="layers"
          actions={
            <Button variant="primary" href={href.setup(model.client)}>
              Set up a page
            </Button>
          }
        >
          A screen appears with its first event: put the script on a page, open it, and move the mouse.
        </EmptyState>
      )}
    </Page>
  );
}

interface HeaderProps {
  readonly model: MapModel;
  readonly playback: Playback;
  readonly stage: { readonly current: HeatStageHandle | null };
  onHelp(): void;
}

function Header({ model, playback, stage, onHelp }: HeaderProps) {
  const { client, screen, scene, freshness, now, values } = model;
  const said = freshnessSaid(freshness);
  const mark = useMark(model);
  const [exporting, setExporting] = useState(false);
  const png = async (): Promise<void> => {
    if (!scene || !stage.current) return;
    setExporting(true);
    try {
      // What is seen: in a time-lapse, its frame.
      const { map, range: part } = playback.frame ?? scene;
      // The mark is about the whole range, not about a frame of it.
      const asides = playback.frame || mark === null ? "" : ` · ${mark.short.toLowerCase()}`;
      const counts = `${exact(map.total)} events, hottest cell ${exact(map.max)}${asides}`;
      const range = `${kindWords(scene.kinds)}, ${rangeText(part)} UTC`;
      const simulated = freshness?.simulated ? " (simulated)" : "";
      const blob = await stage.current.exportPng({
        title: `${screenWords(scene.screen)} · ${client}${simulated}`,
        range,
        counts,
        theme: shownTheme.value,
      });
      save(blob, `${fileName(model)}.png`);
    } catch {
      toast("The picture could not be made: the screenshot may be too large for this browser.", "bad");
    }
    setExporting(false);
  };
  return (
    <header class="map-head">
      <ScreenPicker
        client={client}
        screen={screen}
        now={now}
        palette={values.palette}
        onPick={(picked) => model.set({ screen: picked, kind: [], at: INITIAL_CAMERA }, "push")}
      />
      {said && (
        <p class="map-fresh tabular" title={said.text}>
          <Dot tone={said.tone} pulse={said.moving} />
          <span>{said.text}</span>
        </p>
      )}
      <LedgerMark model={model} said={mark} />
      <div class="map-actions">
        <CopyButton text={location.href} label="Copy link" variant="quiet" />
        <Button small variant="quiet" icon="download" onClick={() => void png()} disabled={!scene || exporting}>
          PNG
        </Button>
        <button type="button" class="icon-button map-keys" aria-label="Keys" data-tip="Keys (?)" data-tip-side="below" onClick={onHelp}>
          <Glyph name="keyboard" />
        </button>
      </div>
    </header>
  );
}

function fileName({ client, screen, range }: MapModel): string {
  const name = `${client}-${screen}-${isoHour(range.from)}-${isoHour(range.to)}`;
  return name.replaceAll(/[^A-Za-z0-9._-]+/g, "-").replaceAll(/-+/g, "-");
}

function shortcutsOf(
  model: MapModel,
  playback: Playback,
  choose: (when: When, how?: "push" | "replace") => void,
  stage: { readonly current: HeatStageHandle | null },
  help: () => void,
): readonly Shortcut[] {
  const { range, now, values, set } = model;
  const at = Math.min(range.to - 1, now);
  return [
    { keys: "/", does: "choose a screen", run: () => document.getElementById("screen-picker")?.click() },
    { keys: "[", does: "the range before", run: () => choose(neighbour(range, -1), "replace") },
    { keys: "]", does: "the range after", run: () => choose(neighbour(range, 1), "replace") },
    { keys: "h", does: "one hour", run: () => choose(unitAt("hour", at)) },
    { keys: "d", does: "one day", run: () => choose(unitAt("day", at)) },
    { keys: "w", does: "one week", run: () => choose(unitAt("week", at)) },
    { keys: "n", does: "follow the running hour", run: () => choose("hour") },
    { keys: "p", does: "time-lapse: play, pause", run: playback.toggle },
    { keys: ",", does: "frame before", run: () => playback.step(-1) },
    { keys: ".", does: "next frame", run: () => playback.step(1) },
    { keys: "l", does: "linear or logarithmic", run: () => set({ scale: values.scale === "log" ? "linear" : "log" }) },
    { keys: "c", does: "isotherms on or off", run: () => set({ contours: !values.contours }) },
    { keys: "f", does: "fit the map", run: () => stage.current?.fit() },
    { keys: "Escape", does: "end the time-lapse", run: playback.stop },
    { keys: "?", does: "these keys", run: help },
  ];
}
