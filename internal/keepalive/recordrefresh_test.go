package keepalive

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/venta-hq/redlock/internal/marks"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestRecordRefresh_KeepsRecordsWhileTheLeaseIsHeld(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		const kept = time.Minute
		s := lease(t, nodes.open(t, &gate{}), Config{CheckpointTTL: kept})
		job, _ := resumed(t, s, "job")
		must(t, job.Checkpoint(t.Context(), []byte("half")))
		leader, err := s.Campaign(t.Context(), "boss", "anna")
		must(t, err)
		for range 20 {
			time.Sleep(kept / 2)
			for i, n := range nodes {
				for _, key := range []string{"{lock:job}:record", "{lock:election:boss}:record"} {
					if left := n.TTL(key); left < kept/3 || left > kept {
						t.Errorf("node %d keeps %s for %v, of %v", i, key, left, kept)
					}
				}
			}
		}
		if now, ok, err := s.Leader(t.Context(), "boss"); !ok || err != nil || now.Candidate != "anna" || now.Token != leader.Token() {
			t.Errorf("after ten minutes %+v leads, %v", now, err)
		}
		must(t, job.Release(t.Context()))
		time.Sleep(kept + time.Second)
		if n := nodes[0]; n.Exists("{lock:job}:record") {
			t.Error("it is kept after the lease has ended")
		}
	})
}

// A holder that became a reader keeps what it recorded before.
func TestRecordRefresh_KeepsACheckpointWhileItsWriterReads(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		const kept = time.Minute
		s := lease(t, nodes.open(t, &gate{}), Config{CheckpointTTL: kept})
		l, _ := resumed(t, s, "job")
		must(t, l.Checkpoint(t.Context(), []byte("half")))
		must(t, l.Downgrade(t.Context()))
		time.Sleep(10 * kept)
		must(t, l.Release(t.Context()))
		next, data := resumed(t, s, "job")
		if data != "half" {
			t.Errorf("the next lease found %q", data)
		}
		must(t, next.Release(t.Context()))
	})
}

func TestRecordRefresh_IsRetriedOnANodeThatLostItsData(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &gate{}), Config{})
		l, _ := resumed(t, s, "job")
		must(t, l.Checkpoint(t.Context(), []byte("half")))
		synctest.Wait()
		const record = "{lock:job}:record"
		forget(nodes[2])
		nodes[2].Set(record, "in the way")
		time.Sleep(3 * l.TTL())
		if !nodes[2].Exists("lock:job") {
			t.Fatal("the node is not healed")
		}
		nodes[2].Del(record)
		time.Sleep(l.TTL())
		if got := nodes[2].HGet(record, "data"); got != "half" {
			t.Errorf("the node knows %q", got)
		}
		if err := l.Err(); err != nil {
			t.Error(err)
		}
	})
}

// A node was away when the checkpoint was cleared and when the next lease found none. It must not be alone with what it
// knows when the others have forgotten the clearing, one after another.
func TestCheckpoint_AClearedOneStaysClearedWhenNodesLoseTheirData(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		l, _ := resumed(t, s, "job")
		must(t, l.Checkpoint(t.Context(), []byte("cleared")))
		synctest.Wait()
		const record = "{lock:job}:record"
		token, seq := nodes[2].HGet(record, "token"), nodes[2].HGet(record, "seq")
		must(t, errors.Join(l.ClearCheckpoint(t.Context()), l.Release(t.Context())))
		next, data := resumed(t, s, "job")
		if data != "" {
			t.Fatalf("after it was cleared there is %q", data)
		}
		time.Sleep(next.TTL()) // until all nodes have the key
		forget(nodes[2])       // as it comes back that missed all this
		nodes[2].HSet(record, "token", token, "seq", seq, "origin", token, "deleted", "", "data", "cleared")
		for i := range 2 {
			time.Sleep(next.TTL())
			forget(nodes[i])
		}
		time.Sleep(next.TTL())
		for i, n := range nodes {
			if n.HGet(record, "deleted") != "1" {
				t.Errorf("node %d was not told that there is none: it has %q", i, n.HGet(record, "data"))
			}
		}
		must(t, next.Release(t.Context()))
		if _, data := resumed(t, other, "job"); data != "" {
			t.Errorf("the next lease finds %q", data)
		}
	})
}

// All nodes are restarted without their memory, one after another, while a holder works and a leader leads.
func TestRecordRefresh_ARollingRestartLosesNothing(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		const ttl = 10 * time.Second
		began := time.Now()
		s := lease(t, openWith(t, nodes, nodeset.Config{MaxTTL: ttl, NodeTimeout: soon}), Config{TTL: ttl, RenewEvery: soon})
		job, _ := resumed(t, s, "job")
		must(t, job.Checkpoint(t.Context(), []byte("half")))
		found, data := resumed(t, s, "found")
		if data != "" || found.Checkpoint(t.Context(), []byte("before")) != nil || found.Release(t.Context()) != nil {
			t.Fatal("no checkpoint was left behind")
		}
		found, _ = resumed(t, s, "found") // what this lease has it has not made itself
		leader, err := s.Campaign(t.Context(), "boss", "anna")
		must(t, err)
		keys := []string{"lock:job", "lock:found", "lock:election:boss"}
		for i := range nodes.Len() { // a lease that stands on a bare quorum survives no node that forgets
			node := harness.Client(t, nodes, i)
			harness.Eventually(t, "the node to have all keys", func() bool { return node.Exists(t.Context(), keys...).Val() == 3 })
		}
		for i := range nodes.Len() {
			if err := nodes.Restart(i, true); err != nil {
				t.Fatal(err)
			}
			node := harness.Client(t, nodes, i)
			harness.Eventually(t, "the node to be told what it has forgotten", func() bool {
				stands(t, began, job, found, leader)
				records := node.Exists(t.Context(), "{lock:job}:record", "{lock:found}:record", "{lock:election:boss}:record")
				return records.Val()+node.Exists(t.Context(), keys...).Val() == 6
			})
			for _, key := range keys {
				left := node.PTTL(t.Context(), key).Val()
				harness.Eventually(t, "the node to be renewed, and so to count, before the next forgets", func() bool {
					stands(t, began, job, found, leader)
					now := node.PTTL(t.Context(), key).Val()
					defer func() { left = now }()
					return now > left
				})
			}
		}
		c := openWith(t, nodes, nodeset.Config{MaxTTL: ttl})
		next := lease(t, c, Config{TTL: ttl})
		if now, ok, err := next.Leader(t.Context(), "boss"); !ok || err != nil || now.Token != leader.Token() {
			t.Errorf("%+v leads, %v", now, err)
		}
		for _, l := range []*Lease{job, found} {
			must(t, l.Release(context.Background()))
		}
		harness.Eventually(t, "the nodes to vote for a process that has not met them before", func() bool {
			return !slices.ContainsFunc(c.Nodes(), func(n *nodeset.Node) bool { return !n.Votes() })
		})
		for key, want := range map[string]string{"job": "half", "found": "before"} {
			if _, data := resumed(t, next, key); data != want {
				t.Errorf("the next lease on %s finds %q", key, data)
			}
		}
	})
}

// forget empties a node but for its mark: nobody can see it.
func forget(n *miniredis.Miniredis) {
	text, err := n.Get(marks.Key)
	n.FlushAll()
	if err == nil {
		_ = n.Set(marks.Key, text) // it is empty, so nothing of another kind is there
	}
}
