import { useStatus } from "../api/queries";

export function Footer() {
  const { data } = useStatus();
  return (
    <footer class="footer">
      <span>Isotherm{data === undefined ? "" : ` ${data.version}`}</span>
      <a href="/docs">Query API</a>
    </footer>
  );
}
