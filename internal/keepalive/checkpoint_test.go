package keepalive

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/record"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// resumed acquires key and returns its lease and what its last checkpoint says, "" for none.
func resumed(t *testing.T, s *Leases, key string) (*Lease, string) {
	t.Helper()
	began := time.Now()
	l, err := s.Acquire(t.Context(), key)
	harness.Must(t, began, err)
	data, _, ok := l.LastCheckpoint()
	if ok != (data != nil) {
		t.Fatalf("a checkpoint of %q, and ok is %v", data, ok)
	}
	return l, string(data)
}

func TestCheckpoint_IsFoundByTheNextLeaseWithItsOrigin(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, nodes harness.Set) {
		a, b := lease(t, open(t, nodes, 0), Config{}), lease(t, open(t, nodes, 0), Config{})
		first, data := resumed(t, a, "job")
		if data != "" {
			t.Fatalf("a new job has the checkpoint %q", data)
		}
		for _, data := range []string{"one", "two"} {
			must(t, first.Checkpoint(t.Context(), []byte(data)))
		}
		must(t, first.Release(t.Context()))
		second, data := resumed(t, b, "job")
		if _, token, _ := second.LastCheckpoint(); data != "two" || token != first.Token() {
			t.Errorf("found %q of token %d, want two of %d", data, token, first.Token())
		}
		must(t, second.Release(t.Context()))
		third, data := resumed(t, a, "job") // the second made none; the first's still counts
		if _, token, _ := third.LastCheckpoint(); data != "two" || token != first.Token() {
			t.Errorf("found %q of token %d, want two of %d", data, token, first.Token())
		}
		must(t, third.ClearCheckpoint(t.Context()))
		third.Release(t.Context())
		if _, data = resumed(t, b, "job"); data != "" {
			t.Errorf("after it was cleared there is %q", data)
		}
	})
}

func TestACheckpointIsDescribedWithoutItsData(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), Config{})
		described := func(want CheckpointInfo, there bool) {
			t.Helper()
			began := time.Now()
			info, ok, err := s.CheckpointInfo(t.Context(), "job")
			harness.Must(t, began, err)
			if info != want || ok != there {
				t.Errorf("described as %+v, %v; want %+v, %v", info, ok, want, there)
			}
		}
		described(CheckpointInfo{}, false)
		first, _ := resumed(t, s, "job")
		described(CheckpointInfo{}, false)
		must(t, first.Checkpoint(t.Context(), []byte("one")))
		must(t, first.Checkpoint(t.Context(), make([]byte, 100_000)))
		info, _, err := s.CheckpointInfo(t.Context(), "job")
		must(t, err)
		described(CheckpointInfo{Key: "job", Token: first.Token(), Revision: info.Revision, Size: 100_000}, true)
		if info.Revision < 2 {
			t.Errorf("revision %d of the second checkpoint", info.Revision)
		}
		must(t, first.Release(t.Context()))
		second, _ := resumed(t, s, "job")
		described(CheckpointInfo{Key: "job", Token: first.Token(), Size: 100_000}, true)
		must(t, second.ClearCheckpoint(t.Context()))
		described(CheckpointInfo{}, false)
		must(t, second.Release(t.Context()))
	})
}

// What the nodes keep beside a lock with a hash tag begins with the prefix of
// locks, and is none.
func TestCheckpoint_OfATaggedLockIsNotListedAsALock(t *testing.T) {
	harness.Each(t, 3, func(t *testing.T, nodes harness.Set) {
		c := open(t, nodes, 0)
		l, _ := resumed(t, lease(t, c, Config{}), "{user} job")
		must(t, l.Checkpoint(t.Context(), []byte("half")))
		red, err := quorumlock.NewRedlock(c, quorumlock.Config{})
		must(t, err)
		all, err := red.List(t.Context(), "")
		must(t, err)
		if len(all) != 1 || all[0].Key != "{user} job" {
			t.Errorf("beside one lock List shows others: %+v", all)
		}
	})
}

func TestCheckpoint_OfAnOvertakenHolderIsErrLostAndNeverSeen(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, nodes harness.Set) {
		a, b := lease(t, open(t, nodes, 0), Config{}), lease(t, open(t, nodes, 0), Config{})
		old, _ := resumed(t, a, "job")
		must(t, old.Checkpoint(t.Context(), []byte("good")))
		for _, node := range nodeClients(t, nodes) { // the key is lost, and the old holder does not know
			if err := node.Del(t.Context(), "lock:job").Err(); err != nil {
				t.Fatal(err)
			}
		}
		newer, data := resumed(t, b, "job")
		if data != "good" {
			t.Fatalf("found %q", data)
		}
		err := old.Checkpoint(t.Context(), []byte("late"))
		var lost *LostError
		if !errors.Is(err, ErrLost) || !errors.As(err, &lost) || lost.Token != old.Token() {
			t.Errorf("the late checkpoint ended with %v", err)
		}
		if old.Err() == nil {
			t.Error("the overtaken lease stands still")
		}
		newer.Release(t.Context())
		if _, data := resumed(t, b, "job"); data != "good" {
			t.Errorf("found %q", data)
		}
	})
}

// Who overtook has the promise of a quorum, and fails before it has written: a checkpoint that was refused has reached a
// node, and the next lease goes on from it. No lease that was given out has seen anything newer or older since.
func TestCheckpoint_ARefusedOneMayBeFoundIfTheNewerHolderFailed(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, other := lease(t, open(t, nodes, 0), Config{}), lease(t, open(t, nodes, 0), Config{})
		l, _ := resumed(t, s, "job")
		must(t, l.Checkpoint(t.Context(), []byte("good")))
		clients := nodeClients(t, nodes)
		for _, node := range clients[:2] {
			if err := node.Set(t.Context(), "{lock:job}:record:promise", l.Token()+1, time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Checkpoint(t.Context(), []byte("refused")); !errors.Is(err, ErrLost) {
			t.Fatalf("the checkpoint of who was overtaken: %v", err)
		}
		harness.Eventually(t, "it reaches the third node", func() bool {
			return clients[2].HGet(t.Context(), "{lock:job}:record", "data").Val() == "refused"
		})
		nodes.Stop(0)
		next, data := resumed(t, other, "job")
		if _, token, _ := next.LastCheckpoint(); data != "refused" || token != l.Token() {
			t.Errorf("the next lease found %q of token %d", data, token)
		}
	})
}

// A history: holders come and go, and are overtaken; checkpoints count up, several at a time; and nodes are stopped,
// frozen, and restarted empty, fewer than a quorum at a time. What was acknowledged is never gone, what is read never goes
// backwards, and what an overtaken holder makes is refused and never seen.
func TestCheckpoint_NeverGoesBackwardsWhileNodesFail(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, nodes harness.Set) {
		const seed = 7
		began := time.Now()
		random := rand.New(rand.NewPCG(seed, seed))
		processes := []*Leases{lease(t, open(t, nodes, 0), Config{}), lease(t, open(t, nodes, 0), Config{})}
		clients := nodeClients(t, nodes)
		acknowledged, highest, late := 0, 0, 0
		for round := range 12 {
			heal := hurt(t, nodes, processes, round)
			l, data := resumed(t, processes[random.IntN(2)], "job")
			found, _ := strconv.Atoi(data)
			if found < acknowledged || found < highest || found >= 1000 {
				t.Fatalf("round %d (seed %d): found %d, after %d was acknowledged and %d read", round, seed, found, acknowledged, highest)
			}
			highest = found
			made := func(n int) error { return l.Checkpoint(t.Context(), []byte(strconv.Itoa(n))) }
			var wg sync.WaitGroup
			for n := range 3 { // which of them counts is not known
				wg.Go(func() { made(found + n + 1) })
			}
			wg.Wait()
			if err := made(found + 4); err == nil {
				acknowledged = found + 4
			} else if !errors.Is(err, nodeset.ErrNoQuorum) {
				t.Fatalf("round %d (seed %d): %v", round, seed, err)
			}
			heal()
			if round%3 != 2 {
				if err := l.Release(t.Context()); err != nil && !errors.Is(err, nodeset.ErrNoQuorum) {
					t.Fatal(err)
				}
				continue
			}
			for _, node := range clients { // the key is lost, and the holder does not know
				if err := node.Del(t.Context(), "lock:job").Err(); err != nil {
					t.Fatal(err)
				}
			}
			newer, data := resumed(t, processes[random.IntN(2)], "job")
			if found, _ := strconv.Atoi(data); found < acknowledged {
				t.Fatalf("round %d (seed %d): who overtakes finds %d, after %d was acknowledged", round, seed, found, acknowledged)
			}
			if err := made(1000); !errors.Is(err, ErrLost) {
				t.Errorf("round %d (seed %d): the checkpoint of who was overtaken: %v", round, seed, err)
			}
			late++
			must(t, newer.Release(t.Context()))
		}
		if acknowledged < 40 || late == 0 {
			harness.Missed(t, began, "only %d checkpoints were made, and %d holders overtaken", acknowledged, late)
		}
	})
}

// hurt does something to a node. The returned function undoes it, and waits until everybody has seen that.
func hurt(t *testing.T, nodes harness.Set, processes []*Leases, round int) (heal func()) {
	i := round % nodes.Len()
	back := func() {
		for _, s := range processes {
			harness.Eventually(t, "the node is back", func() bool { return s.c.Status()[i].Up })
		}
	}
	switch round {
	case 1, 5, 7, 9:
		nodes.Pause(i)
		return func() { nodes.Resume(i); back() }
	case 3, 11: // not oftener: a node that was restarted does not vote for a minute
		nodes.Stop(i)
		return func() {
			if err := nodes.Restart(i, round == 3); err != nil {
				t.Fatal(err)
			}
			back()
		}
	}
	return func() {}
}

func TestLease_Checkpoint_SaysWhyItCannotBeStored(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	s := lease(t, open(t, nodes, 0), Config{MaxCheckpoint: 10})
	l, _ := resumed(t, s, "job")
	if err := l.Checkpoint(t.Context(), []byte(strings.Repeat("x", 11))); !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), "11 bytes; at most Config.MaxCheckpoint, 10") {
		t.Errorf("too large: %v", err)
	}
	if err := l.Checkpoint(t.Context(), []byte(strings.Repeat("x", 10))); err != nil {
		t.Errorf("just right: %v", err)
	}
	leads, err := s.Campaign(t.Context(), "boss", "me")
	must(t, err)
	if err := leads.Checkpoint(t.Context(), nil); !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), "election") {
		t.Errorf("of a leader: %v", err)
	}
	_, err = s.RunOnce(t.Context(), "report", func(ctx context.Context) error {
		runs, _ := FromContext(ctx)
		return runs.ClearCheckpoint(ctx)
	})
	if !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), "job") {
		t.Errorf("of a job: %v", err)
	}
	l.Release(t.Context())
	if err := l.Checkpoint(t.Context(), nil); !errors.Is(err, ErrReleased) {
		t.Errorf("released: %v", err)
	}
	_, err = New(s.c, Config{MaxCheckpoint: -1, CheckpointTTL: -time.Second, DoneTTL: time.Millisecond})
	for _, field := range []string{"Config.MaxCheckpoint", "Config.CheckpointTTL", "Config.DoneTTL"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not in %v", field, err)
		}
	}
}

func TestLeases_Acquire_FailsIfTheCheckpointCannotBeRead(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	s := lease(t, open(t, nodes, 0), Config{})
	for _, node := range nodeClients(t, nodes) {
		if err := node.Set(t.Context(), "{lock:job}:record", "not a record", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := s.Acquire(t.Context(), "job"); err == nil {
		t.Errorf("it was given out: %v", l)
	}
	for i := range nodes.Len() {
		harness.Eventually(t, "the key is given back", func() bool {
			return nodeClients(t, nodes)[i].Exists(context.Background(), "lock:job").Val() == 0
		})
	}
}

// Between the grant and the reading of the checkpoint, somebody else got a newer token.
func TestLeases_Acquire_IsALossIfOvertakenWhileTheCheckpointIsRead(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), Config{})
		overtake := func(l *Lease) {
			if _, _, err := record.Resume(t.Context(), s.c, s.recordOf(l.Key()), l.Token()+1, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		l := acquire(t, s, "job", Request{})
		overtake(l)
		if _, err := s.resume(t.Context(), l); !errors.Is(err, ErrLost) || !errors.Is(l.Err(), ErrLost) {
			t.Errorf("resume = %v, and the lease %v; want a loss", err, l.Err())
		}
		_, err := s.RunOnce(t.Context(), "report", func(ctx context.Context) error {
			l, _ := FromContext(ctx)
			overtake(l)
			return nil
		})
		if !errors.Is(err, ErrLost) {
			t.Errorf("RunOnce = %v, want a loss", err)
		}
	})
}

// Somebody who waits for a key may be granted it on nodes that lost it, fewer than a quorum, again and again. That raises
// their fence counters above the holder's token, and must not end the holder's work.
func TestCheckpoint_AMinorityGrantDoesNotOvertakeTheHolder(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s, other := lease(t, open(t, nodes, 0), Config{}), lease(t, open(t, nodes, 0), Config{})
		l, _ := resumed(t, s, "job")
		clients := nodeClients(t, nodes)
		for i, data := range []string{"one", "two", "three"} { // so that a quorum of counters is above
			// A renewal may heal the key before the waiter comes, and a waiter that was refused by the others may not ask this node.
			harness.Eventually(t, "the node's counter is above the holder's token", func() bool {
				if err := clients[i].Del(t.Context(), "lock:job").Err(); err != nil {
					t.Fatal(err)
				}
				if _, err := other.TryAcquire(t.Context(), "job"); !errors.Is(err, ErrNotAcquired) {
					t.Fatalf("the waiter: %v", err)
				}
				fence, _ := clients[i].Get(t.Context(), "{lock:job}:fence").Int64()
				return fence > l.Token()
			})
			harness.Eventually(t, "the key is free again", func() bool { return clients[i].Exists(t.Context(), "lock:job").Val() == 0 })
			if err := clients[i].Set(t.Context(), "lock:job", l.t.hold.Value(), l.TTL()).Err(); err != nil { // as a renewal heals it
				t.Fatal(err)
			}
			if err := l.Checkpoint(t.Context(), []byte(data)); err != nil {
				t.Errorf("checkpoint %s: %v", data, err)
			}
		}
	})
}

func TestCheckpoint_ConcurrentOnesDoNotEndTheLease(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 3*time.Second), Config{})
		l, _ := resumed(t, s, "job")
		var errs [64]error
		var wg sync.WaitGroup
		for i := range errs {
			data := []byte(strconv.Itoa(i))
			if i%2 == 0 { // goes beside the stream, and so is overtaken there
				data = []byte(strings.Repeat("x", 32<<10))
			}
			wg.Go(func() {
				errs[i] = l.Checkpoint(t.Context(), data)
				clear(data) // it is the caller's again
			})
		}
		wg.Wait()
		must(t, errors.Join(errs[:]...))
		if err := l.Checkpoint(t.Context(), []byte("last")); err != nil || l.Err() != nil {
			t.Errorf("the last checkpoint: %v, and the lease: %v", err, l.Err())
		}
		must(t, l.Release(t.Context()))
		if _, data := resumed(t, s, "job"); data != "last" {
			t.Errorf("found %.20q", data)
		}
	})
}

func TestMinHold_DoesNotApplyIfTheCheckpointCannotBeRead(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), Config{})
		for _, node := range nodeClients(t, nodes) {
			if err := node.Set(t.Context(), "{lock:job}:record", "not a record", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Acquire(t.Context(), "job", MinHold(time.Hour)); err == nil {
			t.Fatal("a lease was given out")
		}
		for _, node := range nodeClients(t, nodes) {
			harness.Eventually(t, "the key to be given back", func() bool { return node.Exists(t.Context(), "lock:job").Val() == 0 })
		}
	})
}

func TestLease_Release_LetsTheWorkItWaitsForCheckpoint(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		s, other := lease(t, nodes.open(t, &gate{}), Config{}), lease(t, nodes.open(t, &gate{}), Config{})
		l, _ := resumed(t, s, "job")
		err := l.Go(func(ctx context.Context) {
			<-ctx.Done()
			time.Sleep(time.Minute)
			must(t, l.Checkpoint(t.Context(), []byte("so far")))
		})
		must(t, errors.Join(err, l.Release(t.Context())))
		if err := l.Checkpoint(t.Context(), []byte("too late")); !errors.Is(err, ErrReleased) {
			t.Errorf("after the release: %v", err)
		}
		if _, data := resumed(t, other, "job"); data != "so far" {
			t.Errorf("found %q", data)
		}
	})
}

func TestLease_Release_ReportsALossWhileItWaitsForTheWork(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, cable := newMemory(t, 3), &gate{}
		s := lease(t, nodes.open(t, cable), Config{})
		l := acquireAtOnce(t, s, "job", Request{})
		if err := l.Go(func(ctx context.Context) { <-ctx.Done(); time.Sleep(time.Minute) }); err != nil {
			t.Fatal(err)
		}
		cable.cut()
		if err := l.Release(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("Release = %v, want the loss", err)
		}
	})
}

// A lease that was acquired without its record resumes it before its first checkpoint, once.
func TestLease_FirstCheckpointsMayBeConcurrent(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		s := lease(t, open(t, nodes, 0), Config{})
		before, _ := resumed(t, s, "job")
		must(t, errors.Join(before.Checkpoint(t.Context(), []byte("before")), before.Release(t.Context())))
		l := acquire(t, s, "job", Request{})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() { must(t, l.Checkpoint(t.Context(), []byte(strconv.Itoa(i)))) })
		}
		wg.Wait()
		if l.resumes != 1 {
			t.Errorf("the record was resumed %d times", l.resumes)
		}
		if data, _, _ := l.LastCheckpoint(); string(data) != "before" {
			t.Errorf("it found %q", data)
		}
		must(t, l.Checkpoint(t.Context(), []byte("last")))
		must(t, l.Release(t.Context()))
		if _, data := resumed(t, s, "job"); data != "last" {
			t.Errorf("the next lease found %q", data)
		}
	})
}

func TestLease_AFirstCheckpointThatFailedMayBeRepeated(t *testing.T) {
	virtually(t, func(t *testing.T) {
		var g gate
		nodes := newMemory(t, 3)
		s := lease(t, nodes.open(t, &g), Config{})
		l := acquireAtOnce(t, s, "job", Request{})
		g.fail()
		if err := l.Checkpoint(t.Context(), []byte("one")); !errors.Is(err, ErrNoQuorum) {
			t.Errorf("without a quorum: %v", err)
		}
		g.heal()
		time.Sleep(3 * time.Second) // the nodes are up again, and the lease is renewed
		must(t, l.Checkpoint(t.Context(), []byte("two")))
		must(t, l.Release(t.Context()))
		if _, data := resumed(t, s, "job"); data != "two" {
			t.Errorf("the next lease found %q", data)
		}
	})
}
