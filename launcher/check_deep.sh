#!/bin/sh
# Looks around where a worker runs; its own directory is in scratch. It makes nothing.
# check_java.sh follows.
echo "host $(uname -n)"
echo "platform $(uname -s | tr 'A-Z' 'a-z')/$(uname -m)"
echo "cores $(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 0)"
awk '/^MemTotal:/ {print "memory", $2}' /proc/meminfo 2>/dev/null
echo "free $(df -Pk . 2>/dev/null | awk 'NR==2 {print $4}')"
echo "scratch $(pwd)"
sleep 1 # so that how the pilot is connected can be asked for while it is there
set -- ""

