// Run by ci/accessibility: axe's rules on pages of the built site, and whether they fit the screen.
"use strict";

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const axe = require("axe-core");
const puppeteer = require("puppeteer-core");

const SITE = path.resolve(__dirname, "../build/html");
const PAGES = [
  "index.html",
  "start.html",
  "concepts.html",
  "reference/index.html",
  "reference/functions/spectralgrad.orthogonalize.html",
  "gallery/index.html",
  "comparison.html",
  "support.html",
  "instead-of-masks.html",
  "many-devices.html",
  "scale.html",
];
const SCREENS = { desktop: { width: 1300, height: 900 }, phone: { width: 390, height: 844 } };
const SCHEMES = ["light", "dark"];

async function faultsOf(page) {
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => (await window.axe.run(document)).violations);
  const faults = found.flatMap((rule) =>
    rule.nodes.map((node) => `${rule.id}: ${node.target.join(" ")}: ${rule.help}`),
  );
  const [wide, screen] = await page.evaluate(() => [
    document.scrollingElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  return wide > screen ? [...faults, `too wide: ${wide} of ${screen} pixels`] : faults;
}

async function main() {
  const pages = process.argv.length > 2 ? process.argv.slice(2) : PAGES;
  const executable = process.env.CHROMIUM || "/usr/bin/chromium";
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "chromium-"));
  const browser = await puppeteer.launch({
    executablePath: executable,
    userDataDir: profile,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--allow-file-access-from-files",
    ],
  });
  let count = 0;
  try {
    for (const name of pages) {
      for (const [screen, viewport] of Object.entries(SCREENS)) {
        for (const scheme of SCHEMES) {
          const page = await browser.newPage();
          await page.setViewport(viewport);
          await page.emulateMediaFeatures([
            { name: "prefers-color-scheme", value: scheme },
            { name: "prefers-reduced-motion", value: "reduce" },
          ]);
          await page.goto(`file://${SITE}/${name}`, { waitUntil: "load" });
          const faults = await faultsOf(page);
          count += faults.length;
          console.log(`${name}, ${screen}, ${scheme}: ${faults.length || "no"} faults`);
          faults.forEach((fault) => console.log(`    ${fault}`));
          if (process.env.SCREENSHOTS) {
            const file = `${name.replace(/[\/.]/g, "_")}-${screen}-${scheme}.png`;
            await page.screenshot({ path: path.join(process.env.SCREENSHOTS, file), fullPage: true });
          }
          await page.close();
        }
      }
    }
  } finally {
    await browser.close();
    fs.rmSync(profile, { recursive: true, force: true });
  }
  process.exit(count > 0 ? 1 : 0);
}

main();
