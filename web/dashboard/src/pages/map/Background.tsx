/** The picture behind the heat: add one by button or by dropping it, see it, let it recede, remove it. */

import { useEffect, useRef, useState } from "preact/hooks";

import { isAbort } from "../../api/client";
import { deleteBackground, fetchBackground } from "../../api/queries";
import { useQuery } from "../../api/query";
import type { ScreenRow } from "../../api/types";
import { Button, Slider, saysOf, toast } from "../../ui";
import { useObjectUrl } from "./ScreenPicker";
import type { MapModel } from "./model";
import { TYPES, objection, upload } from "./upload";
import { stretchSaid } from "./words";

export interface BackgroundModel {
  /** Object URL of the picture that the screen has; null without one, or until it is there. */
  readonly url: string | null;
  readonly stored: ScreenRow["background"];
  /** Share of an upload that is on its way, 0 to 1; null at rest. */
  readonly sending: number | null;
  readonly wrong: string | null;
  send(file: File): void;
  cancel(): void;
  remove(): void;
}

export function useBackground(model: MapModel): BackgroundModel {
  const { client, screen } = model;
  const stored = model.scene?.row?.background ?? null;
  const shown = model.scene?.screen ?? screen;
  const key = stored === null ? null : `map/background ${JSON.stringify([client, shown, stored.version])}`;
  const picture = useQuery(key, (abort) => fetchBackground(client, shown, abort));
  const url = useObjectUrl(stored === null ? null : picture.data);
  const [sending, setSending] = useState<number | null>(null);
  const [wrong, setWrong] = useState<string | null>(null);
  const abort = useRef<AbortController | null>(null);
  useEffect(() => {
    setWrong(null);
    return () => abort.current?.abort();
  }, [client, screen]);

  const send = async (file: File): Promise<void> => {
    const against = objection(file);
    setWrong(against);
    if (against !== null) return;
    abort.current?.abort();
    const abortion = new AbortController();
    abort.current = abortion;
    setSending(0);
    try {
      await upload(client, screen, file, setSending, abortion.signal);
      model.row.refetch();
      toast("The screenshot is behind the map now.");
    } catch (error) {
      if (!isAbort(error)) setWrong(words(error));
    }
    if (abort.current === abortion) setSending(null);
  };
  const remove = async (): Promise<void> => {
    try {
      await deleteBackground(client, screen);
      model.row.refetch();
      toast("The screenshot is removed.");
    } catch (error) {
      setWrong(words(error));
    }
  };
  return {
    url,
    stored,
    sending,
    wrong: wrong ?? (picture.error ? `The screenshot could not be loaded. ${words(picture.error)}` : null),
    send: (file) => void send(file),
    cancel: () => abort.current?.abort(),
    remove: () => void remove(),
  };
}

function words(error: unknown): string {
  return saysOf(error instanceof Error ? error : new Error(String(error))).text;
}

export function BackgroundSection({ model, background }: { readonly model: MapModel; readonly background: BackgroundModel }) {
  const { stored, sending, wrong } = background;
  const shape = model.scene?.row?.shape ?? null;
  const stretched = stored ? stretchSaid(stored, shape) : null;
  return (
    <section class="panel-section" aria-labelledby="panel-background">
      <h2 id="panel-background">Background</h2>
      <p class="panel-hint">
        {stored
          ? `Your screenshot, ${stored.w} × ${stored.h} px, laid over the screen.`
          : "A screenshot of the whole page shows what people point at. It stays on your machine."}
        {shape ? ` The screen: ${shape.w} × ${shape.h} px (${shape.device}).` : ""}
      </p>
      {stretched !== null && <p class="panel-warn">{stretched}</p>}
      {stored && (
        <Slider
          label="Dimming"
          value={Math.round(model.values.dim * 100)}
          min={0}
          max={100}
          step={5}
          format={(value) => `${value} %`}
          onInput={(value) => model.set({ dim: value / 100 })}
        />
      )}
      {sending !== null ? (
        <div class="sending">
          <progress max={1} value={sending} aria-label="Upload" />
          <span role="status">{sending < 1 ? `${Math.round(sending * 100)} % sent` : "Checking the image …"}</span>
          <Button small variant="quiet" onClick={background.cancel}>
            Cancel
          </Button>
        </div>
      ) : (
        <div class="panel-buttons">
          <FileButton label={stored ? "Replace" : "Add a screenshot"} onFile={background.send} />
          {stored && (
            <Button small variant="quiet" icon="trash" onClick={background.remove}>
              Remove
            </Button>
          )}
        </div>
      )}
      {wrong !== null && (
        <p class="field-error" role="alert">
          {wrong}
        </p>
      )}
    </section>
  );
}

/** A button that asks for a picture. */
export function FileButton({ label, onFile }: { readonly label: string; onFile(file: File): void }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        type="file"
        accept={TYPES.join(",")}
        hidden
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          // The same file may be chosen again after an error.
          event.currentTarget.value = "";
          if (file) onFile(file);
        }}
      />
      <Button small icon="upload" onClick={() => input.current?.click()}>
        {label}
      </Button>
    </>
  );
}

/** Whether a file is held over the page, and what happens when it is let go. */
export function useFileDrop(onFile: (file: File) => void): boolean {
  const [over, setOver] = useState(false);
  const latest = useRef(onFile);
  latest.current = onFile;
  useEffect(() => {
    const isFile = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    const drag = (event: DragEvent): void => {
      if (!isFile(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setOver(false);
    };
    const drop = (event: DragEvent): void => {
      if (!isFile(event)) return;
      event.preventDefault();
      setOver(false);
      const file = event.dataTransfer?.files[0];
      if (file) latest.current(file);
    };
    addEventListener("dragover", drag);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", drag);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
    };
  }, []);
  return over;
}
