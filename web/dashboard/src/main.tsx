import { render } from "preact";

import { App } from "./app";
import { startTheme } from "./theme";
import "./styles/index.css";

startTheme();
const root = document.getElementById("app");
if (root === null) throw new Error("index.html has no #app");
render(<App />, root);
