/** Keys of the page, the dialog that tells them, and the switch that turns the single letters off. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { Dialog, Switch } from "../../ui";

export interface Shortcut {
  readonly keys: string;
  readonly does: string;
  readonly run: () => void;
}

const KEY = "isotherm-shortcuts";

function remembered(): boolean {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}

/** Whether single letters do something, remembered in this browser; speech input may need them off. */
export function useShortcuts(shortcuts: readonly Shortcut[]): readonly [boolean, (on: boolean) => void] {
  const [on, setOn] = useState(remembered);
  const latest = useRef(shortcuts);
  latest.current = shortcuts;
  // With the change itself and not after the next picture: a key that was turned off must not work once more.
  useLayoutEffect(() => {
    if (!on) return undefined;
    const onKeyDown = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (document.querySelector("dialog[open]")) return;
      const found = latest.current.find(({ keys }) => keys === event.key);
      if (!found) return;
      event.preventDefault();
      found.run();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [on]);
  const set = (next: boolean): void => {
    setOn(next);
    try {
      localStorage.setItem(KEY, next ? "on" : "off");
    } catch {
      // A browser that stores nothing keeps the choice until the page is closed.
    }
  };
  return [on, set];
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "range", "button"].includes(target.type);
}

const ON_THE_MAP = [
  ["arrows", "move what is seen"],
  ["Shift + arrows", "move the cell cursor; its count is read out"],
  ["+ and −", "zoom"],
] as const;

const ON_THE_STRIP = [
  ["arrows", "move the range"],
  ["Shift + arrows", "make it longer or shorter"],
  ["Page up, Page down", "the range after, the range before"],
  ["+ and −, 0", "zoom in time, show all time"],
] as const;

export function HelpDialog({
  open,
  onClose,
  shortcuts,
  on,
  onSwitch,
}: {
  readonly open: boolean;
  onClose(): void;
  readonly shortcuts: readonly Shortcut[];
  readonly on: boolean;
  onSwitch(on: boolean): void;
}) {
  return (
    <Dialog title="Keys" open={open} onClose={onClose}>
      <div class="keys">
        <Keys title="Anywhere" rows={shortcuts.map(({ keys, does }) => [keys, does] as const)} />
        <Keys title="On the map" rows={ON_THE_MAP} />
        <Keys title="On the time strip" rows={ON_THE_STRIP} />
        <Switch label="Single keys work anywhere" checked={on} onChange={onSwitch} />
      </div>
    </Dialog>
  );
}

function Keys({ title, rows }: { readonly title: string; readonly rows: readonly (readonly [string, string])[] }) {
  return (
    <section>
      <h3>{title}</h3>
      <dl>
        {rows.map(([keys, does]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
