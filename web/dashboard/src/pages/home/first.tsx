/** The overview before the first event: the ways to get one. */

import { fetchSdk } from "../../api/queries";
import { useQuery } from "../../api/query";
import { Button, CodeBlock, Icon } from "../../ui";
import { href } from "../../url";
import { curlFor } from "../setup/snippets";

const SIMULATE = "isotherm simulate";

export function FirstSteps() {
  const sdk = useQuery("sdk", fetchSdk);
  const collector = sdk.data?.collector_url ?? `${location.protocol}//${location.hostname}:7081`;
  return (
    <div class="first">
      <section class="first-main card">
        <h2>Put it on your site</h2>
        <p>One script tag. It sends where people move, click and scroll; it reads no inputs and sets no cookies.</p>
        <Button variant="primary" iconAfter="arrowRight" href={href.setup()}>
          Get your snippet
        </Button>
      </section>
      <section class="first-main card">
        <h2>Or try it first</h2>
        <p>Open the demo shop in another window, move the mouse, and watch the heat appear here.</p>
        <Button iconAfter="external" href="/demo/">
          Open the demo
        </Button>
      </section>
      <section class="first-wide">
        <h2 class="first-or">
          <Icon name="code" size={16} /> From a terminal
        </h2>
        <div class="first-codes">
          <CodeBlock label="Send one event" code={curlFor(collector, "my-site")} />
          <CodeBlock label="Made-up visitors, always labelled as simulated" code={SIMULATE} />
        </div>
      </section>
    </div>
  );
}
