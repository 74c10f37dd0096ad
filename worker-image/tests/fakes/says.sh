#!/bin/sh
# An executor that says what the test put beside its private directory, whatever it is asked, and stays.
cat ../says.bin
exec sleep 600
