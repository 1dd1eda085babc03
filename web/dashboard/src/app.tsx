/** The frame: which page an address shows, and what stands around it. */

import { ErrorBoundary, lazy, LocationProvider, Route, Router } from "preact-iso";
import { useState } from "preact/hooks";

import { needsToken } from "./api/client";
import { Bar } from "./frame/bar";
import { Footer } from "./frame/footer";
import { Problems } from "./frame/problems";
import { HomePage } from "./pages/home";
import { MissingPage } from "./pages/missing";
import { TokenPage } from "./pages/missing/token";
import { ErrorNote, Page, Toasts } from "./ui";
import "./frame/frame.css";

const ScreensPage = lazy(() => import("./pages/screens").then((page) => page.ScreensPage));
const SetupPage = lazy(() => import("./pages/setup").then((page) => page.SetupPage));
const MapPage = lazy(() => import("./pages/map"));
const LedgerPage = lazy(() => import("./pages/ledger").then((page) => page.LedgerPage));
const SystemPage = lazy(() => import("./pages/system").then((page) => page.SystemPage));

/** Addresses that belong to this application; a link to any other (the demo, the API's page) loads it. */
const SCOPE = /^\/(?:$|[?#]|c\/|(?:setup|system)(?:$|[?#]))/;

function focusHeading(): void {
  document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
}

function Pages() {
  const [broken, setBroken] = useState<Error | null>(null);
  if (needsToken.value) return <TokenPage />;
  if (broken !== null) {
    return (
      <Page title="Something broke">
        <ErrorNote error={broken} onRetry={() => location.reload()} />
      </Page>
    );
  }
  return (
    <ErrorBoundary onError={setBroken}>
      <Router onRouteChange={focusHeading}>
        <Route path="/" component={HomePage} />
        <Route path="/setup" component={SetupPage} />
        <Route path="/system" component={SystemPage} />
        <Route path="/c/:client" component={ScreensPage} />
        <Route path="/c/:client/ledger" component={LedgerPage} />
        <Route path="/c/:client/map" component={MapPage} />
        <Route default component={MissingPage} />
      </Router>
    </ErrorBoundary>
  );
}

export function App() {
  return (
    <LocationProvider scope={SCOPE}>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <Bar />
      <main id="main" tabIndex={-1}>
        <Problems />
        <Pages />
      </main>
      <Footer />
      <Toasts />
    </LocationProvider>
  );
}
