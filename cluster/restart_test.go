package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func votes(c *Cluster) (all []bool) {
	for _, n := range c.Nodes() {
		all = append(all, n.Votes())
	}
	return all
}

func TestARestartedNodeDoesNotVoteForMaxTTL(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := open(t, s, shortTTL)
		harness.Eventually(t, "all votes", func() bool { return !slices.Contains(votes(c), false) })
		n := c.Nodes()[1]
		began := time.Now()
		if err := s.Restart(1, true); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "an answer after the restart", func() bool { return run(t, n, pingScript, nil).err == nil })
		if n.Votes() && time.Since(began) < c.Config().MaxTTL {
			t.Error("a node that forgot votes at once")
		}
		if !c.Nodes()[0].Votes() || !c.Nodes()[2].Votes() {
			t.Error("the others lost their votes")
		}
		if st := c.Status()[1]; !st.Votes && (st.VotesIn <= 0 || st.VotesIn > c.Config().MaxTTL) {
			t.Errorf("status %+v", st)
		}
		harness.Eventually(t, "its vote", n.Votes)
		if e := time.Since(began); e < c.Config().MaxTTL {
			t.Errorf("it voted %v after a restart, before MaxTTL", e)
		}
	})
}

// The answer to a first command after a restart must not count, even if nobody noticed the restart before.
func TestARestartIsKnownBeforeTheFirstAnswer(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		c := open(t, s) // whose MaxTTL is a minute
		n := c.Nodes()[0]
		if err := s.Restart(0, true); err != nil {
			t.Fatal(err)
		}
		voted := make(chan bool, 1)
		harness.Eventually(t, "an answer", func() bool {
			o := newOnce()
			n.Run(pingScript, nil, nil, voter{o, voted})
			return o.wait(t).err == nil
		})
		if <-voted {
			t.Error("the first answer after a restart counts")
		}
	})
}

// voter notes whether the node voted when its first good answer came.
type voter struct {
	once
	voted chan bool
}

func (v voter) Receive(n *Node, reply any, err error) {
	if err == nil {
		select {
		case v.voted <- n.Votes():
		default:
		}
	}
	v.once.Receive(n, reply, err)
}

// grown waits until the nodes of s are older than the MaxTTL of [shortTTL], as
// servers count: in whole seconds.
func grown(t *testing.T, s harness.Set) {
	t.Helper()
	for i := range s.Len() {
		client := harness.Client(t, s, i)
		harness.Eventually(t, "the node to grow old", func() bool {
			f, err := askFacts(t.Context(), client)
			if err != nil {
				t.Fatal(err)
			}
			return f.uptime >= 4*time.Second
		})
	}
}

func TestAYoungNodeAmongOldOnesDoesNotVote(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		grown(t, s)
		began := time.Now()
		if err := s.Restart(2, true); err != nil {
			t.Fatal(err)
		}
		c := open(t, s, shortTTL) // this process has not seen the restart
		if v := votes(c); !v[0] || !v[1] || v[2] && time.Since(began) < c.Config().MaxTTL {
			t.Errorf("votes are %v, want all but the last", v)
		}
		harness.Eventually(t, "its vote", c.Nodes()[2].Votes)
		if e := time.Since(began); e < c.Config().MaxTTL {
			t.Errorf("it voted %v after a restart, before MaxTTL", e)
		}
	})
}

func TestANodeThatSyncsEveryWriteVotesAtOnce(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{Persist: true, Args: []string{"--appendfsync", "always"}})
	c := open(t, s)
	if err := s.Restart(1, false); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "an answer after the restart", func() bool { return run(t, c.Nodes()[1], pingScript, nil).err == nil })
	if len(c.Nodes()[1].runIDs) != 1 || !c.Nodes()[1].Votes() {
		t.Error("it does not vote")
	}
	if !open(t, s, func(cfg *Config) { cfg.MaxTTL = time.Hour }).Nodes()[1].Votes() {
		t.Error("it does not vote for a process that meets it later")
	}
}

// That two servers sync every write does not help a node that goes from one to the other: what the second is told, it is
// told late.
func TestAStandInDoesNotVoteHoweverItSyncs(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]redis.UniversalClient{
		"a Sentinel-backed client": redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}}),
		"a Redis Cluster":          redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}}),
	} {
		target, err := copyClient("a", client)
		if err := errors.Join(err, client.Close()); err != nil {
			t.Fatal(err)
		}
		c := &Cluster{cfg: Config{}.withDefaults(), epoch: time.Now(), servers: map[string]*Node{}}
		n := &Node{c: c, name: target.name, many: target.many, stands: target.stands, runIDs: map[string]bool{}}
		now := time.Now()
		synced := facts{uptime: time.Hour, now: now, aof: true, fsyncAlways: true}
		for i, id := range []string{"first", "second"} {
			synced.runID = id
			if _, err := n.learn(synced, now, now); err != nil {
				t.Fatal(err)
			}
			n.met.Store(true)
			if got := n.Votes(); got != (i == 0) {
				t.Errorf("%s: of the %s server Votes is %t", name, id, got)
			}
		}
	}
	for raw, want := range map[string]bool{
		"redis://127.0.0.1:1": false, "redis://127.0.0.1:1?addr=127.0.0.1:2": true, "redis://127.0.0.1:1?master_name=m": true,
	} {
		if got, err := parseURL(raw); err != nil || got.stands != want {
			t.Errorf("parseURL(%s): a node of which one server stands in for another is %t, %v", raw, got.stands, err)
		}
	}
}

func TestBootFloorIsAboveEveryTokenBeforeTheStartAndConstant(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		n := c.Nodes()[0]
		client := harness.Client(t, s, 0)
		clock := func() int64 { return client.Time(t.Context()).Val().UnixMicro() }
		maxTTL := c.Config().MaxTTL.Microseconds()
		first := n.BootFloor()
		if now := clock(); first <= now-2*time.Second.Microseconds() || first > now+maxTTL+2*time.Second.Microseconds() {
			t.Errorf("BootFloor is %d off now", first-now)
		}
		if err := client.ClientKillByFilter(t.Context(), "TYPE", "normal").Err(); err == nil {
			harness.Eventually(t, "an answer after the restart", func() bool { return run(t, n, pingScript, nil).err == nil })
		}
		if got := n.BootFloor(); got != first {
			t.Errorf("BootFloor went from %d to %d in one life of the node", first, got)
		}
		before := clock()
		if err := s.Restart(0, true); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "an answer after the restart", func() bool { return run(t, n, pingScript, nil).err == nil })
		if got := n.BootFloor(); got <= before+maxTTL || got <= first {
			t.Errorf("BootFloor is %d, not above the start (after %d) and MaxTTL", got, before)
		}
	})
}

// table-driven, with facts as servers give them.
func TestWhoVotesWhen(t *testing.T) {
	type step struct {
		after time.Duration // since the one before
		node  int
		facts facts
	}
	old, young := time.Hour, 5*time.Second
	certain := 56*time.Second - 2*uptimeError - Margin(time.Minute) // for so long young ones are younger than MaxTTL
	id := func(id string, uptime time.Duration) facts { return facts{runID: id, uptime: uptime} }
	synced := func(f facts) facts { f.aof, f.fsyncAlways = true, true; return f }
	for _, tt := range []struct {
		name  string
		steps []step
		then  time.Duration // since the last step
		want  [3]bool
	}{
		{"old nodes vote", []step{{0, 0, id("a", old)}, {0, 1, id("b", old)}, {0, 2, id("c", old)}}, 0, [3]bool{true, true, true}},
		{"one young does not", []step{{0, 0, id("a", old)}, {0, 1, id("b", old)}, {0, 2, id("c", young)}}, 0, [3]bool{true, true, false}},
		{"until MaxTTL after its start", []step{{0, 2, id("c", young)}}, 55 * time.Second, [3]bool{true, true, false}},
		{"and to the second", []step{{0, 2, id("c", young)}}, 56 * time.Second, [3]bool{true, true, true}},
		{"all young vote once they are founded", []step{{0, 0, id("a", young)}, {0, 1, id("b", 0)}, {0, 2, id("c", young)}}, 0, [3]bool{true, true, true}},
		{"but where one votes in any case they are not", []step{{0, 0, id("a", young)}, {0, 1, synced(id("b", 0))}, {0, 2, id("c", young)}}, 0, [3]bool{false, true, false}},
		{"a young one that is met when the others have a past does not", []step{{0, 0, id("a", young)}, {0, 1, id("b", young)}, {10 * time.Minute, 2, id("c", 0)}}, 0, [3]bool{true, true, false}},
		{"nor when the first may have one", []step{{0, 0, id("a", young)}, {0, 1, id("b", 0)}, {certain, 2, id("c", 0)}}, 0, [3]bool{false, false, false}},
		{"but just before", []step{{0, 0, id("a", young)}, {0, 1, id("b", 0)}, {certain - 1, 2, id("c", 0)}}, 0, [3]bool{true, true, true}},
		{"two young and one unknown do not", []step{{0, 0, id("a", young)}, {0, 1, id("b", young)}}, 0, [3]bool{false, false, true}},
		{"a restart in a new set is seen", []step{{0, 0, id("a", 0)}, {0, 1, id("b", 0)}, {0, 2, id("c", 0)}, {time.Second, 1, id("B", 0)}}, 0, [3]bool{true, false, true}},
		{"until MaxTTL after it was seen", []step{{0, 1, id("b", old)}, {time.Second, 1, id("B", 30*time.Second)}}, time.Minute - 1, [3]bool{true, false, true}},
		{"and no longer", []step{{0, 1, id("b", old)}, {time.Second, 1, id("B", 0)}}, time.Minute, [3]bool{true, true, true}},
		{"an old stand-in forgets too", []step{{0, 1, id("b", old)}, {0, 1, id("B", old)}}, 0, [3]bool{true, false, true}},
		{"the same server again does not", []step{{0, 1, id("b", old)}, {0, 1, id("b", old)}}, 0, [3]bool{true, true, true}},
		{"a synced one votes", []step{{0, 0, id("a", old)}, {0, 1, synced(id("b", young))}, {0, 1, synced(id("B", 0))}}, 0, [3]bool{true, true, true}},
		{"but not one that syncs only now", []step{{0, 1, id("b", old)}, {0, 1, synced(id("B", 0))}}, 0, [3]bool{true, false, true}},
		{"one that tells nothing votes", []step{{0, 1, facts{}}, {0, 1, facts{uptime: young}}}, 0, [3]bool{true, true, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Now()
			c := bareCluster(now, 3)
			for _, s := range tt.steps {
				now = now.Add(s.after)
				s.facts.now = now
				if _, err := c.nodes[s.node].learn(s.facts, now, now); err != nil {
					t.Fatal(err)
				}
				if c.allYoung(now) {
					runs, _ := c.marks()
					for i, n := range c.nodes {
						n.learnMark(runs[i], foundingOf(runs))
					}
					c.reckon()
				}
			}
			now = now.Add(tt.then)
			for i, n := range c.nodes {
				if got := n.votes(now); got != tt.want[i] {
					t.Errorf("node %d votes: %t, want %t", i, got, tt.want[i])
				}
			}
		})
	}
}

// bareCluster has n nodes without connections, and MaxTTL a minute.
func bareCluster(now time.Time, n int) *Cluster {
	c := &Cluster{cfg: Config{Logger: quiet, Quorum: Quorum(n)}.withDefaults(), epoch: now.Add(-time.Second), servers: map[string]*Node{}}
	for i := range n {
		c.nodes = append(c.nodes, &Node{c: c, index: i, name: string(rune('a' + i)), runIDs: map[string]bool{}})
	}
	return c
}

func TestAClockThatIsNotToldHasNoOffset(t *testing.T) {
	now := time.Now()
	n := bareCluster(now, 1).nodes[0]
	if _, err := n.learn(facts{}, now, now); err != nil || n.offset != 0 || n.BootFloor() != 0 {
		t.Errorf("offset %v, boot %d, %v", n.offset, n.BootFloor(), err)
	}
	if _, err := n.learn(facts{runID: "x", now: now.Add(3 * time.Second)}, now.Add(-time.Second), now.Add(time.Second)); err != nil || n.offset != 3*time.Second {
		t.Errorf("offset %v, %v; want 3s", n.offset, err)
	}
}

func TestWhatInfoSaysIsRead(t *testing.T) {
	got := parseInfo("# Server\r\nredis_version:7.2.1\r\nredis_mode:sentinel\r\nrun_id:abc\r\nuptime_in_seconds:12\r\n\r\nrole:slave\r\nloading:1\r\naof_enabled:1\r\nmaxmemory_policy:allkeys-lru\r\n")
	if want := (facts{runID: "abc", uptime: 12 * time.Second, replica: true, sentinel: true, loading: true, aof: true, version: "7.2.1", evicts: "allkeys-lru"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, text := range []string{"", "run_id", "uptime_in_seconds:-1\r\nnonsense\r\n:::", "uptime_in_seconds:x"} {
		if got := parseInfo(text); got != (facts{}) {
			t.Errorf("of %q it made %+v", text, got)
		}
	}
}

func TestWhoRemembersRecords(t *testing.T) {
	const retention = time.Hour
	now := time.Now()
	for _, tt := range []struct {
		name    string
		uptimes []time.Duration // negative: not known
		aof     int             // index of a node with an append-only file, or -1
		want    []bool
	}{
		{"all old", []time.Duration{2 * retention, 3 * retention, 2 * retention}, -1, []bool{true, true, true}},
		{"one young", []time.Duration{2 * retention, time.Minute, 3 * retention}, -1, []bool{true, false, true}},
		{"young and synced", []time.Duration{2 * retention, time.Minute, 3 * retention}, 1, []bool{true, true, true}},
		{"a young set", []time.Duration{time.Minute, time.Minute, time.Minute + time.Second}, -1, []bool{true, true, true}},
		{"the elders of a young set", []time.Duration{time.Minute, 10 * time.Minute, 20 * time.Minute}, -1, []bool{false, true, true}},
		{"five", []time.Duration{1 * time.Minute, 2 * time.Minute, 3 * time.Minute, 4 * time.Minute, 5 * time.Minute}, -1, []bool{false, false, true, true, true}},
		{"four: one fewer elder than a quorum", []time.Duration{1 * time.Minute, 2 * time.Minute, 3 * time.Minute, 4 * time.Minute}, -1, []bool{false, false, true, true}},
		{"one that was never met may be the oldest", []time.Duration{10 * time.Minute, 20 * time.Minute, -1}, -1, []bool{false, true, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := bareCluster(now, len(tt.uptimes))
			for i, up := range tt.uptimes {
				if up < 0 {
					continue
				}
				if _, err := c.nodes[i].learn(facts{runID: string(rune('A' + i)), uptime: up, now: now, aof: i == tt.aof}, now, now); err != nil {
					t.Fatal(err)
				}
			}
			for i, n := range c.nodes {
				if got := n.Remembers(retention); got != tt.want[i] {
					t.Errorf("node %d remembers: %t, want %t", i, got, tt.want[i])
				}
			}
		})
	}
}

// A promoted replica has an append-only file, of what it was told.
func TestAStandInWithAnAppendOnlyFileDoesNotRememberRecords(t *testing.T) {
	const retention = time.Hour
	now := time.Now()
	for stands, want := range map[bool]bool{false: true, true: false} {
		c := bareCluster(now, 3)
		for i, n := range c.nodes {
			n.stands = stands
			first := facts{runID: string(rune('A' + i)), uptime: 2 * retention, now: now, aof: true}
			if _, err := n.learn(first, now, now); err != nil {
				t.Fatal(err)
			}
		}
		next := facts{runID: "next", uptime: 3 * retention, now: now, aof: true}
		if _, err := c.nodes[1].learn(next, now, now); err != nil {
			t.Fatal(err)
		}
		if got := c.nodes[1].Remembers(retention); got != want {
			t.Errorf("one of servers that stand in for each other (%t) remembers: %t, want %t", stands, got, want)
		}
		if !c.nodes[0].Remembers(retention) {
			t.Errorf("one whose server has run for long does not remember")
		}
	}
}

// Nodes that keep nothing have to be restarted a quarantine apart: until the first of them votes again there is no quorum.
func TestRestartsThatAreCloserThanMaxTTLLeaveNoQuorum(t *testing.T) {
	for _, apart := range []time.Duration{5 * time.Second, time.Minute + time.Second} {
		now := time.Now()
		c := bareCluster(now, 3)
		learn := func(i int, run string, uptime time.Duration) {
			if _, err := c.nodes[i].learn(facts{runID: run, uptime: uptime, now: now}, now, now); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 3 {
			learn(i, fmt.Sprint("before", i), time.Hour)
		}
		for i := range 3 {
			now = now.Add(apart)
			learn(i, fmt.Sprint("after", i), 0)
			able := 0
			for _, n := range c.nodes {
				if n.votes(now) {
					able++
				}
			}
			if quorum := able >= c.Quorum(); quorum != (apart > time.Minute || i == 0) {
				t.Errorf("%v apart, after %d restarts %d nodes vote", apart, i+1, able)
			}
		}
	}
}
