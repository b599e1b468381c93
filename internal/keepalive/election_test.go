package keepalive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestElection_OneLeadsAndTheOthersKnowIt(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, nodes harness.Set) {
		a, b := lease(t, open(t, nodes, 0), Config{}), lease(t, open(t, nodes, 0), Config{})
		if leader, ok, err := b.Leader(t.Context(), "boss"); ok || err != nil {
			t.Fatalf("before the election %+v leads (%v)", leader, err)
		}
		before := time.Now().Add(-time.Millisecond)
		l, err := a.Campaign(t.Context(), "boss", "anna")
		must(t, err)
		leader, ok, err := b.Leader(t.Context(), "boss")
		if err != nil || !ok || leader.Name != "boss" || leader.Candidate != "anna" || leader.Token != l.Token() ||
			leader.Since.Before(before) || leader.Since.After(time.Now()) {
			t.Errorf("leader is %+v, %v, %v", leader, ok, err)
		}
		must(t, l.Release(t.Context()))
		harness.Eventually(t, "nobody leads", func() bool { _, ok, err := b.Leader(t.Context(), "boss"); return !ok && err == nil })
	})
}

func TestElection_ResigningWaitsForTheWorkAndHandsOverAtOnce(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		a, b := lease(t, open(t, nodes, 0), Config{TTL: 30 * time.Second}), lease(t, open(t, nodes, 0), Config{TTL: 30 * time.Second})
		old, err := a.Campaign(t.Context(), "boss", "anna")
		must(t, err)
		elected := make(chan *Lease, 1)
		go func() {
			l, err := b.Campaign(context.Background(), "boss", "bert")
			if err != nil {
				t.Error(err)
			}
			elected <- l
		}()
		harness.Eventually(t, "bert is queued", queues(t, nodeClients(t, nodes), "election:boss", 1))

		told, mayEnd := make(chan struct{}), make(chan struct{})
		if err := old.Go(func(ctx context.Context) {
			<-ctx.Done()
			close(told)
			<-mayEnd
		}); err != nil {
			t.Fatal(err)
		}
		released := make(chan error, 1)
		go func() { released <- old.Release(context.Background()) }()
		harness.Receive(t, "the work to be told", told)
		select {
		case <-elected:
			t.Error("bert leads before anna's work has returned")
		default:
		}
		held := int64(0)
		for _, client := range nodeClients(t, nodes) { // a quorum granted it; the third may be slow
			held += client.Exists(t.Context(), "lock:election:boss").Val()
		}
		if held < 2 {
			t.Error("the key was given up before the work had returned")
		}
		if err := old.Go(func(context.Context) {}); err == nil {
			t.Error("a lease that resigns takes on work")
		}
		began := time.Now()
		close(mayEnd)
		if err := harness.Receive(t, "the release", released); err != nil {
			t.Error(err)
		}
		next := harness.Receive(t, "bert to lead", elected)
		if took := time.Since(began); took > 15*time.Second {
			harness.Missed(t, began, "it took %v, as if the TTL of 30s had been waited for", took)
		}
		if next.Token() <= old.Token() {
			t.Errorf("the later leader has token %d, the earlier %d", next.Token(), old.Token())
		}
	})
}

func TestElection_ObserverSeesEverySettledLeaderInTokenOrder(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, nodes harness.Set) {
		watcher := lease(t, open(t, nodes, 0), Config{})
		ctx, cancel := context.WithCancel(t.Context())
		leaders, err := watcher.Observe(ctx, "boss")
		if err != nil {
			t.Fatal(err)
		}
		if first := harness.Receive(t, "the first word", leaders); first.Candidate != "" {
			t.Errorf("before the election %+v leads", first)
		}
		var last int64
		for i, name := range []string{"anna", "bert", "anna"} {
			s := lease(t, open(t, nodes, 0), Config{})
			l, err := s.Campaign(t.Context(), "boss", name)
			must(t, err)
			if seen := harness.Receive(t, name+" to be seen", leaders); seen.Candidate != name || seen.Token != l.Token() || seen.Token <= last {
				t.Errorf("leader %d was seen as %+v, after token %d", i, seen, last)
			}
			last = l.Token()
			must(t, l.Release(t.Context()))
			if vacant := harness.Receive(t, "the vacancy", leaders); vacant.Candidate != "" {
				t.Errorf("after %s resigned %+v leads", name, vacant)
			}
		}
		cancel()
		for range leaders { // ends
		}
	})
}

func TestElection_ObserverIsNotifiedOfEachChangeAtOnce(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		leaders, err := lease(t, nodes.open(t, &gate{}), Config{}).Observe(t.Context(), "boss")
		if err != nil {
			t.Fatal(err)
		}
		const atOnce = 50 * time.Millisecond // what is looked for by the timer is seen after a TTL, 10 s
		sees := func(candidate string, within time.Duration) {
			t.Helper()
			began := time.Now()
			if seen := harness.Receive(t, "a change", leaders); seen.Candidate != candidate || time.Since(began) > within {
				t.Errorf("%q was seen to lead, after %v; want %q within %v", seen.Candidate, time.Since(began), candidate, within)
			}
		}
		campaign := func(s *Leases, name string) *Lease {
			t.Helper()
			l, err := s.Campaign(t.Context(), "boss", name)
			must(t, err)
			return l
		}
		sees("", atOnce)
		for _, name := range []string{"anna", "bert"} {
			time.Sleep(time.Minute)
			l := campaign(lease(t, nodes.open(t, &gate{}), Config{}), name)
			sees(name, atOnce)
			time.Sleep(time.Minute)
			must(t, l.Release(t.Context()))
			sees("", atOnce)
		}
		cable := &gate{}
		carl := campaign(lease(t, nodes.open(t, cable), Config{}), "carl")
		sees("carl", atOnce)
		cable.cut() // he crashes
		sees("", carl.TTL()+time.Second)
		dora := campaign(lease(t, nodes.open(t, &gate{}), Config{}), "dora")
		sees("dora", atOnce)
		if carl.Err() == nil || dora.Token() <= carl.Token() {
			t.Errorf("carl, with token %d: %v; dora has token %d", carl.Token(), carl.Err(), dora.Token())
		}
	})
}

// A release waits for the answers of a renewal that is under way. So does the
// announcement behind it: observers that looked before would see the old leader.
func TestElection_ResignationDuringARenewalIsNotifiedAtOnce(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 3)
		leaders, err := lease(t, nodes.open(t, &gate{}), Config{}).Observe(t.Context(), "boss")
		must(t, err)
		sees := func(candidate string) time.Time {
			t.Helper()
			if seen := harness.Receive(t, "a change", leaders); seen.Candidate != candidate {
				t.Fatalf("%q was seen to lead, want %q", seen.Candidate, candidate)
			}
			return time.Now()
		}
		sees("")
		slow := &gate{}
		l, err := lease(t, nodes.open(t, slow), Config{}).Campaign(t.Context(), "boss", "anna")
		must(t, err)
		sees("anna")
		const delay = 50 * time.Millisecond
		slow.delay.Store(int64(delay))
		renewing := func() bool {
			r := &l.t.s.renewer
			r.mu.Lock()
			defer r.mu.Unlock()
			return l.t.inRound
		}
		for !renewing() {
			time.Sleep(delay / 10)
		}
		resigned := time.Now()
		must(t, l.Release(t.Context()))
		if took := sees("").Sub(resigned); took > 20*delay {
			t.Errorf("it was seen %v after the resignation, with requests that take %v: not by the announcement", took, delay)
		}
	})
}

// Leaders resign and crash, over slow networks. Their work goes on for a while after it was told to end.
func TestElection_LeadersNeverOverlapInTokenOrder(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes := newMemory(t, 5)
		type reign struct {
			token    int64
			from, to time.Time
		}
		var mu sync.Mutex
		var reigns []reign
		var wg sync.WaitGroup
		for p := range 3 {
			random := rand.New(rand.NewPCG(uint64(p), 1))
			wg.Go(func() {
				for i := range 4 {
					cable, crash := &gate{}, i%3 == 2
					cable.delay.Store(random.Int64N(int64(20 * time.Millisecond)))
					l, err := lease(t, nodes.open(t, cable), Config{}).Campaign(context.Background(), "boss", fmt.Sprint("candidate ", p))
					if err != nil {
						t.Error(err)
						return
					}
					r := reign{token: l.Token(), from: time.Now()}
					over := make(chan struct{})
					if err := l.Go(func(ctx context.Context) {
						defer close(over)
						<-ctx.Done()
						if !crash { // who is cut off has no time left
							time.Sleep(time.Duration(random.Int64N(int64(5 * time.Second))))
						}
						r.to = time.Now()
					}); err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Duration(random.Int64N(int64(15 * time.Second))))
					if crash {
						cable.cut()
					} else if err := l.Release(context.Background()); err != nil {
						t.Error(err)
					}
					<-over
					mu.Lock()
					reigns = append(reigns, r)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		slices.SortFunc(reigns, func(a, b reign) int { return int(a.token - b.token) })
		for i := 1; i < len(reigns); i++ {
			if a, b := reigns[i-1], reigns[i]; a.token == b.token || b.from.Before(a.to) {
				t.Errorf("leader %d began at %v, before leader %d ended at %v", b.token, b.from, a.token, a.to)
			}
		}
		if len(reigns) != 12 {
			t.Errorf("%d of 12 have led", len(reigns))
		}
	})
}

func TestElection_WithoutANameIsRefused(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	if _, err := s.Campaign(t.Context(), "", "anna"); !errors.Is(err, nodeset.ErrConfig) {
		t.Errorf("Campaign without a name: %v", err)
	}
	if _, err := s.Campaign(t.Context(), "boss", ""); !errors.Is(err, nodeset.ErrConfig) {
		t.Errorf("Campaign without a candidate: %v", err)
	}
	if _, _, err := s.Leader(t.Context(), ""); !errors.Is(err, nodeset.ErrConfig) {
		t.Errorf("Leader: %v", err)
	}
	if _, err := s.Observe(t.Context(), ""); !errors.Is(err, nodeset.ErrConfig) {
		t.Errorf("Observe: %v", err)
	}
	if _, err := s.RunOnce(t.Context(), "", nil); !errors.Is(err, nodeset.ErrConfig) {
		t.Errorf("RunOnce: %v", err)
	}
	if _, _, err := s.Outcome(t.Context(), ""); !errors.Is(err, nodeset.ErrConfig) {
		t.Errorf("Outcome: %v", err)
	}
}

func TestOptions_NegativeDurationsAreRefused(t *testing.T) {
	s := lease(t, open(t, harness.Embedded(t, 1), 0), Config{})
	for field, o := range map[string]Option{"TTL": TTL(-time.Second), "MinHold": MinHold(-time.Second), "MaxHold": MaxHold(-time.Second)} {
		_, campaign := s.Campaign(t.Context(), "boss", "anna", o)
		_, once := s.RunOnce(t.Context(), "job", func(context.Context) error { t.Error("it runs"); return nil }, o)
		_, acquire := s.Acquire(t.Context(), "job", o)
		_, try := s.TryAcquire(t.Context(), "job", o)
		for call, err := range map[string]error{"Campaign": campaign, "RunOnce": once, "Acquire": acquire, "TryAcquire": try} {
			if !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), field+": -1s") {
				t.Errorf("%s with a negative %s: %v", call, field, err)
			}
		}
	}
	if _, err := s.Campaign(t.Context(), "boss", "anna", MinHold(time.Second)); !errors.Is(err, nodeset.ErrConfig) {
		t.Errorf("Campaign with MinHold: %v", err)
	}
}

func TestElection_ReportsNoLeaderBelowAQuorum(t *testing.T) {
	nodes := harness.Embedded(t, 3)
	s := lease(t, open(t, nodes, 0), Config{})
	if _, err := s.Campaign(t.Context(), "boss", "anna"); err != nil {
		t.Fatal(err)
	}
	nodes.Stop(0)
	nodes.Stop(1)
	if leader, ok, err := s.Leader(t.Context(), "boss"); ok || !errors.Is(err, nodeset.ErrNoQuorum) {
		t.Errorf("got %+v, %v", leader, err)
	}
}

// Two of three nodes know the leader, and one of those is silent: that the third knows of none says nothing.
func TestElection_ASilentNodeIsNoVoteForNoLeader(t *testing.T) {
	for name, c := range map[string]struct {
		votes  map[string]int
		failed int
		open   bool
	}{
		"it may know the leader":   {map[string]int{"v": 1, "": 1}, 1, true},
		"nobody has the key":       {map[string]int{"": 2}, 1, false},
		"all answered, none leads": {map[string]int{"v": 1, "": 2}, 0, false},
	} {
		b := &leaderVotes{nodes: 3, quorum: 2, votes: c.votes, failed: make([]nodeset.NodeError, c.failed)}
		leader, _, err := b.result("x")
		if errors.Is(err, ErrNoQuorum) != c.open || leader.Candidate != "" {
			t.Errorf("%s: %+v, %v", name, leader, err)
		}
	}
}
