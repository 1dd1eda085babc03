import type { ComponentChildren, Ref } from "preact";
import { useCallback, useEffect, useId, useRef, useState } from "preact/hooks";

import "./popover.css";

interface TriggerProps {
  readonly buttonRef: Ref<HTMLButtonElement>;
  readonly "aria-expanded": boolean;
  readonly "aria-controls": string;
  readonly "aria-haspopup": "dialog" | "menu";
  readonly onClick: () => void;
}

/** A panel that opens beside its button; Escape, a click elsewhere or focus elsewhere closes it.
 *
 * `trigger` gets the props to spread on a Button or IconButton; `children` gets a function that closes the panel.
 */
export function Popover({
  label,
  trigger,
  children,
  align = "start",
  kind = "dialog",
}: {
  readonly label: string;
  readonly trigger: (props: TriggerProps, open: boolean) => ComponentChildren;
  readonly children: (close: () => void) => ComponentChildren;
  readonly align?: "start" | "end";
  readonly kind?: "dialog" | "menu";
}) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const close = useCallback(() => {
    if (panel.current?.contains(document.activeElement)) button.current?.focus();
    setOpen(false);
  }, []);
  useEffect(() => {
    if (!open) return undefined;
    const outside = (event: Event): void => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("focusin", outside);
    addEventListener("popstate", close);
    firstFocus(panel.current)?.focus();
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("focusin", outside);
      removeEventListener("popstate", close);
    };
  }, [open, close]);
  return (
    <div
      class="popover-root"
      ref={root}
      onKeyDown={(event) => {
        if (event.key === "Escape" && open) {
          event.stopPropagation();
          close();
        }
      }}
    >
      {trigger(
        {
          buttonRef: button,
          "aria-expanded": open,
          "aria-controls": id,
          "aria-haspopup": kind,
          onClick: () => setOpen(!open),
        },
        open,
      )}
      <div id={id} ref={panel} class={`popover popover-${align}`} hidden={!open} role={kind} aria-label={label}>
        {open && children(close)}
      </div>
    </div>
  );
}

const FOCUSABLE = "[data-autofocus], [role=menuitem], a[href], button:not([disabled]), input, select, textarea";

function firstFocus(panel: HTMLElement | null): HTMLElement | null {
  if (panel === null) return null;
  return panel.querySelector<HTMLElement>("[data-autofocus], [aria-current=page]") ?? panel.querySelector(FOCUSABLE);
}

/** A menu's items: arrow keys, Home, End and letters move between them. Goes into a Popover of kind menu. */
export function MenuItems({ children }: { readonly children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent): void => {
    const items = [...(box.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const next = stepOf(event.key, at, items);
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  };
  return (
    <div ref={box} class="menu-items" role="presentation" onKeyDown={onKeyDown}>
      {children}
    </div>
  );
}

function stepOf(key: string, at: number, items: readonly HTMLElement[]): HTMLElement | undefined {
  if (key === "ArrowDown") return items[(at + 1) % items.length];
  if (key === "ArrowUp") return items.at(at <= 0 ? -1 : at - 1);
  if (key === "Home") return items[0];
  if (key === "End") return items.at(-1);
  if (key.length !== 1 || key === " ") return undefined;
  const from = [...items.slice(at + 1), ...items.slice(0, at + 1)];
  return from.find((item) => item.textContent.trim().toLowerCase().startsWith(key.toLowerCase()));
}

interface ItemProps {
  readonly children: ComponentChildren;
  readonly onSelect?: () => void;
  readonly current?: boolean;
}

/** A choice in a menu that does something. */
export function MenuItem({ children, onSelect }: ItemProps) {
  return (
    <button type="button" role="menuitem" class="menu-item" tabIndex={-1} onClick={() => onSelect?.()}>
      {children}
    </button>
  );
}

/** A choice in a menu that goes somewhere. */
export function MenuLink({ href, current = false, children, onSelect }: ItemProps & { readonly href: string }) {
  return (
    <a
      role="menuitem"
      class="menu-item"
      tabIndex={-1}
      href={href}
      {...(current ? { "aria-current": "page" as const } : {})}
      onClick={() => onSelect?.()}
    >
      {children}
    </a>
  );
}
