import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// Where `npm run dev` finds a mesh: `crewmesh up` serves there.
const gateway = "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [react()],
  build: {
    outDir: "../services/api_gateway/crewmesh_gateway/console",
    emptyOutDir: true,
    // The gateway's content security policy takes nothing that is inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: { "/v1": gateway } },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
