import { useEffect, useRef, useState } from "preact/hooks";

import { Icon, Segmented, Select } from "../../ui";
import type { Period, Sort } from "./data";

const PERIODS = [
  { value: "24h", label: "24 h" },
  { value: "7d", label: "7 d" },
  { value: "30d", label: "30 d" },
  { value: "all", label: "All" },
] as const;

const SORTS = [
  { value: "events", label: "Most events" },
  { value: "latest", label: "Latest event" },
  { value: "name", label: "Name" },
] as const;

/** A person who types wants no answer to every letter. */
const TYPING_MS = 180;

function Search({ value, onInput }: { readonly value: string; readonly onInput: (value: string) => void }) {
  const field = useRef<HTMLInputElement>(null);
  const [typed, setTyped] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => setTyped(value), [value]);
  useEffect(() => {
    const slash = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (target.matches("input, select, textarea, [contenteditable]")) return;
      event.preventDefault();
      field.current?.focus();
      field.current?.select();
    };
    document.addEventListener("keydown", slash);
    return () => {
      document.removeEventListener("keydown", slash);
      clearTimeout(timer.current);
    };
  }, []);
  return (
    <div class="search">
      <Icon name="search" size={16} />
      <input
        ref={field}
        class="text"
        type="search"
        aria-label="Search screens"
        aria-keyshortcuts="/"
        placeholder="Search screens"
        value={typed}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => {
          const next = event.currentTarget.value;
          setTyped(next);
          clearTimeout(timer.current);
          timer.current = setTimeout(() => onInput(next), TYPING_MS);
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            setTyped("");
            onInput("");
          }
        }}
      />
      <kbd class="search-key" aria-hidden="true">
        /
      </kbd>
    </div>
  );
}

export function Toolbar({
  q,
  period,
  sort,
  onChange,
}: {
  readonly q: string;
  readonly period: Period;
  readonly sort: Sort;
  readonly onChange: (patch: { q?: string; period?: Period; sort?: Sort }) => void;
}) {
  return (
    <div class="toolbar" role="search">
      <Search value={q} onInput={(next) => onChange({ q: next })} />
      <Segmented<Period> label="Period" value={period} options={PERIODS} onChange={(next) => onChange({ period: next })} />
      <Select<Sort> label="Order" hideLabel value={sort} options={SORTS} onChange={(next) => onChange({ sort: next })} />
    </div>
  );
}
