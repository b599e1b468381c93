package nodeset

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func votes(c *Set) (all []bool) {
	for _, n := range c.Nodes() {
		all = append(all, n.Votes())
	}
	return all
}

// A master that a Redis Cluster has is no other node's, and one that it had may be.
func TestNode_ReplaceServers_ClaimsTheMastersThatThereAre(t *testing.T) {
	t.Parallel()
	c := open(t, harness.Embedded(t, 2))
	one, other := c.Nodes()[0], c.Nodes()[1]
	for _, step := range []struct {
		n    *Node
		runs []string
		ok   bool
	}{
		{one, []string{"a", "b"}, true},
		{other, []string{"b", "c"}, false},
		{one, []string{"a", "d"}, true}, // b is a replica now
		{other, []string{"b", "c"}, true},
		{one, []string{"a", "b"}, false},
		{one, nil, true}, // they do not tell
		{other, []string{"a"}, false},
	} {
		runs := map[string]bool{}
		for _, run := range step.runs {
			runs[run] = true
		}
		if err := step.n.replaceServers(runs); (err == nil) != step.ok {
			t.Errorf("node %d has the masters %q now: %v", step.n.Index(), step.runs, err)
		}
	}
}

func TestRestart_TheNodeDoesNotVoteForMaxTTL(t *testing.T) {
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
		if st := c.Status()[1]; !st.Votes && (st.VotesIn <= 0 || st.VotesIn > c.quarantine()) {
			t.Errorf("status %+v", st)
		}
		harness.Eventually(t, "its vote", n.Votes)
		if e := time.Since(began); e < c.Config().MaxTTL {
			t.Errorf("it voted %v after a restart, before MaxTTL", e)
		}
	})
}

// The answer to a first command after a restart must not count, even if nobody noticed the restart before.
func TestRestart_IsKnownBeforeTheFirstReply(t *testing.T) {
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
		case v.voted <- n.Counts():
		default:
		}
	}
	v.once.Receive(n, reply, err)
}

func TestRestart_BeforeTheSetWasOpenedIsSeen(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		shut(t, open(t, s, shortTTL))
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

func TestRestart_ANodeThatSyncsEveryWriteVotesAtOnce(t *testing.T) {
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
	if !open(t, s).Nodes()[1].Votes() {
		t.Error("it does not vote for a process that meets it later")
	}
	// A setting is no memory: what comes back empty has forgotten, however it syncs.
	if err := s.Restart(1, true); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "an answer after the restart", func() bool { return run(t, c.Nodes()[1], pingScript, nil).err == nil })
	if c.Nodes()[1].Votes() || open(t, s).Nodes()[1].Votes() {
		t.Error("it votes although it came back empty")
	}
}

// That two servers sync every write does not help a node that goes from one to the other: writes reach the
// second late.
func TestFailover_TheReplacementDoesNotVoteHoweverItSyncs(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]redis.UniversalClient{
		"a Sentinel-backed client": redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}}),
		"a Redis Cluster":          redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}}),
	} {
		target, err := copyClient("a", client)
		if err := errors.Join(err, client.Close()); err != nil {
			t.Fatal(err)
		}
		n := bareCluster(time.Now(), 1).nodes[0]
		n.isCluster, n.canFailOver = target.isCluster, target.canFailOver
		text := old(t, n, facts{runID: "first", aof: true, fsyncAlways: true})
		if !n.Votes() {
			t.Errorf("%s: the first server does not vote", name)
		}
		meet(t, n, facts{runID: "second", aof: true, fsyncAlways: true}, text)
		if n.Votes() {
			t.Errorf("%s: the second server votes", name)
		}
	}
	for raw, want := range map[string]bool{
		"redis://127.0.0.1:1": false, "redis://127.0.0.1:1?addr=127.0.0.1:2": true, "redis://127.0.0.1:1?master_name=m": true,
	} {
		if got, err := parseURL(raw); err != nil || got.canFailOver != want {
			t.Errorf("parseURL(%s): a node of which one server stands in for another is %t, %v", raw, got.canFailOver, err)
		}
	}
}

func TestNode_FenceFloor_IsConstantAndAboveEveryTokenBeforeTheStart(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		n := c.Nodes()[0]
		client := harness.Client(t, s, 0)
		clock := func() int64 { return client.Time(t.Context()).Val().UnixMicro() }
		maxTTL := c.Config().MaxTTL.Microseconds()
		first := n.FenceFloor()
		if now := clock(); first <= now-2*time.Second.Microseconds() || first > now+maxTTL+2*time.Second.Microseconds() {
			t.Errorf("FenceFloor is %d off now", first-now)
		}
		if err := client.ClientKillByFilter(t.Context(), "TYPE", "normal").Err(); err == nil {
			harness.Eventually(t, "an answer after the restart", func() bool { return run(t, n, pingScript, nil).err == nil })
		}
		if got := n.FenceFloor(); got != first {
			t.Errorf("FenceFloor went from %d to %d in one life of the node", first, got)
		}
		before := clock()
		if err := s.Restart(0, true); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "an answer after the restart", func() bool { return run(t, n, pingScript, nil).err == nil })
		if got := n.FenceFloor(); got <= before+maxTTL || got <= first {
			t.Errorf("FenceFloor is %d, not above the start (after %d) and MaxTTL", got, before)
		}
	})
}

// bareCluster has n nodes without connections, and MaxTTL a minute.
func bareCluster(now time.Time, n int) *Set {
	c := &Set{cfg: Config{Logger: quiet, Quorum: Quorum(n)}.withDefaults(), epoch: now.Add(-time.Second), servers: map[string]*Node{}, settled: make(chan struct{})}
	c.dead.Store(true) // it asks nobody
	for i := range n {
		name := string(rune('a' + i))
		c.nodes = append(c.nodes, &Node{c: c, index: i, name: name, runIDs: map[string]bool{}, witness: witness{name: name}})
	}
	return c
}

// recordOf is a record of the nodes of c.
func recordOf(c *Set) record { return newRecord(c.names(), c.names(), c.Quorum()) }

// meet has the node's process connect to a server with this mark, and returns what the mark is then.
func meet(t *testing.T, n *Node, f facts, text string) string {
	t.Helper()
	now := time.Now()
	f.now, f.asked = now, now
	f.whole = f.fsyncAlways
	if err := n.learn(f); err != nil {
		t.Fatal(err)
	}
	text = n.markDue(text, f)
	n.saw(text)
	n.c.reckon()
	return text
}

// old is meet with a server whose memory has lasted for an hour.
func old(t *testing.T, n *Node, f facts) string { return aged(t, n, f, time.Hour) }

func aged(t *testing.T, n *Node, f facts, age time.Duration) string {
	t.Helper()
	at := stampAt(time.Now().Add(-age), 0)
	return meet(t, n, f, mark{
		memory: "m" + f.runID, state: stateSeen, run: f.runID, synced: f.fsyncAlways, begun: at, data: "d" + f.runID, since: at, id: n.name, record: recordOf(n.c), final: true,
	}.String())
}

func TestNode_Learn_WithoutTheTimeHasNoOffset(t *testing.T) {
	now := time.Now()
	n := bareCluster(now, 1).nodes[0]
	if err := n.learn(facts{}); err != nil || n.offset != 0 || n.FenceFloor() != 0 {
		t.Errorf("offset %v, boot %d, %v", n.offset, n.FenceFloor(), err)
	}
	if err := n.learn(facts{runID: "x", now: now.Add(3 * time.Second), asked: now.Add(-time.Second), took: 2 * time.Second}); err != nil || n.offset != 3*time.Second {
		t.Errorf("offset %v, %v; want 3s", n.offset, err)
	}
}

func TestInfo_IsRead(t *testing.T) {
	got := parseInfo("# Server\r\nredis_version:7.2.1\r\nredis_mode:sentinel\r\nrun_id:abc\r\nuptime_in_seconds:12\r\n\r\nrole:slave\r\nmaster_replid:xyz\r\nsecond_repl_offset:7\r\nloading:1\r\naof_enabled:1\r\nmaxmemory_policy:allkeys-lru\r\n")
	if want := (facts{runID: "abc", uptime: 12 * time.Second, repl: "xyz", promoted: true, replica: true, sentinel: true, loading: true, aof: true, version: "7.2.1", evicts: "allkeys-lru"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, text := range []string{"", "run_id", "uptime_in_seconds:-1\r\nnonsense\r\n:::", "uptime_in_seconds:x"} {
		if got := parseInfo(text); got != (facts{}) {
			t.Errorf("of %q it made %+v", text, got)
		}
	}
}

func TestNode_Remembers_TheOldestOfASet(t *testing.T) {
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
				f := facts{runID: string(rune('A' + i))}
				if i != tt.aof {
					aged(t, c.nodes[i], f, up)
					continue
				}
				f.aof = true // and its server restarted lately
				data, memory := stampAt(now.Add(-2*retention), 0), stampAt(now.Add(-up), 0)
				meet(t, c.nodes[i], f, mark{memory: "m", state: stateSeen, run: f.runID, begun: memory, data: "d", since: data, files: f.aof}.String())
			}
			for i, n := range c.nodes {
				if got := n.Remembers(retention); got != tt.want[i] {
					t.Errorf("node %d remembers: %t, want %t", i, got, tt.want[i])
				}
			}
		})
	}
}

// A node that restarts without its data a moment after its set was bootstrapped has
// lost what was written in that moment.
func TestNode_Remembers_NotWithAnotherMemoryThanItWasBootstrappedWith(t *testing.T) {
	for youngest, want := range map[string]bool{"bootstrapped": true, "restarted": false, "restarted with its file": true, "restarted with another file": false} {
		c := bareCluster(time.Now(), 3)
		for i, n := range c.nodes {
			at := stampAt(time.Now().Add(-time.Minute+time.Duration(i)*time.Second/2), 0)
			m := mark{memory: n.name, state: stateRipe, run: n.name, begun: at, data: "d", since: at, id: n.name, record: recordOf(c), final: true}
			f := facts{runID: n.name}
			if i == 2 && youngest != "bootstrapped" {
				m.state, f.aof = stateSeen, youngest != "restarted"
				m.files = f.aof
				if youngest == "restarted with its file" {
					m.begun = stampAt(time.Now(), 0)
				}
			}
			meet(t, n, f, m.String())
		}
		for i, n := range c.nodes {
			if got := n.Remembers(time.Hour); got != (want || i < 2) {
				t.Errorf("the youngest node %s: node %d remembers: %t", youngest, i, got)
			}
		}
	}
}

// A promoted replica has an append-only file, of what it was told.
func TestNode_Remembers_NotAfterAFailoverWhateverFilesItHas(t *testing.T) {
	const retention = time.Hour
	now := time.Now()
	for stands, want := range map[bool]bool{false: true, true: false} {
		c, texts := bareCluster(now, 3), [3]string{}
		for i, n := range c.nodes {
			n.canFailOver = stands
			texts[i] = aged(t, n, facts{runID: string(rune('A' + i)), aof: true}, 2*retention)
		}
		meet(t, c.nodes[1], facts{runID: "next", aof: true}, texts[1])
		if got := c.nodes[1].Remembers(retention); got != want {
			t.Errorf("one of servers that stand in for each other (%t) remembers: %t, want %t", stands, got, want)
		}
		if !c.nodes[0].Remembers(retention) {
			t.Errorf("one whose server has run for long does not remember")
		}
	}
}

// How old a memory is, the clock of a node does not say alone: it may have been set forward since.
func TestQuarantine_IsNotShortenedByASetClock(t *testing.T) {
	n := bareCluster(time.Now(), 1).nodes[0]
	now := time.Now()
	for name, at := range map[string]stamp{
		"the node's clock was set forward":    {client: now.UnixMilli() - 1000, node: now.UnixMilli() - 3_600_000},
		"the node's clock stands still":       {client: now.UnixMilli() - 3_600_000, node: now.UnixMilli()},
		"this machine's clock is ahead":       {client: now.UnixMilli() - 3_600_000, node: now.UnixMilli() - 1000},
		"both clocks were set back":           {client: now.UnixMilli() + 3_600_000, node: now.UnixMilli() + 3_600_000},
		"the node did not tell its time then": {client: now.UnixMilli() - 3_600_000},
	} {
		run := strings.ReplaceAll(name, " ", "-") // the words of a mark have none
		meet(t, n, facts{runID: run}, mark{memory: run, state: stateSeen, run: run, begun: at, data: "d", since: at, id: n.name, record: recordOf(n.c), final: true}.String())
		if n.Votes() {
			t.Errorf("%s: it votes", name)
		}
		if left := n.quarantined(time.Now()); left <= n.c.cfg.MaxTTL || left > n.c.quarantine() {
			t.Errorf("%s: it votes in %v", name, left)
		}
	}
}

// What is read behind a batch proves its votes only if it is the mark of the server that was last met, and of the memory that
// the node had then, or a later one.
func TestNode_Proved_ByTheMarkOfTheServerThatWasMetLast(t *testing.T) {
	n := bareCluster(time.Now(), 1).nodes[0]
	before := old(t, n, facts{runID: "before"})
	if !n.proved(before) {
		t.Fatal("the mark of the node's server proves nothing")
	}
	now := old(t, n, facts{runID: "now"})
	copied, _ := parseMark(before)
	copied.run = "now"
	for name, text := range map[string]string{
		"of the server before": before, "of a memory that is over": copied.String(), "that is not there": "", "of another form": "met before",
	} {
		if n.proved(text) {
			t.Errorf("a mark %s proves a vote", name)
		}
	}
	if !n.proved(now) {
		t.Error("the mark of the node's server proves nothing after others were read")
	}
}

// A master that was a replica for a moment has taken over the other's data, and lost its own.
func TestNode_Votes_NotAfterItWasAReplica(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	c := open(t, s)
	a, b := harness.Client(t, s, 1), s.URLs()[2]
	host, port, _ := strings.Cut(hostOf(t, b), ":")
	if err := a.Do(t.Context(), "replicaof", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the other's data", func() bool {
		return strings.Contains(a.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	if err := a.Do(t.Context(), "replicaof", "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	o := newOnce()
	voted := make(chan bool, 1)
	c.Nodes()[1].Run(pingScript, nil, nil, voter{o, voted})
	if a := o.wait(t); a.err == nil && <-voted {
		t.Error("its first answer counts")
	}
	if open(t, s).Nodes()[1].Votes() {
		t.Error("it votes for a process that opens then")
	}
	harness.Eventually(t, "it is known", func() bool { run(t, c.Nodes()[1], pingScript, nil); return !c.Nodes()[1].Votes() })
}

// Nodes that keep nothing have to be restarted a quarantine apart: until the first of them votes again there is no quorum.
func TestQuarantine_CloserRestartsLeaveNoQuorum(t *testing.T) {
	c := bareCluster(time.Now(), 3)
	for i, n := range c.nodes {
		old(t, n, facts{runID: fmt.Sprint("before", i)})
	}
	for restarted, n := range c.nodes[:2] {
		meet(t, n, facts{runID: fmt.Sprint("after", restarted)}, n.evidence.Load().text)
		if quorum := c.spare() >= 0; quorum != (restarted == 0) {
			t.Errorf("after %d restarts a quorum votes: %t", restarted+1, quorum)
		}
	}
	if now := time.Now().Add(c.quarantine()); !c.nodes[0].votes(now) || !c.nodes[1].votes(now) {
		t.Error("they do not vote after a quarantine")
	}
}
