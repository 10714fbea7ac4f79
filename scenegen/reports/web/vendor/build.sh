#!/bin/sh
# Bundle the libraries of the HTML report; needs node and npm, once, when a version changes.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp package.json ./*.entry.js "$work"
(cd "$work" && npm install --silent --no-audit --no-fund)

bundle() { # entry, global name
  (cd "$work" && npx esbuild "$1.entry.js" --bundle --minify --format=iife --global-name="$2" --target=es2020 \
    --charset=ascii --legal-comments=none '--define:process.env.NODE_ENV="production"' \
    --metafile="$1.json" --outfile="$1.min.js" --log-level=warning)
  cp "$work/$1.min.js" .
}
bundle three THREE
bundle plot Plot
bundle table TanStack

# The licence of every package of which a byte is in a bundle.
(cd "$work" && node -e '
  const fs = require("fs"), found = new Map();
  for (const name of ["three", "plot", "table"])
    for (const [file, use] of Object.entries(JSON.parse(fs.readFileSync(`${name}.json`)).outputs[`${name}.min.js`].inputs)) {
      const inside = file.match(/^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//);
      if (inside && use.bytesInOutput) found.set(inside[1], name);
    }
  const parts = [...found].sort().map(([folder, bundle]) => {
    const meta = JSON.parse(fs.readFileSync(`${folder}/package.json`));
    const file = fs.readdirSync(folder).find((one) => /^licen[cs]e/i.test(one));
    return `${meta.name} ${meta.version} (${meta.license}), in ${bundle}.min.js\n\n${fs.readFileSync(`${folder}/${file}`, "utf8").trim()}\n`;
  });
  fs.writeFileSync("LICENSES.txt", parts.join("\n" + "-".repeat(100) + "\n\n"));
')
cp "$work/LICENSES.txt" .
sha256sum ./*.min.js
