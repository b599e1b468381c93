package quorumlock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// BadFence is a fence counter on one node that lies so far ahead of this
// machine's clock that the node's grants of the key do not count, or that is no
// number below 2^53.
type BadFence struct {
	Key   string
	Node  string
	Value string // what the counter holds

	good int64 // the largest usable counter of the key on any node
}

// repairSlack is how far above every usable counter a repaired one starts, in
// tokens: above what current attempts can raise them to in the meantime.
const repairSlack = 16 * MaxTokenBlock

// BadFences returns the fence counters that [Redlock.RepairFence] would set,
// among those of keys that begin with prefix, in the order of keys and nodes.
// Nodes are scanned, as by [Redlock.List]. The error is a *cluster.QuorumError
// if fewer nodes than a quorum could be scanned or asked.
func (r *Redlock) BadFences(ctx context.Context, prefix string) ([]BadFence, error) {
	keys, err := r.WithCompanion(ctx, prefix, "fence")
	if err != nil {
		return nil, err
	}
	var bad []BadFence
	for batch := range slices.Chunk(keys, inspectBatch) {
		some, err := r.inspect(ctx, batch, 0)
		if err != nil {
			return nil, err
		}
		for _, i := range some {
			if err := quorumOf(r.c, "read the fence counters of", i.Key, i.Views); err != nil {
				return nil, err
			}
			bad = append(bad, i.badFences(fenceLimit(time.Now(), r.c.Config().MaxTTL))...)
		}
	}
	return bad, nil
}

// downOnly reports whether err says nothing but that nodes are down.
func downOnly(err error) bool {
	var q *nodeset.QuorumError
	return errors.As(err, &q) && !slices.ContainsFunc(q.Nodes, func(e nodeset.NodeError) bool { return !errors.Is(e.Err, nodeset.ErrNodeDown) })
}

// CheckFences checks for bad fence counters, as [Redlock.BadFences] does. It
// returns one finding for each node that has any, or one that says why they
// cannot be read; none if that is because nodes are down.
func (r *Redlock) CheckFences(ctx context.Context) (found []nodeset.Finding) {
	bad, err := r.BadFences(ctx, "")
	switch {
	case downOnly(err):
		return nil // other findings say which nodes are down
	case err != nil:
		return []nodeset.Finding{{Severity: nodeset.Note, Text: "the fence counters cannot be read: " + strings.TrimPrefix(err.Error(), "redlock: "),
			Fix: "let this user scan the keys (+scan), with a quorum of the nodes up", Runbook: nodeset.RunbookRights}}
	}
	named := map[string]bool{}
	for _, b := range bad {
		if named[b.Node] {
			continue
		}
		named[b.Node] = true
		found = append(found, nodeset.Finding{Node: b.Node, Severity: nodeset.Danger,
			Text: fmt.Sprintf("its fence counter of %q, %s, lies beyond the clock, so its grants of that key do not count", r.LockKey(b.Key), b.Value),
			Fix:  "set the clocks right, then run redlock nodes --repair-fences " + r.cfg.Prefix, Runbook: nodeset.RunbookFence})
	}
	return found
}

func (i *Inspection) badFences(limit int64) (bad []BadFence) {
	var good int64
	for _, v := range i.Views {
		switch {
		case v.noFence != "":
			bad = append(bad, BadFence{Key: i.Key, Node: v.Node, Value: v.noFence})
		case v.Fence > limit:
			bad = append(bad, BadFence{Key: i.Key, Node: v.Node, Value: strconv.FormatInt(v.Fence, 10)})
		default:
			good = max(good, v.Fence)
		}
	}
	for i := range bad {
		bad[i].good = good
	}
	return bad
}

// RepairFence sets a counter that [Redlock.BadFences] found to a number a
// little above the clock and above every usable counter of the key. It does not
// change a counter that has become usable. If a quorum of the key's counters
// was bad, the next token may be smaller than those that were granted from
// them, and storage that has seen one of these refuses it. The error is that of
// the node.
func (r *Redlock) RepairFence(ctx context.Context, bad BadFence) error {
	for _, n := range r.c.Nodes() {
		if n.Name() != bad.Node {
			continue
		}
		now, names := time.Now(), namesOf(r.LockKey(bad.Key))
		limit, to := fenceLimit(now, r.c.Config().MaxTTL), max(bad.good, now.UnixMicro())+repairSlack
		reply, err := n.AskScript(ctx, repairScript, names[1:2], []any{limit, to, r.words.retention})
		if err == nil && reply != any(int64(0)) && reply != any(int64(1)) {
			err = badReply("repair", reply)
		}
		if err != nil {
			return errs.Errorf("redlock: repair the fence counter of %q: %w", bad.Key, &nodeset.NodeError{Node: bad.Node, Err: err})
		}
		return nil
	}
	return configerr.Field("bad.Node", "%q is not one of the nodes", bad.Node)
}
