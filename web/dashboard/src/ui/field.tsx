import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

import { Icon, type IconName } from "./icons";
import "./field.css";

export interface Option<T extends string> {
  readonly value: T;
  readonly label: string;
  readonly icon?: IconName;
  readonly disabled?: boolean;
}

interface Choice<T extends string> {
  readonly label: string;
  readonly value: T;
  readonly options: readonly Option<T>[];
  readonly onChange: (value: T) => void;
  readonly hideLabel?: boolean;
}

/** A few options side by side, one of them chosen: a radio group, so arrow keys move. */
export function Segmented<T extends string>({
  label,
  value,
  options,
  onChange,
  hideLabel = true,
  iconsOnly = false,
}: Choice<T> & { readonly iconsOnly?: boolean }) {
  const name = useId();
  return (
    <fieldset class="segmented">
      <legend class={hideLabel ? "sr-only" : "field-label"}>{label}</legend>
      <div class="segmented-options">
        {options.map((option) => (
          <label key={option.value} class="segment" title={iconsOnly ? option.label : undefined}>
            <input
              type="radio"
              class="sr-only"
              name={name}
              value={option.value}
              checked={option.value === value}
              disabled={option.disabled ?? false}
              onChange={() => onChange(option.value)}
            />
            <span class="segment-face">
              {option.icon !== undefined && <Icon name={option.icon} size={16} />}
              <span class={iconsOnly ? "sr-only" : ""}>{option.label}</span>
            </span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

/** One of many options. */
export function Select<T extends string>({ label, value, options, onChange, hideLabel = false }: Choice<T>) {
  const id = useId();
  return (
    <div class="field">
      <label for={id} class={hideLabel ? "sr-only" : "field-label"}>
        {label}
      </label>
      <span class="select">
        <select id={id} value={value} onChange={(event) => onChange(event.currentTarget.value as T)}>
          {options.map((option) => (
            <option key={option.value} value={option.value} disabled={option.disabled ?? false}>
              {option.label}
            </option>
          ))}
        </select>
        <Icon name="chevronDown" size={16} />
      </span>
    </div>
  );
}

/** A number by dragging; `onInput` while it moves, `onCommit` when it rests. */
export function Slider({
  label,
  value,
  min,
  max,
  step = 1,
  onInput,
  onCommit,
  format = String,
}: {
  readonly label: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly step?: number;
  readonly onInput: (value: number) => void;
  readonly onCommit?: (value: number) => void;
  readonly format?: (value: number) => string;
}) {
  const id = useId();
  const part = max > min ? (value - min) / (max - min) : 0;
  return (
    <div class="field slider">
      <div class="slider-head">
        <label for={id} class="field-label">
          {label}
        </label>
        <output for={id} class="slider-value tabular">
          {format(value)}
        </output>
      </div>
      <input
        id={id}
        type="range"
        min={min}
        max={max}
        step={step}
        value={value}
        aria-valuetext={format(value)}
        style={{ "--part": String(part) }}
        onInput={(event) => onInput(event.currentTarget.valueAsNumber)}
        onChange={(event) => onCommit?.(event.currentTarget.valueAsNumber)}
      />
    </div>
  );
}

/** On or off, at once. */
export function Switch({
  label,
  checked,
  onChange,
  disabled = false,
}: {
  readonly label: string;
  readonly checked: boolean;
  readonly onChange: (checked: boolean) => void;
  readonly disabled?: boolean;
}) {
  return (
    <label class="switch">
      <span>{label}</span>
      <input
        type="checkbox"
        role="switch"
        checked={checked}
        disabled={disabled}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
    </label>
  );
}

/** A line of text with its label, a hint, and what is wrong with it. */
export function TextField({
  label,
  value,
  onInput,
  hint,
  error,
  secret = false,
  placeholder,
  mono = false,
  autocomplete = "off",
  after,
  inputRef,
}: {
  readonly label: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly hint?: ComponentChildren;
  readonly error?: string | undefined;
  /** Shown as dots. */
  readonly secret?: boolean;
  readonly placeholder?: string | undefined;
  readonly mono?: boolean;
  readonly autocomplete?: string;
  readonly after?: ComponentChildren;
  readonly inputRef?: { current: HTMLInputElement | null };
}) {
  const id = useId();
  const says = error !== undefined || hint !== undefined;
  const given = {
    id,
    ref: inputRef ?? null,
    class: `text${mono ? " text-mono" : ""}`,
    value,
    autocomplete,
    autocapitalize: "off",
    spellcheck: false,
    "aria-invalid": error !== undefined,
    ...(placeholder === undefined ? {} : { placeholder }),
    ...(says ? { "aria-describedby": `${id}-says` } : {}),
    onInput: (event: { currentTarget: HTMLInputElement }) => onInput(event.currentTarget.value),
  } as const;
  return (
    <div class="field">
      <label for={id} class="field-label">
        {label}
      </label>
      <div class="text-row">
        {secret ? <input type="password" {...given} /> : <input type="text" {...given} />}
        {after}
      </div>
      {says && (
        <p id={`${id}-says`} class={error === undefined ? "field-hint" : "field-error"}>
          {error ?? hint}
        </p>
      )}
    </div>
  );
}
