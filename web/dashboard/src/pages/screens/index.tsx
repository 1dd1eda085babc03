import { Page } from "../../ui";

export function ScreensPage({ client }: { readonly client: string }) {
  return <Page title={`Screens of ${client}`}>{null}</Page>;
}
