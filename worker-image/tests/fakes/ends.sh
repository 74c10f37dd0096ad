#!/bin/sh
# An executor that complains and ends as soon as it is asked anything.
head -c 4 >/dev/null
echo "cannot find my feet" >&2
exit 7
