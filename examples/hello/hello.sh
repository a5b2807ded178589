#!/bin/sh
# Says who it is. Each worker finds its rank and their number in its environment.
echo "hello from worker $ZORILLA_RANK of $ZORILLA_SIZE on $(hostname)"
