#!/bin/sh
# Finds the Python that the wheels are for; install.py does the work.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
for python in python@@{python} python3 python; do
    if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (@@{numbers}))' >/dev/null 2>&1; then
        exec "$python" -X utf8 "$here/install.py" "$@"
    fi
done
cat -- "$here/texts/no-python.txt" >&2
exit 1
