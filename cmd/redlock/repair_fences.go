package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// repairWarning is printed before fence counters are set back.
const repairWarning = `A fence counter this far ahead of the clock makes its node refuse the key. It is set to a number a little above this
machine's clock and above the key's usable counters. First see that the clocks of this machine and of the nodes are right.

If most nodes have such a counter for a key, its tokens came from it, and its next tokens will be smaller. Whatever has seen
the old tokens refuses the new ones until it is reset. That is the storage behind the lock and, on the nodes, the key's
checkpoint, leader or once record, until it expires or both of its keys are deleted by hand on every node:`

// recordKeys returns the Redis keys of the record of a lock key, including its
// prefix: the data, and the promise to the newest token.
func recordKeys(lock string) [2]string {
	record := quorumlock.Companion(lock, "record")
	return [2]string{record, record + ":promise"}
}

// repairFences finds the fence counters that are too far ahead of the clock,
// for all keys with the prefix, and sets them after the user has confirmed.
func (r *nodesCmd) repairFences(ctx context.Context, v *view) error {
	prefix := *r.RepairFences
	red, err := quorumlock.NewRedlock(face.In(v.c), quorumlock.Config{Prefix: prefix})
	if err != nil {
		return misused("--repair-fences: %v", err)
	}
	bad, err := red.BadFences(ctx, "")
	if err != nil {
		return err
	}
	if len(bad) == 0 {
		fmt.Fprintf(stdout, "No fence counter of a key that begins with %s is beyond the clock.\n", shown(prefix))
		return nil
	}
	var rows, records [][]string
	for i, b := range bad {
		rows = append(rows, []string{shown(prefix + b.Key), shown(b.Node), shown(b.Value)})
		if i == 0 || b.Key != bad[i-1].Key { // BadFences returns them in the order of keys
			names := recordKeys(red.LockKey(b.Key))
			records = append(records, []string{shown(names[0]), shown(names[1])})
		}
	}
	table(stdout, []string{"KEY", "NODE", ">COUNTER"}, rows)
	fmt.Fprintf(stdout, "\n%s\n\n", repairWarning)
	table(stdout, []string{"RECORD", "PROMISE"}, records)
	fmt.Fprintln(stdout)
	if !r.Yes {
		question := "Set " + plural(len(bad), "counter", "counters") + "? Type yes: "
		if err := confirm(ctx, question); err != nil {
			return err
		}
	}
	var failures []error
	for _, b := range bad {
		if err := red.RepairFence(ctx, b); err != nil {
			failures = append(failures, err)
		}
	}
	if err := errors.Join(failures...); err != nil {
		return failed(exitFailure, err)
	}
	fmt.Fprintf(stdout, "Set %s.\n", plural(len(bad), "counter", "counters"))
	return nil
}
