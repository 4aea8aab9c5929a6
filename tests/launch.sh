#!/bin/sh
# launch.sh ROOT: the launch examples are well-formed: shell scripts by bash -n, YAML by a parser where there is one (python3-yaml), else only
# for tabs. They are not run here.
set -eu
cd "$1/docs/launch"
for script in *.sh *.sbatch; do bash -n "$script"; done
for file in *.yaml; do
  if grep -n "$(printf '\t')" "$file"; then echo "$file: a tab"; exit 1; fi
  if python3 -c 'import yaml' 2>/dev/null; then python3 -c 'import sys, yaml; assert yaml.safe_load(open(sys.argv[1]))["kind"]' "$file"; fi
done
echo "launch examples are well-formed"
