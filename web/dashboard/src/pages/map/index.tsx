import { Page } from "../../ui";

export default function MapPage({ client }: { readonly client: string }) {
  return <Page title={`Map of ${client}`}>{null}</Page>;
}
