package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
)

// foundWarning is printed before nodes vote that may have lost locks.
const foundWarning = `A node that restarted may have lost locks, so its vote does not count until every lock that it may have granted has
expired. If no lock was held when the nodes restarted, or every process that held one has stopped since, there is nothing to
wait for, and they can vote at once. If a process still works under a lost lock, another process can acquire that lock.`

// found makes all nodes in quarantine vote, after the user has confirmed that
// no lock is held.
func (r *nodesCmd) found(ctx context.Context, v *view) error {
	var waiting []string
	for _, n := range v.c.Status() {
		if n.Up && n.VotesIn > 0 {
			waiting = append(waiting, fmt.Sprintf("%s in %s", shown(n.Node), span(n.VotesIn)))
		}
	}
	if len(waiting) == 0 && strengthNow(v.c.Status(), v.c.Quorum()).voting == len(v.c.Status()) {
		fmt.Fprintln(stdout, "All nodes vote.")
		return nil
	}
	if len(waiting) > 0 {
		fmt.Fprintf(stdout, "These nodes will vote without your help: %s.\n\n%s\n\n", strings.Join(waiting, ", "), foundWarning)
		if !r.Yes {
			if err := confirm(ctx, "Is no lock held, and has every process stopped that held one? Type yes: "); err != nil {
				return err
			}
		}
	}
	changed, err := face.In[*cluster.Cluster](v.c).Vouch()
	if err != nil {
		return failed(exitFailure, fmt.Errorf("--found: all nodes must be up and belong to one set: %w", err))
	}
	fmt.Fprintf(stdout, "%s now.\n", plural(len(changed), "more node votes", "more nodes vote"))
	return nil
}
