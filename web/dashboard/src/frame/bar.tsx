/** The top bar: where you are, where you can go, and whether anything is coming in. */

import { useLocation } from "preact-iso";

import { needsToken, offline } from "../api/client";
import { useClients, useFreshness, useStatus } from "../api/queries";
import { compact, rate } from "../format";
import { setTheme, theme, type Theme } from "../theme";
import { Dot, Icon, IconButton, Mark, MenuItems, MenuLink, Popover, Segmented, SimulatedBadge } from "../ui";
import { href } from "../url";
import { freshnessWords } from "./words";

/** The client in the address; null on pages of all clients. */
export function clientOf(path: string): string | null {
  const found = /^\/c\/([^/]+)/.exec(path)?.[1];
  if (found === undefined) return null;
  try {
    return decodeURIComponent(found);
  } catch {
    return null;
  }
}

function ClientSwitcher({ client }: { readonly client: string | null }) {
  const { data } = useClients();
  const clients = data?.clients ?? [];
  const current = clients.find((row) => row.client_id === client);
  return (
    <Popover
      label="Clients"
      kind="menu"
      trigger={({ buttonRef, ...props }) => (
        <button type="button" class="switcher" ref={buttonRef} {...props}>
          <span class={client === null ? "switcher-none" : "switcher-name"}>{client ?? "All clients"}</span>
          {current?.simulated === true && <SimulatedBadge />}
          <Icon name="chevronUpDown" size={16} />
        </button>
      )}
    >
      {(close) => (
        <MenuItems>
          <MenuLink href={href.home()} current={client === null} onSelect={close}>
            All clients
          </MenuLink>
          <div class="menu-rule" role="separator" />
          {clients.map((row) => (
            <MenuLink
              key={row.client_id}
              href={href.screens(row.client_id)}
              current={row.client_id === client}
              onSelect={close}
            >
              <span class="menu-grow">{row.client_id}</span>
              {row.simulated && <SimulatedBadge />}
              <span class="menu-figure tabular">{compact(row.events)}</span>
            </MenuLink>
          ))}
        </MenuItems>
      )}
    </Popover>
  );
}

/** Of one client: how far its events have come. Of all: events per second. */
function Live({ client }: { readonly client: string | null }) {
  const status = useStatus();
  const freshness = useFreshness(client);
  if (offline.value) {
    return (
      <span class="live" title="Isotherm does not answer">
        <Dot tone="bad" />
        <span class="live-text">Not connected</span>
      </span>
    );
  }
  const perSecond = status.data?.intake?.events_per_second ?? 0;
  const words = freshness.data === undefined ? null : freshnessWords(freshness.data);
  const text = perSecond > 0 ? `${rate(perSecond)} events/s` : "Live";
  return (
    <span class="live" title={words?.long ?? "Asked every two seconds"}>
      <Dot tone={words?.tone ?? (status.data === undefined ? "neutral" : "ok")} pulse={perSecond > 0} />
      <span class="live-text tabular">{words?.short ?? text}</span>
    </span>
  );
}

const THEMES = [
  { value: "system", label: "As the system", icon: "monitor" },
  { value: "light", label: "Light", icon: "sun" },
  { value: "dark", label: "Dark", icon: "moon" },
] as const;

function ThemeSwitch() {
  return (
    <Segmented<Theme> label="Theme" value={theme.value} options={THEMES} onChange={setTheme} iconsOnly />
  );
}

interface Place {
  readonly label: string;
  readonly to: string;
}

function placesOf(client: string | null): readonly Place[] {
  const ofClient =
    client === null
      ? []
      : [
          { label: "Screens", to: href.screens(client) },
          { label: "Ledger", to: href.ledger(client) },
        ];
  return [
    { label: "Overview", to: href.home() },
    ...ofClient,
    { label: "Set up", to: href.setup() },
    { label: "System", to: href.system() },
  ];
}

function Nav({ places, path }: { readonly places: readonly Place[]; readonly path: string }) {
  return (
    <nav class="nav" aria-label="Pages">
      {places.map(({ label, to }) => (
        <a key={to} class="nav-link" href={to} {...(to === path ? { "aria-current": "page" as const } : {})}>
          {label}
        </a>
      ))}
    </nav>
  );
}

function PhoneMenu({ places, path }: { readonly places: readonly Place[]; readonly path: string }) {
  return (
    <div class="phone-menu">
      <Popover
        label="Pages and theme"
        align="end"
        trigger={(props) => <IconButton label="Menu" icon="menu" tip="none" {...props} />}
      >
        {(close) => (
          <>
            {places.map(({ label, to }) => (
              <a
                key={to}
                class="menu-item"
                href={to}
                onClick={close}
                {...(to === path ? { "aria-current": "page" as const } : {})}
              >
                {label}
              </a>
            ))}
            <div class="menu-rule" />
            <div class="phone-menu-theme">
              <span>Theme</span>
              <ThemeSwitch />
            </div>
          </>
        )}
      </Popover>
    </div>
  );
}

export function Bar() {
  const { path } = useLocation();
  const locked = needsToken.value;
  const client = locked ? null : clientOf(path);
  const places = placesOf(client);
  return (
    <header class="bar">
      <a class="brand" href={href.home()} aria-label="Isotherm, overview">
        <Mark />
        <span class="brand-name">Isotherm</span>
      </a>
      {!locked && (
        <>
          <ClientSwitcher client={client} />
          <Nav places={places} path={path} />
        </>
      )}
      <span class="bar-space" />
      {!locked && <Live client={client} />}
      <div class="bar-theme">
        <ThemeSwitch />
      </div>
      {!locked && <PhoneMenu places={places} path={path} />}
    </header>
  );
}
