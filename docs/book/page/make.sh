#!/bin/sh
# make.sh ROOT PAGE: writes the book of the project in ROOT into PAGE, one HTML file that needs nothing else. Needs pandoc 2.17 or newer.
set -eu
root=$1 page=$2 here=${0%/*}
command -v pandoc > /dev/null || { echo "pandoc not found: it makes the book's page. Debian: apt-get install pandoc" >&2; exit 1; }
embed=--self-contained
if pandoc --help | grep -q -e --embed-resources; then embed="--embed-resources --standalone"; fi     # since 2.19
chapters=$(cd "$root" && echo docs/book/[0-9][0-9]_*.md)
pandoc --from=gfm --to=html5 --mathml $embed --toc --toc-depth=1 --fail-if-warnings --lua-filter="$here/book.lua" --template="$here/page.html" \
  --metadata=root="$root" --metadata=chapters="$chapters" --metadata=style="$here/page.css" --output="$page.part" /dev/null
mv "$page.part" "$page"
