import { Button, EmptyState, Page } from "../../ui";
import { href } from "../../url";

export function MissingPage() {
  return (
    <Page title="Page not found" hideHeading>
      <EmptyState
        title="There is no page at this address"
        icon="search"
        actions={
          <>
            <Button variant="primary" href={href.home()}>
              Go to the overview
            </Button>
            <Button href={href.setup()}>Set up a site</Button>
          </>
        }
      >
        <p>The address may be mistyped, or from another version of Isotherm.</p>
      </EmptyState>
    </Page>
  );
}
